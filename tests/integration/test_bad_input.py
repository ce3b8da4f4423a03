"""Everything that can be wrong with what a user gives: one sentence, at most one hint, the exit code of its class."""

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import zoo
import zoo_refused
from driving import Ended, Home
from infer_opt.config import Provider
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.store.database import Store
from zoo import save

CONFIG, MODEL, UNAVAILABLE, STORAGE = 2, 3, 4, 6
MISBEHAVING = Path(__file__).parents[1] / "misbehaving.py"


def refused(ended: Ended, code: int, sentence: str, *, hint: str | None = None) -> None:
    """Exactly one sentence that holds `sentence`, at most one hint that holds `hint`, and no output."""
    assert ended.code == code, ended.err
    assert re.fullmatch(r"Error: [^\n]+\n(Hint:  [^\n]+\n)?", ended.err), ended.err
    assert sentence in ended.err
    assert hint is None or hint in ended.err.partition("\n")[2], ended.err
    assert ended.out == ""


def nothing_is_left(home: Home) -> None:
    """No bundle, no draft of one, no scratch folder."""
    assert not (home.folder / "out").exists()
    assert home.litter() == []


def tuned(home: Home, model: Path | str, *words: object) -> Ended:
    """`infer-opt tune` with as little as possible to do."""
    return home.call("tune", model, "--out", home.folder / "out", "--budget", "1s", *words)


# Models


def not_onnx(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_text("once upon a time")
    return path


def checkpoint(folder: Path) -> Path:
    path = folder / "model.onnx"
    np.savez(folder / "weights.npz", w=np.zeros(3))
    (folder / "weights.npz").rename(path)
    return path


def truncated(folder: Path) -> Path:
    path = save(zoo.mlp(), folder / "model.onnx")
    path.write_bytes(path.read_bytes()[:500])
    return path


def empty(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.touch()
    return path


def directory(folder: Path) -> Path:
    path = folder / "exported"
    path.mkdir()
    save(zoo.mlp(), path / "inner.onnx")
    return path


def missing_data(folder: Path) -> Path:
    path = zoo.save_external(zoo.mlp(), folder / "model.onnx")
    (folder / "weights.bin").unlink()
    return path


def short_data(folder: Path) -> Path:
    path = zoo.save_external(zoo.mlp(), folder / "model.onnx")
    (folder / "weights.bin").write_bytes(b"x")
    return path


def data_above(folder: Path) -> Path:
    model = zoo.mlp()
    (folder / "secret.bin").write_bytes(b"x" * 10_000)
    zoo.point_outside(model.graph.initializer[0], "../secret.bin")
    inner = folder / "inner"
    inner.mkdir()
    return save(model, inner / "model.onnx")


def data_by_link(folder: Path) -> Path:
    (folder / "inner").mkdir()
    path = zoo.save_external(zoo.mlp(), folder / "inner" / "model.onnx")
    shutil.move(folder / "inner" / "weights.bin", folder / "secret.bin")
    (folder / "inner" / "weights.bin").symlink_to(folder / "secret.bin")
    return path


@pytest.mark.parametrize(
    ("make", "sentence", "hint"),
    [
        (not_onnx, "is not an ONNX file", "torch.onnx.export"),
        (checkpoint, "zip archive", "torch.onnx.export"),
        (truncated, "cut off or damaged", "again"),
        (empty, "is empty", "again"),
        (directory, "is a directory", "inner.onnx"),
        (lambda folder: folder / "gone.onnx", "there is no model file", "check the path"),
        (lambda folder: Path("/dev/zero"), "not a regular file", "save the model"),
        (missing_data, "the external data 'weights.bin' of", "in one folder"),
        (short_data, "too short", "again"),
        (data_above, "outside the model's folder: refused", "in one folder"),
        (data_by_link, "outside the model's folder: refused", "in one folder"),
    ],
)
def test_a_file_that_is_no_whole_model_is_refused(
    home: Home, make: Callable[[Path], Path], sentence: str, hint: str
) -> None:
    refused(tuned(home, make(home.folder)), MODEL, sentence, hint=hint)
    nothing_is_left(home)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (zoo_refused.broken_graph, "'nowhere'"),
        (zoo_refused.custom_operator, "com.example.Frobnicate"),
        (zoo_refused.unknown_operator, "'Frobnicate'"),
        (zoo_refused.no_inputs, "no inputs"),
        (zoo_refused.huge_input, "16 GiB"),
        (zoo_refused.sequence_input, "sequence(float32)"),
        (zoo.unknown_rank, "declares no rank"),
        (zoo.nan_output, "NaN or infinity"),
    ],
)
def test_a_model_that_cannot_be_tuned_is_refused(
    home: Home, build: Callable[[], onnx.ModelProto], sentence: str
) -> None:
    refused(tuned(home, home.model("bad", build())), MODEL, sentence, hint="")
    nothing_is_left(home)


