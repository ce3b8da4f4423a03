"""The GPU ladder in miniature on the CPU, from its command line to its result."""

import json
import os
from pathlib import Path

import pytest
from scripts import gpu_ladder

from fake_nvml import FakeGpu, FakeNvml
from infer_opt.config import Provider
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.runtimes.torch import TorchRuntime

MINIATURE = ["--device", "cpu", "--miniature", "--models", "policy", "--batches", "2", "--tune", "0"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.environ["PYTHONPATH"])  # the ladder sets it for its workers


def test_the_ladder_runs_in_miniature_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "ladder.json", tmp_path / "page.md"
    page.write_text(f"Before.\n{gpu_ladder.MARKS[0]}\n{gpu_ladder.MARKS[1]}\nAfter.\n")
    arguments = [*MINIATURE, "--minutes", "3", "--out", str(out), "--table", str(page)]

    gpu_ladder.main([*arguments, "--epochs", "1"])

    shown = capsys.readouterr().out
    document = json.loads(out.read_text())
    (rung,) = document["results"]["rungs"].values()
    (epoch,) = rung["epochs"]
    assert {"baseline", "clone", "ort-binding"} <= set(epoch["seen"])
    assert epoch["seen"]["ort-binding"]["score"] > 0.999
    assert rung["work"]["operations"] > 0
    assert document["results"]["ceilings"]["float32"]
    assert document["machine"]["fingerprint"]
    assert document["command"].startswith("python -m scripts.gpu_ladder --device cpu")
    assert "ONNX Runtime, stock FP32" in shown
    assert "+ CUDA graph: needs a GPU (policy 2)" in shown
    if TorchRuntime().why_not(Provider.CPU) is not None:
        assert "PyTorch eager: PyTorch is not installed (policy 2)" in shown
        assert document["is_complete"]  # what has its reason is not missing
    assert "| policy" in page.read_text()

    page.write_text(f"{gpu_ladder.MARKS[0]}\n{gpu_ladder.MARKS[1]}\n")
    gpu_ladder.main(["--only-table", "--out", str(out), "--table", str(page)])
    assert capsys.readouterr().out == shown
    assert "| policy" in page.read_text()

    gpu_ladder.main([*arguments, "--epochs", "2", "--go-on"])

    (rung,) = json.loads(out.read_text())["results"]["rungs"].values()
    assert len(rung["epochs"]) == 2
    assert rung["epochs"][0] == epoch


def test_a_gpu_that_is_not_there_is_said_and_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from infer_opt.runtimes.onnx import OnnxRuntime

    if OnnxRuntime().why_not(Provider.CUDA) is None:
        pytest.skip("this machine has a GPU")

    code = gpu_ladder.main(["--models", "policy", "--out", str(tmp_path / "ladder.json")])

    assert code == 4
    assert "the ladder needs cuda: " in capsys.readouterr().err
    assert not (tmp_path / "ladder.json").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models", "gpt-9"], "there is no model gpt-9; choose from resnet50"),
        (["--go-on", "--out", "/nowhere/ladder.json"], "there is no earlier result at /nowhere/ladder.json"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit, match=sentence):
        gpu_ladder.main([*MINIATURE, *arguments] if "--models" not in arguments else arguments)


def test_a_result_of_another_machine_is_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "ladder.json"
    results = {"device": "cpu", "miniature": True, "rungs": {}}
    out.write_text(json.dumps({"machine": {"fingerprint": "another"}, "results": results}))

    with pytest.raises(SystemExit, match="measured on another machine"):
        gpu_ladder.main([*MINIATURE, "--go-on", "--out", str(out)])


def test_the_ladder_climbs_every_rung_of_onnx_runtime_on_a_pretended_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended = Path(__file__).resolve().parents[1] / "pretended_gpu"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pretended), os.environ["PYTHONPATH"]]))
    monkeypatch.setattr(gpu_ladder, "_device", lambda provider: NvmlMonitor(FakeNvml(FakeGpu()), detailed=False))
    out = tmp_path / "ladder.json"
    arguments = ["--miniature", "--models", "resnet50", "--batches", "2", "--tune", "0", "--minutes", "3"]

    gpu_ladder.main([*arguments, "--epochs", "1", "--out", str(out)])

    document = json.loads(out.read_text())
    (rung,) = document["results"]["rungs"].values()
    seen = rung["epochs"][0]["seen"]
    assert {"baseline", "clone", "ort-binding", "ort-graph", "ort-fp16", "ort-fp16-graph"} <= set(seen)
    assert all(seen[name]["score"] > 0.99 for name in seen)
    assert seen["ort-fp16"]["relative_l2"] > seen["ort-binding"]["relative_l2"]  # it is another file
    assert {one["power_watts"] for one in seen.values()} == {250.5}
    assert rung["epochs"][0]["marks"]["gpu[0].sm_clock_hertz"] == [1.98e9, 1.98e9]
    shown = capsys.readouterr().out
    assert "FP16 + CUDA graph" in shown
    assert "TensorRT, FP16: the installed ONNX Runtime was built without TensorrtExecutionProvider" in shown
