"""Tunings that are cut off, at any moment and in any way: nothing finished is lost, nothing is left behind."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import infer_opt
import zoo
from driving import Ended, Home, ended, shape_bound, wait_for
from infer_opt.errors import ModelError


def query(home: Home, text: str) -> list[tuple[Any, ...]]:
    """Rows of the store, read beside whoever writes; none while there is no store yet."""
    try:
        with closing(sqlite3.connect(f"file:{home.store}?mode=ro", uri=True)) as database:
            return database.execute(text).fetchall()
    except sqlite3.OperationalError:
        return []


def trials(home: Home) -> list[tuple[Any, ...]]:
    """(row, configuration, when it was saved) of every screened trial, in the order they were saved."""
    return query(
        home, "SELECT number, config_key, saved_ms FROM infer_opt_trial WHERE phase = 'screen' ORDER BY number"
    )


def epochs(home: Home) -> list[tuple[Any, ...]]:
    """(row, when it was saved) of every epoch of the confirmation, in order."""
    return query(home, "SELECT number, saved_ms FROM infer_opt_record WHERE phase = 'confirm' ORDER BY number")


def tunings(home: Home) -> list[tuple[Any, ...]]:
    """(identity, when it was finished or None) of every tuning."""
    return query(home, "SELECT id, finished_ms FROM infer_opt_tuning ORDER BY number")


def killed(process: "subprocess.Popen[str]", home: Home) -> None:
    """Ends a command as the kernel does, and sees its workers go after it."""
    process.send_signal(signal.SIGKILL)
    ended(process)
    assert process.returncode == -signal.SIGKILL
    wait_for("the workers to end", lambda: not home.workers(), seconds=5)


def is_stock(bundle: Path, model: Path) -> bool:
    """Whether the bundle holds the model as given."""
    return (bundle / "model.onnx").read_bytes() == model.read_bytes()


def test_a_tuning_killed_in_the_screen_goes_on_without_measuring_a_finished_trial_again(home: Home) -> None:
    model, out = home.model("mlp", zoo.mlp()), home.folder / "out"
    words = ("tune", model, "--preset", home.preset(trials=4), "--out", out, "--format", "json")
    process = home.start(*words)
    wait_for("two finished trials", lambda: len(trials(home)) >= 2)
    killed(process, home)
    before = trials(home)
    assert not out.exists()
    assert len(home.litter()) == 1, "the scratch folder of a killed tuning waits for the next one"

    resumed = ended(home.start(*words, "--resume", screen_only=True))

    assert (resumed.code, resumed.complaints) == (0, "")
    assert trials(home)[: len(before)] == before
    assert len(trials(home)) == 4
    assert len({key for _, key, _ in trials(home)}) == 4
    assert [finished is not None for _, finished in tunings(home)] == [True]
    assert len(resumed.document["trials"]) == 5
    with infer_opt.load(out) as session:
        assert session.inputs[0].name == "x"
    assert home.litter() == []


def test_a_tuning_killed_in_the_confirmation_keeps_its_finished_epochs(home: Home) -> None:
    model, out = home.model("bound", shape_bound()), home.folder / "out"
    words = ("tune", model, "--dim", "time=4", "--preset", home.preset(trials=2), "--out", out, "--format", "json")
    process = home.start(*words)
    wait_for("a finished epoch", lambda: epochs(home))
    killed(process, home)
    screened, confirmed = trials(home), epochs(home)

    resumed = home.run(*words, "--resume")

    assert (resumed.code, resumed.complaints) == (0, "")
    assert trials(home) == screened
    assert epochs(home)[: len(confirmed)] == confirmed
    assert resumed.document["verdict"] == "faster"
    assert len(resumed.document["comparison"]["epochs"]) == len(epochs(home))
    assert not is_stock(out, model)
    assert home.litter() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_soon_with_what_is_proven(home: Home, number: signal.Signals) -> None:
    model, out = home.model("mlp", zoo.mlp()), home.folder / "out"
    process = home.start("tune", model, "--preset", home.preset(trials=30), "--out", out, "--format", "json")
    wait_for("a finished trial", lambda: trials(home))

    process.send_signal(number)
    begin = time.monotonic()
    over = ended(process)

    assert time.monotonic() - begin < 15
    assert over.code == 0, over.err
    assert over.err.strip() == "Ending with what is proven so far; once more to end at once."
    assert over.document["verdict"] == "no-faster"
    assert "interrupted" in over.document["reason"]
    assert "interrupted" in {caution["caution"] for caution in over.document["cautions"]}
    assert is_stock(out, model)
    assert home.litter() == []
    assert [finished for _, finished in tunings(home)] == [None], "an interrupted tuning can be resumed"


def test_a_second_interrupt_ends_at_once(home: Home) -> None:
    model, out = home.model("chain", zoo.slow_chain(length=200)), home.folder / "out"
    process = home.start("tune", model, "--preset", home.preset(trials=30), "--out", out)
    wait_for("a worker to open the model", lambda: tunings(home))

    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "once more" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    over = ended(process)

    assert over.code == 130
    assert over.err.split("\n", 1)[1] == (
        "Error: interrupted\nHint:  finished trials are kept; add --resume to go on\n"
    )
    assert not out.exists()
    assert home.litter() == []


def test_two_tunings_of_one_model_at_once_share_store_and_cache(home: Home) -> None:
    model = home.model("bound", shape_bound())
    preset = home.preset(trials=2)

    def start(name: str) -> "subprocess.Popen[str]":
        words = ("--dim", "time=4", "--preset", preset, "--out", home.folder / name, "--format", "json")
        return home.start("tune", model, *words, screen_only=True)

    both: list[Ended] = [ended(process) for process in [start("one"), start("other")]]

    assert [(one.code, one.complaints) for one in both] == [(0, ""), (0, "")]
    assert [finished is not None for _, finished in tunings(home)] == [True, True]
    assert len(trials(home)) == 4
    for name in ("one", "other"):
        infer_opt.load(home.folder / name).close()
    assert home.litter() == []
    assert len([path for path in (home.cache / "artefacts").iterdir() if path.is_dir()]) == 1


def test_resuming_what_was_never_begun_begins_it(home: Home) -> None:
    ended = home.call("tune", home.model("mlp", zoo.mlp()), "--budget", "1s", "--resume")

    assert ended.code == 0, ended.err
    assert len(tunings(home)) == 1


def test_what_a_dead_call_left_in_the_scratch_folder_is_removed_by_the_next(home: Home) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (home.cache / "scratch" / f"{pid}-left").mkdir(parents=True)

    with pytest.raises(ModelError):
        from infer_opt.setting_up import scratch_folder

        with scratch_folder():
            raise ModelError("as a failing command")

    assert home.litter() == [f"cache/scratch/{os.getpid()}-left"]