def test_a_custom_operator_library_is_looked_for_where_it_was_named(home: Home) -> None:
    model = home.model("custom", zoo_refused.custom_operator())

    refused(tuned(home, model, "--custom-ops", "gone.so"), CONFIG, "no custom-operator library", hint="--custom-ops")
    (home.folder / "mine.so").write_bytes(b"\x7fELF")
    refused(tuned(home, model, "--custom-ops", "mine.so"), UNAVAILABLE, f"{home.folder / 'mine.so'} does not load")


# Inputs


@pytest.mark.parametrize(
    ("arrays", "sentence", "hint"),
    [
        ({"xs": np.zeros((4, 8), np.float32)}, "has no input 'x'", "'xs'"),
        ({"x": np.zeros((4, 7), np.float32)}, "expected x: float32[batch, 8], given float32[4, 7]", "samples"),
        ({"x": np.zeros((4, 8), "U3")}, "expected x: float32[batch, 8], given <U3[4, 8]", ""),
        ({"x": np.full((4, 8), np.nan, np.float32)}, "holds NaN", "leave those samples out"),
        ({"x": np.zeros((0, 8), np.float32)}, "holds no samples", "at least one"),
    ],
)
def test_inputs_that_do_not_fit_say_what_was_expected_and_given(
    home: Home, arrays: dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"], sentence: str, hint: str
) -> None:
    np.savez(home.folder / "inputs.npz", allow_pickle=False, **arrays)

    ended = tuned(home, home.model("mlp", zoo.mlp()), "--inputs", home.folder / "inputs.npz")

    refused(ended, MODEL, sentence, hint=hint)
    nothing_is_left(home)


@pytest.mark.parametrize(
    ("name", "sentence"), [("gone.npz", "there are no inputs"), ("mlp.onnx", "not a readable npz"), (".", "no .npz")]
)
def test_inputs_that_cannot_be_read_are_refused(home: Home, name: str, sentence: str) -> None:
    refused(tuned(home, home.model("mlp", zoo.mlp()), "--inputs", home.folder / name), MODEL, sentence, hint="")


