"""The comparison of counts, without the other counter."""

from pathlib import Path

import pytest
from benchmarks.counting import as_nodes, compare, fed, with_shapes

from infer_opt.roofline.counting import count
from nodes_by_hand import node, tensor, weight

MODELS = Path(__file__).parents[3] / "models"


def test_a_bias_counts_once_on_either_side_and_multiply_adds_twice_on_ours() -> None:
    product = node("Gemm", [tensor(4, 8), weight(8, 6), weight(6)], tensor(4, 6, name="y"))

    (same,) = compare([product], {"y": 4 * 6 * 8 + 24.0})
    (other,) = compare([product], {"y": 4 * 6 * 4 + 24.0})

    assert (same.ours, same.difference) == (384.0, 0.0)
    assert other.difference == pytest.approx(1.0)


def test_what_only_one_of_them_counts_is_not_compared() -> None:
    product = node("MatMul", [tensor(4, 8), weight(8, 6)], tensor(4, 6, name="y"))
    relu = node("Relu", [tensor(4, 6)], tensor(4, 6, name="z"))

    assert compare([product, relu], {"z": 24.0}) == []


@pytest.mark.parametrize("name", ["digits_cnn", "sequence_lstm", "policy_mlp"])
def test_every_node_of_the_shipped_models_is_counted_with_the_shapes_of_a_run(name: str, tmp_path: Path) -> None:
    path = MODELS / f"{name}.onnx"
    nodes = as_nodes(*with_shapes(path, fed(path), tmp_path))

    works = [count(one) for one in nodes]

    assert None not in works
    assert sum(work.operations for work in works if work is not None) > 100
    assert sum(work.weight_bytes for work in works if work is not None) > 100
