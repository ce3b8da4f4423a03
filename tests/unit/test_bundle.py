import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import infer_opt
import zoo
from fakes import MODEL
from infer_opt.bundle import BundleWarning, Contents, Manifest, check_target, foreign, is_bundle, read, write
from infer_opt.config import Provider, SessionOptions, TrialConfig, Workload
from infer_opt.errors import ConfigError, InferOptError, ModelError, StorageError, UnavailableError
from infer_opt.machine.cpu import isa
from infer_opt.models.feeds import load_feeds, save_feeds
from infer_opt.models.inspecting import inspect
from infer_opt.recipes import GraphLevel, Quantisation, Recipe
from infer_opt.results import Caution
from infer_opt.runtimes import open_runtime
from infer_opt.transforms.apply import build

ONE_THREAD = TrialConfig(options=SessionOptions(intra_threads=1, io_binding=True))
X = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
INT8 = TrialConfig(recipe=Recipe(quantise=Quantisation()))
INT7 = TrialConfig(recipe=Recipe(quantise=Quantisation(reduce_range=True)))
SAVED = TrialConfig(recipe=Recipe(saved_level=GraphLevel.ALL))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The model that was tuned."""
    folder = tmp_path / "source"
    folder.mkdir()
    return zoo.save(zoo.mlp(), folder / "model.onnx")


def contents(source: Path, **changes: Any) -> Contents:
    settings: dict[str, Any] = {
        "name": "mlp",
        "summary": "1 thread is 2x faster {not a placeholder}",
        "config": ONE_THREAD,
        "files": (source,),
        "default": (),
        "samples": None,
        "runtime_version": onnxruntime.__version__,
        "isa": isa(),
        "record": {"verdict": "faster", "dims": {}},
        "inputs": MODEL.inputs,
        "outputs": MODEL.outputs,
        "picture": "<svg/>",
    }
    return Contents(**(settings | changes))


@pytest.fixture
def made(tmp_path: Path, source: Path) -> Path:
    """A bundle of this machine."""
    folder = tmp_path / "out"
    write(folder, contents(source))
    return folder


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "bundle.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return folder


def leftovers(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.name.startswith(".")]


# Loading


def test_a_bundle_runs_exactly_the_model_that_it_was_made_of(made: Path, source: Path) -> None:
    stock = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])

    with infer_opt.load(made) as session:
        found = session.run({"x": X})

    assert list(found) == ["scores"]
    np.testing.assert_allclose(found["scores"], stock.run(None, {"x": X})[0], atol=1e-6)


def test_a_bundle_from_this_machine_loads_without_a_warning(made: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert infer_opt.load(str(made)).notes == ()


def test_a_bundle_says_what_it_takes_and_gives_and_leaves_the_batch_free(made: Path) -> None:
    session = infer_opt.load(made)

    assert [str(spec) for spec in session.inputs] == ["x: float32[batch, 8]"]
    assert [str(spec) for spec in session.outputs] == ["scores: float32[batch, 3]"]
    assert [len(session.run({"x": X[:size]})["scores"]) for size in (1, 5)] == [1, 5]


def test_a_bundle_is_opened_with_the_options_that_were_measured(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, SessionOptions]] = []
    runtime = open_runtime("onnx")

    class Watching:
        name = "onnx"

        def version(self) -> str:
            return runtime.version()

        def open(self, artefact: Path, options: SessionOptions) -> Any:
            seen.append((artefact, options))
            return runtime.open(artefact, options)

    monkeypatch.setattr("infer_opt.bundle.open_runtime", lambda name: Watching())
    infer_opt.load(made)

    assert seen == [(made / "model.onnx", ONE_THREAD.options)]


def test_several_threads_may_call_a_bundle_at_once(made: Path) -> None:
    session = infer_opt.load(made)
    wanted = session.run({"x": X})["scores"]
    wrong: list[bool] = []

    def call() -> None:
        wrong.extend(not np.array_equal(session.run({"x": X})["scores"], wanted) for _ in range(50))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == [False] * 200


def test_a_closed_bundle_says_that_it_is_closed(made: Path) -> None:
    session = infer_opt.load(made)
    session.close()
    session.close()

    with pytest.raises(ConfigError, match="this bundle is closed"):
        session.run({"x": X})


def test_wrong_inputs_are_one_sentence(made: Path) -> None:
    with infer_opt.load(made) as session, pytest.raises(ModelError, match="name: y"):
        session.run({"y": X})


def test_loading_needs_numpy_and_the_runtime_and_nothing_else(made: Path) -> None:
    program = f"""
