"""A home of its own for each test of the command line, and one bundle with a proven winner for all of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import infer_opt.rig
import infer_opt.search.screen
import infer_opt.setting_up
import infer_opt.tuning
from driving import Home, Proven, shape_bound, wait_for
from infer_opt.workers.process import WorkerProcess
from infer_opt.workers.usage import Usage, usage
from quiet import STRATEGIES, promise_nothing, watch_nothing


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Where commands leave everything; no worker of theirs may be left when the test is over."""
    home = Home(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in home.variables.items():
        monkeypatch.setenv(name, value)
    yield home
    wait_for("the last worker to end", lambda: not home.workers(), seconds=5)


def briefly(worker: WorkerProcess, **wanted: Any) -> Usage:
    """What a worker uses, watched for a moment only."""
    return usage(worker, **(wanted | {"run_s": 0.05, "rest_s": 0.05}))


@pytest.fixture
def screen_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tuning that screens the preset's trials, whatever else the machine does, and confirms nothing.

    CPU use is watched for a moment only, and stock is not profiled.
    """
    monkeypatch.setattr(infer_opt.setting_up, "watch_machine", watch_nothing)
    monkeypatch.setattr(infer_opt.search.screen, "POLISHED", 0)
    monkeypatch.setattr(infer_opt.tuning, "PROFILE_S", 0.0)
    for strategy in STRATEGIES:
        monkeypatch.setattr(strategy, "promising", promise_nothing)
    monkeypatch.setattr(infer_opt.rig, "usage", briefly)


@pytest.fixture(scope="session")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """A model whose winner is beyond doubt, tuned with `--format json`."""
    home = Home(tmp_path_factory.mktemp("proven"))
    model = home.model("bound", shape_bound())
    bundle = home.folder / "bound-tuned"
    words = ("--dim", "time=4", "--preset", home.preset(trials=2), "--out", bundle, "--format", "json")
    page = home.folder / "bound.html"
    return Proven(home, model, bundle, home.run("tune", model, *words, "--report", page))


@pytest.fixture
def proven_bundle(proven: Proven, home: Home) -> Path:
    """A copy of the proven bundle, for tests that may change it."""
    return Path(shutil.copytree(proven.bundle, home.folder / proven.bundle.name))
