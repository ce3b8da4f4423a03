"""Archives of exported programs: what would run code is refused before PyTorch reads it. No PyTorch is needed here."""

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infer_opt.errors import ModelError
from infer_opt.runtimes.pt2 import (
    NAMES,
    check_archive,
    dimension_names,
    example_bytes,
    refuse_pickle,
    without_examples,
)

WEIGHT = {"config": {"w": {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": {}}}}


def program(**changes: Any) -> dict[str, Any]:
    """A program of one operator, as `torch.export.save` writes it, as far as it matters."""
    node = {
        "target": "torch.ops.aten.linear.default",
        "name": "linear",
        "inputs": [{"name": "input", "arg": {"as_tensor": {"name": "x"}}}],
        "metadata": {"stack_trace": 'File "net.py", line 3, in forward\n  return self.l(x)'},
    }
    spec = json.dumps([1, {"type": "builtins.dict", "context": json.dumps(["mask"]), "children_spec": []}])
    size = {"as_expr": {"expr_str": "2*Symbol('s31', positive=True, integer=True) + 1", "hint": None}}
    return {"graph": {"nodes": [node | changes], "sizes": [size], "in_spec": spec}}


def written(path: Path, parts: Mapping[str, bytes | str] | None = None, *, of: Any = None) -> Path:
    """An archive with one program; `parts` come on top."""
    whole: dict[str, bytes | str] = {
        "models/model.json": json.dumps(program() if of is None else of),
        "data/weights/model_weights_config.json": json.dumps(WEIGHT),
        "data/weights/weight_0": b"\0" * 16,
        "data/constants/model_constants_config.json": json.dumps({"config": {}}),
        "data/sample_inputs/model.pt": b"",
        "archive_format": "pt2",
        "archive_version": "0",
        ".data/version": "3",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (whole | dict(parts or {})).items():
            archive.writestr(f"net/{name}", content)
    return path


def stored(name: str, **entry: object) -> str:
    """A list of payloads with one in it."""
    return json.dumps({"config": {name: entry}})


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        check_archive(path)
    assert "\n" not in caught.value.what
    assert caught.value.hint
    return caught.value.what


def test_tensors_and_operators_are_let_through(tmp_path: Path) -> None:
    assert check_archive(written(tmp_path / "net.pt2")) is False


@pytest.mark.parametrize("name", ["net.pt", "net.PTH", "a/net.ckpt", "net.pkl", "net.pickle", "net.joblib"])
def test_a_checkpoint_is_refused_by_its_name_with_what_to_do_instead(name: str) -> None:
    with pytest.raises(ModelError, match="a pickle is never loaded") as caught:
        refuse_pickle(Path(name))

    assert "torch.export.save" in str(caught.value.hint)
    assert "package.module:function" in str(caught.value.hint)


def test_what_is_no_checkpoint_by_its_name_is_not_refused() -> None:
    refuse_pickle(Path("net.pt2"))
    refuse_pickle(Path("net.onnx"))


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"data.pkl": pickle.dumps([])}, "it is a checkpoint or TorchScript"),
        ({"data/weights/model.pt": pickle.dumps({})}, "data/weights/model.pt, which may be a pickle"),
        ({"data/constants/custom_obj_0": b"x"}, "custom_obj_0, which may be a pickle"),
        ({"data/constants/opaque_obj_0": pickle.dumps(1)}, "opaque_obj_0, which may be a pickle"),
        ({"data/aotinductor/model/net.so": b"\x7fELF"}, "a compiled library, which is code"),
        ({"anything": b"else"}, "anything, which may be a pickle"),
        (
            {"data/weights/model_weights_config.json": stored("w", path_name="weight_0", use_pickle=True)},
            "its w is stored as a pickle",
        ),
        (
            {"data/constants/model_constants_config.json": stored("c", path_name="custom_obj_0")},
            "its c is stored as a pickle",
        ),
    ],
)  # fmt: skip
def test_pickles_and_libraries_in_an_archive_are_refused(
    tmp_path: Path, parts: dict[str, bytes | str], why: str
) -> None:
    assert why in refused(written(tmp_path / "net.pt2", parts))


