"""PyTorch sessions beyond the contract: nothing is unpickled, callers' arrays stay theirs, threads are put back."""

import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from infer_opt.config import Compilation, Provider, SessionOptions
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Session
from infer_opt.runtimes import open_runtime

pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'infer-opt[torch]'")

import torch_zoo
from torch_zoo import Net, export, floats, save, torch

X = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)


class Trap:
    """Runs code when it is unpickled."""

    sprung: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Trap.sprung.append, ("code of the archive ran",)


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    yield
    assert Trap.sprung == []


def opened(path: Path, options: SessionOptions | None = None) -> Session:
    return open_runtime("torch").open(path, options or SessionOptions())


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    path = tmp_path / "mlp.pt2"
    path.write_bytes(torch_zoo.archive("mlp"))
    return path


def test_example_inputs_are_a_pickle_and_are_not_read(mlp: Path, tmp_path: Path) -> None:
    trapped = tmp_path / "trapped.pt2"
    with zipfile.ZipFile(mlp) as good, zipfile.ZipFile(trapped, "w") as bad:
        for name in good.namelist():
            is_examples = name.endswith("sample_inputs/model.pt")
            bad.writestr(name, pickle.dumps(Trap()) if is_examples else good.read(name))

    session = opened(trapped)

    assert session.run({"x": X})["scores"].shape == (3, 3)


def test_a_checkpoint_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"weights": Trap()}, buffer)
    for name in ("net.pt2", "net.pt"):
        (tmp_path / name).write_bytes(buffer.getvalue())
        with pytest.raises(ModelError, match=r"is not loaded|never loaded"):
            opened(tmp_path / name)


def test_an_archive_of_another_schema_is_refused_in_one_line(mlp: Path, tmp_path: Path) -> None:
    older = tmp_path / "older.pt2"
    with zipfile.ZipFile(mlp) as good, zipfile.ZipFile(older, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, b"99" if name.endswith("archive_version") else good.read(name))

    with pytest.raises(ModelError, match="cannot read") as caught:
        opened(older)
    assert "\n" not in caught.value.what
    assert caught.value.hint == "export it again with this version"


# Names


class Nested(Net):
    def forward(self, x: Any, *, scale: Any = None) -> Any:
        return {"a": x + 1, "rest": (x * 2, [x.sum()]), "none": None}


class Plain(Net):
    def forward(self, x: Any) -> Any:
        return x + 1


class Pair(Net):
    def forward(self, x: Any) -> Any:
        return x + 1, {"x": x * 2}


def test_outputs_are_named_by_the_way_to_them(tmp_path: Path) -> None:
    session = opened(save(export(Nested(), (floats(2, 4),)), tmp_path / "net.pt2"))

    answer = session.run({"x": np.ones((2, 4), np.float32)})

    assert [spec.name for spec in session.outputs] == list(answer) == ["a", "rest_0", "rest_1_0"]
    assert answer["rest_1_0"] == 8
    assert session.outputs[0] == TensorSpec(name="a", dtype="float32", shape=(2, 4))


@pytest.mark.parametrize(("module", "names"), [(Plain, ["output"]), (Pair, ["output_0", "output_1_x"])])
def test_outputs_without_a_name_are_called_output(tmp_path: Path, module: Any, names: list[str]) -> None:
    session = opened(save(export(module(), (floats(2, 4),)), tmp_path / "net.pt2"))

    assert [spec.name for spec in session.outputs] == names


class Echo(Net):
    def forward(self, x: Any) -> Any:
        return {"x": x.view(-1)}


def test_an_output_that_is_called_like_an_input_gets_a_name_of_its_own(tmp_path: Path) -> None:
    session = opened(save(export(Echo(), (floats(2, 4),)), tmp_path / "net.pt2"))

    assert [spec.name for spec in session.outputs] == ["x_out"]


# Buffers


class Weights(Net):
    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(floats(4))

    def forward(self, x: Any) -> Any:
        return {"same": x.view(-1), "weights": self.w[1:], "sum": x + self.w}


def test_an_output_that_is_an_input_or_a_weight_is_a_copy(tmp_path: Path) -> None:
    session = opened(save(export(Weights(), (floats(2, 4),)), tmp_path / "net.pt2"))
    x = np.ones((2, 4), np.float32)
    before = session.run({"x": x})
    kept = {name: value.copy() for name, value in before.items()}

    for value in before.values():
        value += 100

    assert (x == 1).all()
    after = session.run({"x": x})
    for name, value in after.items():
        np.testing.assert_array_equal(value, kept[name])


def test_arrays_that_may_only_be_read_can_be_fed(mlp: Path) -> None:
    session = opened(mlp)
    locked = np.broadcast_to(np.ones(8, np.float32), (3, 8))

    np.testing.assert_array_equal(session.run({"x": locked})["scores"], session.run({"x": locked.copy()})["scores"])


class Counter(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return x + self.calls


def test_a_program_that_changes_its_own_state_is_refused(tmp_path: Path) -> None:
    path = save(export(Counter(), (floats(2, 4),)), tmp_path / "net.pt2")

    with pytest.raises(ModelError, match="changes calls at every call") as caught:
        opened(path)
    assert "eval()" in str(caught.value.hint)


def test_what_an_operator_refuses_is_a_model_error(tmp_path: Path) -> None:
    table = tmp_path / "unnamed_dims.pt2"
    table.write_bytes(torch_zoo.archive("unnamed_dims"))
    session = opened(table)

    with pytest.raises(ModelError, match="PyTorch failed to run the model: index"):
        session.run({"ids": np.full((2, 3), 999, np.int32)})
    assert session.run({"ids": np.zeros((2, 3), np.int32)})["vectors"].shape == (2, 3, 4)


# Settings


def test_threads_are_set_while_a_session_is_open_and_put_back_when_it_is_closed(mlp: Path) -> None:
    before = torch.get_num_threads()
    wanted = before + 1

    session = opened(mlp, SessionOptions(intra_threads=wanted))
    assert torch.get_num_threads() == wanted
    torch.set_num_threads(before)  # somebody else's session
    session.run({"x": X})
    assert torch.get_num_threads() == wanted
    session.close()

    assert torch.get_num_threads() == before


def test_stock_leaves_the_number_of_threads_alone(mlp: Path) -> None:
    before = torch.get_num_threads()

    opened(mlp).run({"x": X})

    assert torch.get_num_threads() == before


def test_compiling_without_a_compiler_is_unavailable_before_anything_is_compiled(
    mlp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")

    with pytest.raises(
        UnavailableError, match="needs a C\\+\\+ compiler for the CPU, and no-such-compiler is not there"
    ):
        opened(mlp, SessionOptions(compiled=Compilation.DEFAULT))


def test_cuda_that_is_not_there_says_why(mlp: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("PyTorch has CUDA here")

    with pytest.raises(UnavailableError, match="CUDA"):
        opened(mlp, SessionOptions(provider=Provider.CUDA, cuda_graph=True))


def test_bfloat16_is_no_setting_of_it(mlp: Path) -> None:
    with pytest.raises(UnavailableError, match="bfloat16"):
        opened(mlp, SessionOptions(bf16=True))