# Options


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (("--dim", "tmie=3"), "no dynamic dimension 'tmie'", "'time'"),
        (("--dim", "time"), "--dim time is not NAME=VALUE", "--dim seq=128"),
        (("--dim", "time=none"), "--dim time=none is not NAME=VALUE", "--dim seq=128"),
        (("--dim", "time=0"), "--dim time=0 is not NAME=VALUE", "--dim seq=128"),
        (("--dim", "batch=2"), "counts the items of a batch", "--batch 2"),
        (("--dim", "time=99999999999"), "more than 2 GiB", "smaller"),
        (("--batch", "many"), "--batch many", "--batch 1,8"),
        (("--batch", "0"), "--batch 0", "--batch 1,8"),
        (("--batch", "1,8"), "latency is that of one batch size", "--objective throughput"),
        (("--batch", "1000000000"), "GiB a call", "smaller --batch"),
        (("--budget", "soon"), "'soon' is not a duration", "90s"),
        (("--budget", "0s"), "'0s' is not a duration", "90s"),
        (("--budget", "-5s"), "'-5s' is not a duration", "90s"),
        (("--max-memory", "lots"), "'lots' is not a size", "512M"),
        (("--max-p99", "0"), "'0' is not a latency", "20ms"),
        (("--max-p99", "20 minutes"), "'20 minutes' is not a latency", "20ms"),
        (("--min-parity", "1.5"), "--min-parity", "--help"),
        (("--max-drop", "0.2"), "--max-drop needs a metric", "--eval"),
        (("--provider", "gpu"), "unknown provider", "cpu, cuda"),
        (("--provider", "auto,cpu"), "unknown provider", "cpu, cuda"),
        (("--provider", ""), "unknown provider", "cpu, cuda"),
        (("--fallback", "tpu"), "'tpu' is not one of 'cpu', 'cuda'", "--help"),
        (("--seed", "-1"), "--seed", "--help"),
        (("--format", "xml"), "'xml' is not one of", "--help"),
        (("--objective", "speed"), "'speed' is not one of 'latency', 'throughput'", "--help"),
        (("--bugdet", "5s"), "--bugdet", "--help"),
        (("--preset", "qick"), "no preset 'qick'", "'quick'"),
        (("--preset", "gone.yaml"), "no preset 'gone.yaml'", ".yaml file"),
        (("--store", "runs.db"), "'runs.db' is not a database URL", "sqlite:///runs.db"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(home: Home, words: tuple[str, ...], sentence: str, hint: str) -> None:
    refused(tuned(home, home.model("lstm", zoo.lstm_net()), *words), CONFIG, sentence, hint=hint)
    nothing_is_left(home)


def test_a_command_that_does_not_exist_is_named(home: Home) -> None:
    refused(home.call("tine"), CONFIG, "'tine'", hint="infer-opt --help")


def test_a_model_must_be_named(home: Home) -> None:
    refused(home.call("tune"), CONFIG, "'MODEL'", hint="infer-opt tune --help")


def test_a_fixed_batch_is_told(home: Home) -> None:
    ended = tuned(home, home.model("fixed", zoo.fixed_batch()), "--batch", "3")

    refused(ended, CONFIG, "4 items a call", hint="--batch 4")


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("trials: 3\ntirals: 3\n", "line 2: unknown key 'tirals'", "'trials'"),
        ("trials: 3\nzzz: 3\n", "line 2: unknown key 'zzz'", "description, budget"),
        ("trials: many\n", "$.trials", ""),
        ("description: x\nbudget: 9s\ntrials: 3\nentrants: 1\nrivals: 0\nepochs: 5\n", "epochs must be one of", ""),
        ("description: x\nbudget: 9s\ntrials: 0\nentrants: 1\nrivals: 0\nepochs: 4\n", "1 or more", ""),
        ("- trials\n", "Expected `object`", ""),
        ("trials: [\n", "is not YAML", ""),
        ("", "Expected `object`", ""),
    ],
)
def test_a_preset_with_a_mistake_names_the_file_and_the_place(home: Home, text: str, sentence: str, hint: str) -> None:
    preset = home.folder / "mine.yaml"
    preset.write_text(text)

    ended = tuned(home, home.model("mlp", zoo.mlp()), "--preset", preset)

    refused(ended, CONFIG, sentence, hint=hint)
    assert str(preset) in ended.err


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        (f"{MISBEHAVING}:divide_by_zero", "failed: ZeroDivisionError: division by zero"),
        (f"{MISBEHAVING}:missing", "cannot load"),
        ("gone.py:accuracy", "there is no file gone.py"),
        ("accuracy", "cannot load accuracy"),
    ],
)
def test_a_metric_that_cannot_be_taken_is_named(home: Home, metric: str, sentence: str) -> None:
    refused(tuned(home, home.model("mlp", zoo.mlp()), "--eval", metric), MODEL, sentence, hint="")
    nothing_is_left(home)


def test_a_provider_that_does_not_work_is_never_replaced_unasked(home: Home) -> None:
    if OnnxRuntime().why_not(Provider.CUDA) is None:
        pytest.skip("CUDA works here")

    ended = tuned(home, home.model("mlp", zoo.mlp()), "--provider", "cuda")

    refused(ended, UNAVAILABLE, "the provider cuda does not work here", hint="--fallback cpu")
    nothing_is_left(home)


# Where results go