import sys

FORBIDDEN = {{
    "alembic", "click", "google", "msgspec", "onnx", "platformdirs", "psutil", "pynvml", "rich", "scipy",
    "sqlalchemy", "sympy", "tabulate", "torch", "yaml",
}}

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"load() imports {{name}}")

sys.meta_path.insert(0, Forbid())
import numpy
import infer_opt

with infer_opt.load({str(made)!r}) as session:
    print(session.run({{"x": numpy.ones((2, 8), numpy.float32)}})["scores"].shape)
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stderr == ""
    assert done.stdout.strip() == "(2, 3)"


# What a bundle holds


def test_a_bundle_explains_itself(made: Path) -> None:
    readme = (made / "README.md").read_text()

    assert readme.startswith("# mlp, tuned by infer-opt")
    assert "1 thread is 2x faster {not a placeholder}" in readme
    assert 'infer_opt.load("out")' in readme
    assert 'session.run({"x": ...})  # {"scores": ...}' in readme
    assert "infer-opt[cpu]" in readme


def test_the_lines_in_the_readme_work_as_they_stand(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (made / "README.md").read_text()
    program = readme.split("```python\n")[1].split("```")[0].replace('"x": ...', '"x": X')
    names: dict[str, Any] = {"X": X}
    monkeypatch.chdir(made.parent)

    exec(program, names)

    assert names["outputs"]["scores"].shape == (5, 3)


def test_a_bundle_for_cuda_names_the_extra_for_it(tmp_path: Path, source: Path) -> None:
    cuda = TrialConfig(options=SessionOptions(provider=Provider.CUDA))
    write(tmp_path / "out", contents(source, config=cuda))

    assert "infer-opt[gpu]" in (tmp_path / "out" / "README.md").read_text()


def test_what_was_written_is_read_back(made: Path) -> None:
    manifest = read(made)

    assert is_bundle(made)
    assert (manifest.config, manifest.artefact) == (ONE_THREAD, made / "model.onnx")
    assert (manifest.runtime_version, manifest.isa) == (onnxruntime.__version__, isa())
    assert manifest.record == {"verdict": "faster", "dims": {}}
    assert json.loads((made / "bundle.json").read_text())["schema_version"] == 1


def test_external_data_travels_with_the_artefact_under_the_name_by_which_it_is_referred_to(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    path = zoo.save_external(zoo.mlp(), tmp_path / "source" / "big.onnx")
    write(tmp_path / "out", contents(path, files=(path, path.parent / "weights.bin")))
    shutil.rmtree(tmp_path / "source")

    with infer_opt.load(tmp_path / "out") as session:
        assert session.run({"x": X})["scores"].shape == (5, 3)
    assert set(read(tmp_path / "out").files) == {"model.onnx", "weights.bin"}


def test_the_default_and_the_samples_travel_with_their_hashes(tmp_path: Path, source: Path) -> None:
    samples = tmp_path / "feeds.npz"
    save_feeds(samples, [{"x": X}])
    write(tmp_path / "out", contents(source, default=(source,), samples=samples))

    assert set(read(tmp_path / "out").files) == {"model.onnx", "default/model.onnx", "samples.npz"}
    (feeds,) = load_feeds(tmp_path / "out" / "samples.npz")
    np.testing.assert_array_equal(feeds["x"], X)


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


# Elsewhere


def manifest(config: TrialConfig, *sets: str, runtime_version: str = "1.32.0") -> Manifest:
    return Manifest(
        folder=Path("b"),
        config=config,
        artefact=Path("b/model.onnx"),
        files={},
        runtime_version=runtime_version,
        isa=sets,
        record={},
    )


CUDA_INT8 = dataclasses.replace(INT8, options=SessionOptions(provider=Provider.CUDA))


@pytest.mark.parametrize(
    ("config", "there", "here"),
    [
        (INT8, ("avx2", "avx512_vnni"), ("avx2", "avx512_vnni")),
        (INT8, ("avx2", "avx512_vnni"), ("avx2", "avx512_vnni", "amx_int8")),  # more is fine
        (INT8, ("avx2",), ("avx2",)),
        (CUDA_INT8, ("avx2", "avx512_vnni"), ("avx2",)),  # the GPU does the work
        (SAVED, ("avx2",), ("avx2",)),
    ],
)
def test_a_machine_that_has_all_the_other_had_is_no_reason_for_care(
    config: TrialConfig, there: tuple[str, ...], here: tuple[str, ...]
) -> None:
    assert foreign(manifest(config, *there), runtime_version="1.32.0", isa_here=here) == ()


def test_eight_bit_weights_are_refused_where_their_products_saturate() -> None:
    with pytest.raises(UnavailableError, match="no 8-bit dot product") as caught:
        foreign(manifest(INT8, "avx2", "avx512_vnni"), runtime_version="1.32.0", isa_here=("avx2",))

    assert caught.value.hint == "run infer-opt tune on this machine"


@pytest.mark.parametrize(
    ("config", "there", "here"),
    [
        (INT7, ("avx2", "avx512_vnni"), ("avx2",)),  # 7-bit weights do not saturate
        (INT8, ("avx2", "avx512_vnni"), ("avx2", "avx_vnni")),  # another dot product is one too
        (INT8, ("avx2", "avx512f"), ("avx2",)),
        (ONE_THREAD, ("avx2", "avx512f"), ("avx2",)),
    ],
)
def test_a_machine_that_lacks_something_harmless_is_a_caution(
    config: TrialConfig, there: tuple[str, ...], here: tuple[str, ...]
) -> None:
    (note,) = foreign(manifest(config, *there), runtime_version="1.32.0", isa_here=here)

    assert note.caution is Caution.OTHER_MACHINE
    assert ", ".join(sorted(set(there) - set(here))) in note.text


def test_a_graph_that_was_laid_out_for_another_cpu_is_refused() -> None:
    with pytest.raises(UnavailableError, match="laid out for a CPU with avx512f"):
        foreign(manifest(SAVED, "avx2", "avx512f"), runtime_version="1.32.0", isa_here=("avx2",))


def test_loading_asks_this_machine(made: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(made, contents(source, config=INT8, isa=("avx2", "avx512_vnni")))
    monkeypatch.setattr("infer_opt.bundle.isa", lambda: ("avx2",))

    with pytest.raises(UnavailableError, match="saturate"):
        infer_opt.load(made)

    monkeypatch.setattr("infer_opt.bundle.isa", lambda: ("avx2", "avx_vnni"))
    with pytest.warns(BundleWarning, match="avx512_vnni"):
        session = infer_opt.load(made)
    assert [note.caution for note in session.notes] == [Caution.OTHER_MACHINE]
    assert session.run({"x": X})["scores"].shape == (5, 3)


def test_another_version_of_the_runtime_is_a_warning(tmp_path: Path, source: Path) -> None:
    write(tmp_path / "out", contents(source, runtime_version="1.2.3"))

    with pytest.warns(BundleWarning, match=r"measured with onnx runtime 1\.2\.3") as caught:
        infer_opt.load(tmp_path / "out")

    assert caught[0].filename == __file__  # it points at the user's own line


# Writing


@pytest.mark.parametrize("failing", ["copyfile", "write_text", "rename", "interrupt"])
def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    full: BaseException = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt if failing == "interrupt" else full

    owner, name = (Path, failing) if failing in ("write_text", "rename") else (shutil, "copyfile")
    monkeypatch.setattr(owner, name, fail)

    with pytest.raises((StorageError, KeyboardInterrupt)) as caught:
        write(tmp_path / "out", contents(source))

    if isinstance(caught.value, InferOptError):
        assert "No space left on device" in caught.value.what
        assert "--resume" in str(caught.value.hint)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_bundle_that_is_there_is_replaced_whole(made: Path, source: Path) -> None:
    (made / "stray.txt").write_text("from before")

    write(made, contents(source, config=TrialConfig()))

    assert read(made).config == TrialConfig()
    assert not (made / "stray.txt").exists()
    assert leftovers(made.parent) == []


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), KeyboardInterrupt()])
def test_a_bundle_that_is_there_stays_when_its_successor_cannot_take_its_place(
    made: Path, source: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    rename = Path.rename
    calls: list[Path] = []

    def second_fails(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == 2:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises((StorageError, KeyboardInterrupt)):
        write(made, contents(source, config=TrialConfig()))
    monkeypatch.undo()

    assert read(made).config == ONE_THREAD
    with infer_opt.load(made) as session:
        assert session.run({"x": X})["scores"].shape == (5, 3)
    assert leftovers(made.parent) == []


def test_a_parent_that_is_not_there_is_an_error_of_storage(tmp_path: Path, source: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written") as caught:
        write(tmp_path / "nowhere" / "out", contents(source))

    assert caught.value.hint == "choose another --out"


def test_others_may_read_a_bundle(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o755


# Targets


def test_a_new_target_is_fine_and_its_parents_are_made(tmp_path: Path) -> None:
    check_target(tmp_path / "a" / "b" / "out", force=False)

    assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b" / "out").exists()
    assert leftovers(tmp_path / "a" / "b") == []


def test_an_empty_folder_may_be_filled(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out").mkdir()

    check_target(tmp_path / "out", force=False)
    write(tmp_path / "out", contents(source))

    assert is_bundle(tmp_path / "out")


def test_a_bundle_is_replaced_only_by_force(made: Path) -> None:
    with pytest.raises(StorageError, match="exists already") as caught:
        check_target(made, force=False)
    assert caught.value.hint == "add --force to replace it"

    check_target(made, force=True)


@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_bundle_is_never_replaced(tmp_path: Path, force: bool) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("...")
    (tmp_path / "file").write_text("...")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    for name in ("thesis", "file", "link"):
        with pytest.raises(StorageError, match="exists and is not a bundle"):
            check_target(tmp_path / name, force=force)


def test_a_parent_that_cannot_be_a_folder_is_an_error_of_storage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("...")

    with pytest.raises(StorageError, match="cannot be written"):
        check_target(tmp_path / "file" / "out", force=False)


# Padding


def test_a_bundle_with_buckets_fills_up_what_it_is_given_and_cuts_back_what_it_answers(tmp_path: Path) -> None:
    model = zoo.save(zoo.attention_block(), tmp_path / "attention.onnx")
    facts, config = inspect(model), TrialConfig(recipe=Recipe(fixed_shapes=True, buckets=(("seq", (32,)),)))
    workload = Workload().filled_up(config.recipe.buckets)
    artefact = build(model, config.recipe, folder=tmp_path / "built", workload=workload)
    write(
        tmp_path / "out",
        contents(artefact, config=config, files=(artefact,), inputs=facts.inputs, outputs=facts.outputs),
    )
    feed = {"input_ids": np.arange(10).reshape(2, 5), "attention_mask": np.ones((2, 5), np.int64)}
    stock = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])

    with infer_opt.load(tmp_path / "out") as session:
        assert str(session.inputs[0]) == "input_ids: int64[batch, seq]"
        found = session.run(feed)["hidden"]
        together = session.submit(feed).result(timeout=30)["hidden"]

    np.testing.assert_allclose(found, stock.run(None, feed)[0], atol=1e-5)
    np.testing.assert_allclose(together, found, atol=1e-5)
