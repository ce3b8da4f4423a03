"""The ladder's networks in PyTorch are those in ONNX."""

from pathlib import Path

import numpy as np
import pytest
from scripts.ladder.networks import NETWORKS, Network, inputs, weights_file, write_network

from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.parity import compare
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.runtimes.torch import TorchRuntime

if (reason := TorchRuntime().why_not(Provider.CPU)) is not None:
    pytest.skip(reason, allow_module_level=True)

from scripts.ladder.torch_modules import TorchModules


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_both_libraries_compute_the_same_network(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_network(path, network.tiny, [2], halves=False)
    calls = [inputs(network.tiny, 2, np.random.default_rng(seed)) for seed in range(3)]
    onnx, torch = OnnxRuntime().open(path, SessionOptions()), TorchModules().open(weights_file(path), SessionOptions())

    parity = compare([onnx.run(feed) for feed in calls], [torch.run(feed) for feed in calls], tolerance=0.999999)

    assert parity.passed, parity.reason
    assert max(output.relative_l2 or 0.0 for output in parity.outputs) < 1e-5


def test_wrong_inputs_are_an_error_of_the_model(tmp_path: Path) -> None:
    write_network(tmp_path / "model.onnx", NETWORKS[2].tiny, [1], halves=False)
    session = TorchModules().open(weights_file(tmp_path / "model.onnx"), SessionOptions())

    with pytest.raises(ModelError, match="PyTorch failed to run the model"):
        session.run({"observation": np.zeros((1, 1), np.float32)})


def test_a_device_that_is_not_there_is_never_replaced(tmp_path: Path) -> None:
    if TorchRuntime().why_not(Provider.CUDA) is None:
        pytest.skip("this machine has a GPU")
    write_network(tmp_path / "model.onnx", NETWORKS[2].tiny, [1], halves=False)

    with pytest.raises(UnavailableError):
        TorchModules().open(weights_file(tmp_path / "model.onnx"), SessionOptions(provider=Provider.CUDA))