@pytest.mark.parametrize(
    "target",
    [
        "torch.serialization.os.system",
        "torch.load",
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.__class__.default",
        "torch.ops.somebody.op.default",
        "torch.ops.higher_order.run_and_save_rng_state",
        "_operator.attrgetter",
        "math.sqrt.__self__",
        "#ns:op",
    ],
)
def test_a_call_of_anything_but_an_operator_is_refused(tmp_path: Path, target: str) -> None:
    assert f"it calls {target!r}" in refused(written(tmp_path / "net.pt2", of=program(target=target)))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch owned')",
        "Symbol('s0') + ().__class__",
        "Eq('__import__(\"os\")', 1)",
        "(lambda: 1)()",
        "eval('1')",
        "s0[0]",
        "s0 +",
    ],
)
def test_a_size_is_computed_with_arithmetic_alone(tmp_path: Path, text: str) -> None:
    size = {"as_expr": {"expr_str": text}}

    assert "it computes a size with" in refused(written(tmp_path / "net.pt2", of=program(inputs=[size])))


@pytest.mark.parametrize("name", ["x=__import__('os')", "x; y", "a\nb", 'w").__class__'])
def test_a_name_that_is_none_is_refused_for_it_would_become_source_code(tmp_path: Path, name: str) -> None:
    assert "is no name" in refused(written(tmp_path / "net.pt2", of=program(name=name)))
    assert "is no name" in refused(written(tmp_path / "net.pt2", of=program(parameter_name=name)))


@pytest.mark.parametrize(
    "context",
    [
        {"default_factory_module": "os", "default_factory_name": "getcwd", "dict_context": []},
        json.dumps({"__enum__": True, "fqn": "os:environ", "name": "x"}),
        json.dumps(["mask", "x=exit()"]),
    ],
)
def test_a_structure_that_is_looked_up_by_name_is_refused(tmp_path: Path, context: Any) -> None:
    spec = json.dumps([1, {"type": "builtins.dict", "context": context, "children_spec": []}])

    assert "that is looked up by name" in refused(written(tmp_path / "net.pt2", of=program(in_spec=spec)))


def test_example_inputs_are_found_and_can_be_left_out(tmp_path: Path) -> None:
    examples = pickle.dumps("anything")
    path = written(
        tmp_path / "net.pt2", {"data/sample_inputs/model.pt": examples, f"extra/{NAMES}": '{"s31": "batch"}'}
    )

    assert check_archive(path) is True
    assert example_bytes(path) == examples
    without_examples(path, tmp_path / "clean.pt2")

    assert check_archive(tmp_path / "clean.pt2") is False
    assert example_bytes(tmp_path / "clean.pt2") == b""
    assert dimension_names(tmp_path / "clean.pt2") == {"s31": "batch"}
    with zipfile.ZipFile(tmp_path / "clean.pt2") as clean:
        assert clean.read("net/data/weights/weight_0") == b"\0" * 16


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut", b"\x08\x08"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(content)

    assert "is not an exported PyTorch program" in refused(path)


def test_an_archive_with_something_behind_it_or_one_name_twice_is_refused(tmp_path: Path) -> None:
    longer = written(tmp_path / "longer.pt2")
    longer.write_bytes(longer.read_bytes() + b"PK")
    twice = written(tmp_path / "twice.pt2")
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("net/models/model.json", "{}")

    assert "is not an exported PyTorch program" in refused(longer)
    assert "do not have one name each" in refused(twice)


def test_a_program_that_is_no_json_or_too_deep_is_refused(tmp_path: Path) -> None:
    refused(written(tmp_path / "net.pt2", {"models/model.json": "{"}))
    refused(written(tmp_path / "net.pt2", {"models/model.json": "[" * 100_000}))
    refused(written(tmp_path / "net.pt2", {"data/weights/model_weights_config.json": "[]"}))
