"""What a runtime fuses is the same work in fewer nodes: counted before and after, it must come to the same."""

from pathlib import Path

import pytest
from benchmarks.counting import as_nodes, fed, with_shapes

from infer_opt.config import Provider
from infer_opt.profiles.nodes import Node
from infer_opt.profiles.roofline import Work
from infer_opt.recipes import GraphLevel
from infer_opt.roofline.counting import count
from infer_opt.transforms.offline import open_and_save

MODELS = Path(__file__).parents[2] / "models"


def counted(path: Path, feeds_of: Path, folder: Path) -> tuple[list[Node], list[Work]]:
    nodes = as_nodes(*with_shapes(path, fed(feeds_of), folder))
    works = [count(one) for one in nodes]
    assert [node.kind for node, work in zip(nodes, works, strict=True) if work is None] == []
    return nodes, [work for work in works if work is not None]


@pytest.mark.parametrize("name", ["digits_cnn", "policy_mlp"])
@pytest.mark.parametrize("level", [GraphLevel.EXTENDED, GraphLevel.ALL])
def test_fused_nodes_compute_as_much_and_move_less(name: str, level: GraphLevel, tmp_path: Path) -> None:
    given, fused = MODELS / f"{name}.onnx", tmp_path / "fused.onnx"
    open_and_save(given, fused, level=level, provider=Provider.CPU, external=False)

    _, before = counted(given, given, tmp_path)
    nodes, after = counted(fused, given, tmp_path)

    assert any(node.domain.startswith("com.microsoft") for node in nodes)
    assert sum(work.operations for work in after) == sum(work.operations for work in before)
    assert sum(work.moved_bytes for work in after) < sum(work.moved_bytes for work in before)