def test_an_out_that_cannot_be_written_is_refused_before_any_work(home: Home) -> None:
    (home.folder / "file").touch()
    for out in ("/proc/nowhere/bundle", home.folder / "file" / "bundle"):
        refused(home.call("tune", "gone.onnx", "--out", out), STORAGE, "cannot be written", hint="another --out")


def test_a_bundle_is_replaced_only_by_force(home: Home, proven_bundle: Path) -> None:
    before = (proven_bundle / "bundle.json").read_bytes()

    ended = home.call("tune", home.model("mlp", zoo.mlp()), "--out", proven_bundle)

    refused(ended, STORAGE, "exists already", hint="--force")
    assert (proven_bundle / "bundle.json").read_bytes() == before


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_folder_that_is_no_bundle_is_left_alone_whatever_is_said(home: Home, force: tuple[str, ...]) -> None:
    thesis = home.folder / "out" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("three years")

    refused(tuned(home, home.model("mlp", zoo.mlp()), *force), STORAGE, "is not a bundle", hint="another --out")

    assert thesis.read_text() == "three years"


def test_a_file_in_the_bundles_place_is_left_alone(home: Home) -> None:
    (home.folder / "out").write_text("three years")

    refused(tuned(home, home.model("mlp", zoo.mlp()), "--force"), STORAGE, "is not a bundle", hint="another --out")

    assert (home.folder / "out").read_text() == "three years"


def test_a_cache_that_cannot_be_written_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFER_OPT_CACHE", "/proc/nowhere")

    refused(tuned(home, home.model("mlp", zoo.mlp())), STORAGE, "/proc/nowhere", hint="INFER_OPT_CACHE")


def test_a_store_that_is_no_database_is_left_alone(home: Home) -> None:
    home.store.write_text("three years of measurements " * 100)

    refused(tuned(home, home.model("mlp", zoo.mlp())), STORAGE, "file is not a database", hint="--store")

    assert home.store.read_text().startswith("three years")


def test_a_store_of_a_newer_release_is_left_alone(home: Home) -> None:
    Store.open(f"sqlite:///{home.store}").close()
    with sqlite3.connect(home.store) as database:
        database.execute("UPDATE infer_opt_schema SET version_num = '9999'")
    database.close()

    refused(tuned(home, home.model("mlp", zoo.mlp())), STORAGE, "has schema 9999", hint="upgrade infer-opt")


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        ("sqlite:////proc/nowhere.db", STORAGE, "unable to open database file"),
        ("sqlite:////proc", STORAGE, "unable to open database file"),
        ("nosuchdatabase://host/db", UNAVAILABLE, "driver"),
    ],
)
def test_a_store_that_cannot_be_opened_is_named(home: Home, url: str, code: int, sentence: str) -> None:
    refused(tuned(home, home.model("mlp", zoo.mlp()), "--store", url), code, sentence, hint="")


# Full disks


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """A file system of 100 kB."""
    place = home.folder / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", place], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_too_full_for_the_bundle_leaves_nothing_half_written(home: Home, small_disk: Path) -> None:
    ended = home.call(
        "tune", home.model("chain", zoo.slow_chain(length=2)), "--budget", "1s", "--out", small_disk / "b"
    )

    refused(ended, STORAGE, "No space left on device", hint="--resume")
    assert list(small_disk.iterdir()) == []
    assert home.litter() == []


def test_a_disk_too_full_for_the_store_ends_the_tuning(home: Home, small_disk: Path) -> None:
    ended = tuned(home, home.model("mlp", zoo.mlp()), "--store", f"sqlite:///{small_disk / 'store.db'}")

    refused(ended, STORAGE, "database or disk is full", hint="free some space")
    nothing_is_left(home)


@pytest.mark.parametrize(("length", "sentence"), [(2000, "feeds-1.npz cannot be written"), (128, "outputs of stock")])
def test_a_disk_too_full_for_the_cache_ends_the_tuning(
    home: Home, small_disk: Path, monkeypatch: pytest.MonkeyPatch, length: int, sentence: str
) -> None:
    monkeypatch.setenv("INFER_OPT_CACHE", str(small_disk))

    ended = tuned(home, home.model("attention", zoo.attention_block()), "--dim", f"seq={length}")

    refused(ended, STORAGE, sentence, hint="free some space")
    nothing_is_left(home)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
