"""Trials that fail: by their worker, by their recipe, by what only some errors may end."""

import dataclasses
import random
from pathlib import Path

import pytest

from fakes import FakeRig, World, make_rig
from infer_opt.config import TrialConfig
from infer_opt.errors import ConfigError, InferOptError, ModelError, StorageError, UnavailableError
from infer_opt.results import FailureKind, TrialFailure
from infer_opt.trials import run_trial
from infer_opt.workers.messages import Check, Measure, Open, Run, Warm
from infer_opt.workers.process import WorkerError, WorkerMemoryError, WorkerTimeoutError
from made_trials import QUANTISED, STOCK, TRIED, failing, run

WORKER_ERRORS = [
    (WorkerError("the worker crashed with SIGSEGV"), FailureKind.CRASH),
    (WorkerTimeoutError("no answer within 120 s"), FailureKind.TIMEOUT),
    (WorkerMemoryError("killed for memory"), FailureKind.MEMORY),
]


@pytest.mark.parametrize("command", [Open, Check, Warm, Measure, Run])
@pytest.mark.parametrize(("error", "kind"), WORKER_ERRORS)
def test_a_worker_that_ends_is_a_failed_trial_of_its_kind(command: type, error: WorkerError, kind: FailureKind) -> None:
    trial = failing(command, error)

    assert (trial.config, trial.kind, trial.reason) == (TRIED, kind, error.what)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (Open, FailureKind.OPEN),
        (Check, FailureKind.ERROR),
        (Warm, FailureKind.ERROR),
        (Measure, FailureKind.ERROR),
        (Run, FailureKind.ERROR),
    ],
)
@pytest.mark.parametrize("error", [ModelError("no kernel"), UnavailableError("no CUDA"), ConfigError("contradiction")])
def test_an_error_is_a_failed_trial_that_says_how_far_it_came(
    command: type, kind: FailureKind, error: InferOptError
) -> None:
    trial = failing(command, error)

    assert (trial.kind, trial.reason) == (kind, error.what)


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(12, "no memory"), RuntimeError("odd"), KeyError("odd")])
def test_whatever_else_goes_wrong_is_a_failed_trial_too(error: Exception) -> None:
    trial = failing(Warm, error)

    assert trial.kind is FailureKind.ERROR
    assert trial.reason.startswith(type(error).__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unbuildable(FakeRig):
    """A rig whose recipes fail."""

    error: Exception

    def artefact(self, config: TrialConfig) -> Path:
        """Nothing: raises."""
        raise self.error


def unbuildable(world: World, error: Exception) -> Unbuildable:
    rig = make_rig(world)
    settings = {each.name: getattr(rig, each.name) for each in dataclasses.fields(rig)}
    return Unbuildable(**settings, error=error)


@pytest.mark.parametrize(
    ("error", "kind"), [(ModelError("the recipe does not apply"), FailureKind.BUILD), *WORKER_ERRORS]
)
def test_a_recipe_that_cannot_be_carried_out_is_a_failed_trial(error: InferOptError, kind: FailureKind) -> None:
    world = World()

    trial = run_trial(unbuildable(world, error), QUANTISED, world.entrant(STOCK, "baseline"), random.Random(0))

    assert isinstance(trial, TrialFailure)
    assert (trial.kind, trial.reason) == (kind, error.what)
    assert len(world.workers) == 1  # nothing was started for it


@pytest.mark.parametrize("command", [Open, Check, Warm, Measure])
def test_a_full_disk_ends_the_tuning_and_leaves_no_worker(command: type) -> None:
    world = World(scripts={TRIED: {command: StorageError("the disk is full")}})

    with pytest.raises(StorageError):
        run(world)

    assert world.workers[1].is_closed


def test_a_full_disk_while_building_ends_the_tuning() -> None:
    world = World()

    with pytest.raises(StorageError):
        run_trial(
            unbuildable(world, StorageError("full")), QUANTISED, world.entrant(STOCK, "baseline"), random.Random(0)
        )


def test_an_interrupt_ends_the_trial_and_its_worker() -> None:
    def interrupt(command: object, times: int) -> object:
        raise KeyboardInterrupt

    world = World(scripts={TRIED: {Measure: interrupt}})

    with pytest.raises(KeyboardInterrupt):
        run(world)

    assert world.workers[1].is_closed


def test_a_gpu_that_is_too_small_is_a_failed_trial_of_memory() -> None:
    full = WorkerMemoryError("ONNX Runtime failed to run the model: the device has too little memory (CUDA failure 2)")

    failure = failing(Warm, full)

    assert failure.kind is FailureKind.MEMORY
    assert "the device has too little memory" in failure.reason
