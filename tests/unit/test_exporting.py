"""From a function or a `.pt2` to files: what is taken for which, what is exported, and what is said where it is not."""

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from infer_opt.config import SessionOptions
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.exporting import export, is_function, is_pytorch, signature
from infer_opt.models.inspecting import inspect
from infer_opt.runtimes import open_runtime
from infer_opt.runtimes.pt2 import check_archive


@pytest.mark.parametrize("name", ["nets:cnn", "package.module:make_net", "nets.py:cnn", "a folder/nets.py:cnn"])
def test_a_function_is_told_by_its_name(name: str) -> None:
    assert is_function(Path(name))
    assert is_pytorch(Path(name))


@pytest.mark.parametrize("name", ["net.onnx", "net.pt2", "nets.py", "C:/net.onnx", "nets:two words", "nets.py:"])
def test_a_file_is_no_function(name: str) -> None:
    assert not is_function(Path(name))
    assert is_pytorch(Path(name)) is name.endswith(".pt2")


def test_a_file_that_is_called_like_a_function_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets:cnn").write_bytes(b"")

    assert not is_function(Path("nets:cnn"))


def test_without_pytorch_the_hint_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(UnavailableError, match="PyTorch is not installed") as caught:
        export(Path("nets:cnn"), tmp_path)
    assert caught.value.hint == "pip install 'infer-opt[torch]'"


# With PyTorch


NETS = """
import torch
from torch.export import Dim

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(20, 8)
        self.head = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(8, 3))

    def forward(self, ids, *, scale=None):
        found = self.head(self.embed(ids).mean(1))
        return {"scores": found if scale is None else found * scale, "ids": ids.view(-1)}

def free():
    return Net(), {"ids": torch.randint(0, 20, (2, 5))}, {"ids": {0: Dim("batch"), 1: Dim("words")}}

def fixed():
    return Net(), torch.zeros(2, 5, dtype=torch.long)

def number():
    return 3

def only_inputs():
    return Net(), "text"

def wrong_shapes():
    return Net(), (torch.zeros(2, 5, dtype=torch.long),), {"ids": {0: Dim("batch", min=7)}}

def fails():
    raise ValueError("the weights are elsewhere")
"""


@pytest.fixture
def net(tmp_path: Path) -> Callable[[str], Path]:
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'infer-opt[torch]'")
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    return lambda name: Path(f"{tmp_path}/nets.py:{name}")


pytestmark = pytest.mark.filterwarnings(
    "ignore:::torch", "ignore:.*LeafSpec:FutureWarning", "ignore::DeprecationWarning"
)


def answers(runtime: str, path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    session = open_runtime(runtime).open(path, SessionOptions())
    found = session.run(feeds)
    session.close()
    return found


def test_a_function_becomes_a_program_and_onnx_that_agree(net: Callable[[str], Path], tmp_path: Path) -> None:
    found = export(net("free"), tmp_path)

    assert found.notes == ()
    assert found.model is not None
    facts = inspect(found.model)
    assert found.inputs == facts.inputs
    assert [str(spec) for spec in found.inputs] == ["ids: int64[batch, words]"]
    assert [spec.name for spec in found.outputs] == [spec.name for spec in facts.outputs] == ["scores", "ids_out"]
    assert (facts.batch_dim, facts.dynamic_dims) == ("batch", ("words",))
    assert found.sizes == {"batch": 2, "words": 5}
    assert dict(found.vocabularies)["ids"] <= 20
    feeds = {"ids": np.arange(21).reshape(3, 7) % 20}
    native, onnx = answers("torch", found.native, feeds), answers("onnx", found.model, feeds)
    assert list(native) == list(onnx)
    np.testing.assert_allclose(native["scores"], onnx["scores"], atol=1e-5)


def test_the_program_that_is_kept_holds_no_pickle_and_the_users_names(
    net: Callable[[str], Path], tmp_path: Path
) -> None:
    found = export(net("free"), tmp_path)

    assert check_archive(found.native) is False
    assert signature(found.native) == (found.inputs, found.outputs)


def test_the_same_function_gives_the_same_files(net: Callable[[str], Path], tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()

    one, two = (export(net("fixed"), folder) for folder in folders)

    assert one.native.read_bytes() == two.native.read_bytes()
    assert one.model is not None and two.model is not None
    assert one.model.read_bytes() == two.model.read_bytes()
    assert [str(spec) for spec in one.inputs] == ["ids: int64[2, 5]"]


def test_a_file_is_exported_as_a_function_is(net: Callable[[str], Path], tmp_path: Path) -> None:
    import torch_zoo

    path = tmp_path / "given.pt2"
    path.write_bytes(torch_zoo.archive("mlp"))

    found = export(path, tmp_path)

    assert found.model is not None
    assert list(answers("onnx", found.model, {"x": np.ones((3, 8), np.float32)})) == ["scores"]
    assert list(found.sizes.values()) == [2]  # of the example inputs, which hold nothing but tensors


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("number", "gave one int"),
        ("only_inputs", "gave example inputs without a tensor, one str"),
        ("wrong_shapes", "torch.export cannot export what"),
        ("fails", "failed: ValueError: the weights are elsewhere"),
        ("nowhere", "cannot load"),
    ],
)
def test_a_function_that_gives_something_else_is_told_what_to_give(
    net: Callable[[str], Path], tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(ModelError, match=why) as caught:
        export(net(name), tmp_path)

    assert "\n" not in caught.value.what
    assert caught.value.hint


def test_where_one_exporter_fails_the_other_is_asked(
    net: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infer_opt.runtimes import torch_exports

    def fail(source: object, path: Path) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(torch_exports, "_by_dynamo", fail)

    found = export(net("free"), tmp_path)

    assert found.notes == (
        "the dynamo exporter gave no ONNX file that can be compared: no such operator and much more",
    )
    assert found.model is not None
    feeds = {"ids": np.arange(21).reshape(3, 7) % 20}
    np.testing.assert_allclose(
        answers("onnx", found.model, feeds)["scores"], answers("torch", found.native, feeds)["scores"], atol=1e-5
    )


def test_an_onnx_file_that_answers_otherwise_is_not_taken(
    net: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infer_opt.runtimes import torch_exports

    exporter = torch_exports._by_dynamo

    def spoil(source: torch_exports.Source, path: Path) -> None:
        exporter(source, path)
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                tensor.CopyFrom(numpy_helper.from_array(values * 2, tensor.name))
        onnx.save(model, path)

    monkeypatch.setattr(torch_exports, "_by_dynamo", spoil)
    monkeypatch.setattr(torch_exports, "_by_torchscript", spoil)

    found = export(net("fixed"), tmp_path)

    assert found.model is None
    assert [note.partition(":")[0] for note in found.notes] == [
        "the dynamo exporter gave no ONNX file that can be compared",
        "the TorchScript exporter gave no ONNX file that can be compared",
    ]
    assert "scores differs by" in found.notes[0]
