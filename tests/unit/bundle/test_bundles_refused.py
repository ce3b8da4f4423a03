"""Bundles that are not what they were when they were written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import infer_opt
from infer_opt.bundle import is_bundle, read, write
from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.errors import ConfigError, ModelError, UnavailableError
from infer_opt.models.feeds import save_feeds
from infer_opt.runtimes import open_runtime
from made_bundles import X, contents, edit

# Refusals


def test_a_changed_artefact_is_refused(made: Path) -> None:
    path = made / "model.onnx"
    path.write_bytes(path.read_bytes() + b"\x00")

    with pytest.raises(ModelError, match="is not the file that was measured"):
        infer_opt.load(made)


def test_a_changed_sample_is_refused_too(tmp_path: Path, source: Path) -> None:
    samples = tmp_path / "feeds.npz"
    save_feeds(samples, [{"x": X}])
    write(tmp_path / "out", contents(source, samples=samples))
    save_feeds(tmp_path / "out" / "samples.npz", [{"x": X + 1}])

    with pytest.raises(ModelError, match="is not the file that was measured"):
        infer_opt.load(tmp_path / "out")


def test_a_missing_file_is_named(made: Path) -> None:
    (made / "model.onnx").unlink()

    with pytest.raises(ModelError, match=r"the bundle lacks model\.onnx"):
        infer_opt.load(made)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        assert not is_bundle(path)
        with pytest.raises(ModelError, match=r"is not a bundle: it has no bundle\.json"):
            infer_opt.load(path)


@pytest.mark.parametrize("text", ["", "{", "\x00", "[]", "3", "null", '{"schema_version": "1"}', "{}"])
def test_a_damaged_manifest_is_refused(made: Path, text: str) -> None:
    (made / "bundle.json").write_text(text)

    with pytest.raises(ModelError, match=r"bundle\.json"):
        infer_opt.load(made)


def test_a_manifest_that_is_not_text_is_refused(made: Path) -> None:
    (made / "bundle.json").write_bytes(b"\xff\xfe\x80")

    with pytest.raises(ModelError, match="is damaged"):
        infer_opt.load(made)


@pytest.mark.parametrize("name", ["files", "config", "artefact", "runtime_version", "isa", "record"])
def test_a_manifest_that_lacks_a_part_is_refused(made: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"is damaged: .*{name}"):
        infer_opt.load(edit(made, lambda data: data.pop(name)))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(files=["model.onnx"]),
        lambda data: data.update(config=None),
        lambda data: data["config"]["options"].update(warp=9),
        lambda data: data["config"]["options"].update(provider="abacus"),
        lambda data: data.update(artefact=3),
        lambda data: data.update(isa=3),
    ],
)
def test_a_manifest_of_another_form_is_refused(made: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ModelError, match="is damaged"):
        infer_opt.load(edit(made, change))


def test_a_bundle_of_a_later_release_is_refused(made: Path) -> None:
    with pytest.raises(ModelError, match="schema version 2, this release reads up to 1") as caught:
        infer_opt.load(edit(made, lambda data: data.update(schema_version=2)))

    assert caught.value.hint == "upgrade infer-opt"


@pytest.mark.parametrize("name", ["../secret.onnx", "/etc/passwd", "a/../../secret.onnx", ".."])
def test_a_manifest_that_points_outside_of_its_folder_is_refused(made: Path, name: str) -> None:
    shutil.copy(made / "model.onnx", made.parent / "secret.onnx")
    digest = read(made).files["model.onnx"]

    for change in (
        lambda data: data.update(artefact=name, files={**data["files"], name: digest}),
        lambda data: data["files"].update({name: digest}),
        lambda data: data.update(artefact=name),
    ):
        copy = made.parent / "copy"
        shutil.copytree(made, copy)
        with pytest.raises(ModelError, match="names a file outside of its folder"):
            infer_opt.load(edit(copy, change))
        shutil.rmtree(copy)


def test_an_artefact_without_a_hash_is_refused(made: Path) -> None:
    shutil.copy(made / "model.onnx", made / "other.onnx")

    with pytest.raises(ModelError, match=r"has no hash of its artefact other\.onnx"):
        infer_opt.load(edit(made, lambda data: data.update(artefact="other.onnx")))


def test_libraries_of_custom_operators_are_loaded_only_when_they_are_named_again(tmp_path: Path, source: Path) -> None:
    config = TrialConfig(options=SessionOptions(custom_ops=("/nowhere/ops.so",)))
    write(tmp_path / "out", contents(source, config=config))

    for named in ((), ("/nowhere/other.so",)):
        with pytest.raises(ConfigError, match=r"/nowhere/ops\.so"):
            infer_opt.load(tmp_path / "out", custom_ops=named)
    with pytest.raises(UnavailableError, match="does not load"):
        infer_opt.load(tmp_path / "out", custom_ops=["/nowhere/ops.so"])


def test_custom_operators_that_a_bundle_does_not_use_are_refused(made: Path) -> None:
    with pytest.raises(ConfigError, match="custom-operator"):
        infer_opt.load(made, custom_ops=["/nowhere/ops.so"])


def test_a_bundle_for_a_provider_that_is_not_here_is_refused(tmp_path: Path, source: Path) -> None:
    if Provider.CUDA in open_runtime("onnx").providers():
        pytest.skip("CUDA works here")
    write(tmp_path / "out", contents(source, config=TrialConfig(options=SessionOptions(provider=Provider.CUDA))))

    with pytest.raises(UnavailableError):
        infer_opt.load(tmp_path / "out")
