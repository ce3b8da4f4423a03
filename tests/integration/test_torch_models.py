"""PyTorch models from the command line to a bundle that runs: functions, programs, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import infer_opt
from driving import Home
from infer_opt.config import Compilation, SessionOptions
from infer_opt.runtimes import open_runtime
from infer_opt.runtimes.pt2 import check_archive

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'infer-opt[torch]'")

NETS = """
import torch
from torch.export import Dim

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.l = torch.nn.Linear(6, 4)

    def forward(self, x):
        return {"scores": torch.softmax(self.l(x), -1)}

def net():
    return Net(), torch.zeros(2, 6), ({0: Dim("batch")},)
"""
X = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)


@pytest.fixture
def nets(home: Home) -> Path:
    path = home.folder / "nets.py"
    path.write_text(NETS)
    return path


def scores(bundle: Path) -> Any:
    with infer_opt.load(bundle) as session:
        assert [str(spec) for spec in session.inputs] == ["x: float32[batch, 6]"]
        return session.run({"x": X})["scores"]


@pytest.mark.usefixtures("screen_only")
def test_a_function_is_tuned_against_pytorch_itself(home: Home, nets: Path) -> None:
    ended = home.call("tune", "nets:net", "--preset", home.preset(trials=2), "--format", "json")

    assert (ended.code, ended.complaints) == (0, "")
    document = ended.document
    assert document["model"]["path"] == "nets:net"
    assert (document["baseline"]["label"], document["baseline"]["config"]["runtime"]) == ("stock", "torch")
    onnx = next(trial for trial in document["trials"] if trial["label"] == "onnx")
    assert onnx["parity"]["score"] > 0.9999
    bundle = home.folder / "net-tuned"
    manifest = json.loads((bundle / "bundle.json").read_text())
    assert (manifest["artefact"], manifest["name"]) == ("model.pt2", "net")
    assert check_archive(bundle / "model.pt2") is False
    assert "pip install 'infer-opt[torch]'" in (bundle / "README.md").read_text()
    np.testing.assert_allclose(scores(bundle).sum(-1), 1, atol=1e-6)
    assert home.litter() == []


@pytest.mark.usefixtures("screen_only")
def test_a_program_is_tuned_as_a_function_is(home: Home) -> None:
    import torch_zoo

    model = home.folder / "mlp.pt2"
    model.write_bytes(torch_zoo.archive("mlp"))

    ended = home.call("tune", model, "--preset", home.preset(trials=1), "--format", "json")

    assert (ended.code, ended.complaints) == (0, "")
    assert ended.document["baseline"]["config"]["runtime"] == "torch"
    manifest = json.loads((home.folder / "mlp-tuned" / "bundle.json").read_text())
    assert manifest["record"]["model"]["path"] == str(model)
    with infer_opt.load(home.folder / "mlp-tuned") as session:
        assert session.run({"x": np.ones((3, 8), np.float32)})["scores"].shape == (3, 3)


@pytest.mark.parametrize(
    ("model", "code", "sentence"),
    [
        ("net.pt", 3, "net.pt is a checkpoint or pickle, and a pickle is never loaded"),
        ("nets:nothing", 3, "cannot load nets:nothing"),
        ("nowhere.pt2", 3, "there is no model at nowhere.pt2"),
        ("nets.py:Net", 3, "gave one Net"),
    ],
)
@pytest.mark.usefixtures("nets")
def test_what_is_no_model_is_refused_with_what_to_do(home: Home, model: str, code: int, sentence: str) -> None:
    ended = home.call("tune", model)

    assert ended.code == code
    assert sentence in ended.err
    assert "Hint:" in ended.err
    assert home.litter() == []


@pytest.mark.usefixtures("nets")
def test_custom_operators_are_not_for_pytorch(home: Home) -> None:
    ended = home.call("tune", "nets:net", "--custom-ops", "ops.so")

    assert ended.code == 2
    assert "are ONNX Runtime's" in ended.err


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's compiler warns of PyTorch
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++, which is not here")
def test_a_compiled_session_answers_as_an_eager_one_in_every_shape(home: Home) -> None:
    import torch_zoo

    path = home.folder / "mlp.pt2"
    path.write_bytes(torch_zoo.archive("mlp"))
    runtime = open_runtime("torch")
    eager, compiled = (runtime.open(path, SessionOptions(compiled=how)) for how in (None, Compilation.DEFAULT))

    for batch in (2, 5, 7):
        feeds = {"x": np.random.default_rng(batch).normal(size=(batch, 8)).astype(np.float32)}
        np.testing.assert_allclose(compiled.run(feeds)["scores"], eager.run(feeds)["scores"], atol=1e-5)
    compiled.close()
    eager.close()
