"""What a trial gives, and what it does about a machine that is disturbed."""

import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fakes import MB, MS, World, make_rig
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.measure import WarmUp
from infer_opt.results import Block, Caution, FailureKind, TrialFailure, TrialResult
from infer_opt.trials import run_trial
from infer_opt.workers.messages import Check, Measure, Open, Record, Warm
from infer_opt.workers.process import WorkerError
from infer_opt.workers.rounds import Watch
from made_trials import CUDA, STOCK, TRIED, opened, run

# What a trial gives


def test_a_trial_is_measured_in_five_rounds_paired_with_stock() -> None:
    world = World(latency_ns={TRIED: 0.8 * MS})

    trial = run(world)

    assert isinstance(trial, TrialResult)
    assert trial.config == TRIED
    assert len(trial.blocks) == 5
    assert sum(name.startswith("baseline") for name in world.spoken_to()) == 5
    assert trial.log_ratio == pytest.approx(math.log(0.8), abs=1e-5)
    assert trial.log_ratio_error == pytest.approx(0.0, abs=1e-6)


def test_what_is_read_of_a_trial_is_what_its_worker_said() -> None:
    world = World(latency_ns={TRIED: 2.0 * MS}, cores_running=1.5, cores_after=0.25)

    trial = run(world)

    assert isinstance(trial, TrialResult)
    readings = trial.readings
    assert readings.quantile_ns(0.5) == 2 * MS
    assert readings.items_per_s == pytest.approx(500.0)
    assert (readings.open_ns, readings.first_run_ns) == (80 * MS, 9 * MS)
    assert (readings.cpu_cores_running, readings.cpu_cores_after) == (1.5, 0.25)
    assert (readings.peak_rss_bytes, readings.steady_rss_bytes) == (200 * MB, 150 * MB)
    # Not available is None, never 0.
    assert (readings.device_memory_bytes, readings.gpu_utilisation, readings.power_watts) == (None, None, None)


def test_items_per_second_count_the_batch() -> None:
    batched = TrialConfig(batch=8)
    world = World(latency_ns={batched: 4.0 * MS})

    trial = run(world, batched, feeds={8: Path("f")}, references={8: Path("r")})

    assert isinstance(trial, TrialResult)
    assert trial.readings.items_per_s == pytest.approx(2000.0)
    assert trial.log_ratio == pytest.approx(math.log(0.5))  # per item


def test_each_of_several_sessions_may_take_its_share_longer_before_the_trial_is_given_up() -> None:
    both = TrialConfig(options=SessionOptions(intra_threads=1), instances=8)
    world = World()

    run(world, both)

    (plan,) = [command.plan for worker in world.workers for command in worker.asked if isinstance(command, Warm)]
    assert plan.drop_above_ns == pytest.approx(3 * 8 * MS)


def test_items_per_second_of_several_sessions_are_those_of_all_of_them() -> None:
    both = TrialConfig(options=SessionOptions(intra_threads=1), batch=8, instances=2)
    block = Block(latency_ns=(4 * MS,) * 6, spacing_ns=2 * MS)
    world = World(scripts={both: {Measure: block}})

    trial = run(world, both, feeds={8: Path("f")}, references={8: Path("r")})

    assert isinstance(trial, TrialResult)
    assert trial.readings.items_per_s == pytest.approx(4000.0)
    assert trial.readings.quantile_ns(0.5) == 4 * MS  # what a caller waits for
    assert trial.log_ratio == pytest.approx(math.log(0.25))  # 8 items in 2 ms, against 1 in 1 ms


def test_sessions_that_could_not_be_pinned_are_a_caution() -> None:
    both = TrialConfig(options=SessionOptions(intra_threads=1), instances=2)
    answer = dataclasses.replace(opened([("CPUExecutionProvider", 3)]), is_pinned=False)

    trial = run(World(scripts={both: {Open: answer}}), both)

    assert isinstance(trial, TrialResult)
    assert [(note.caution, note.text) for note in trial.notes] == [
        (Caution.UNPINNED, "its 2 instances could not be given cores of their own")
    ]


def test_stocks_outputs_at_a_batch_that_the_search_came_to_are_recorded_when_they_are_needed(tmp_path: Path) -> None:
    world, batched = World(), TrialConfig(options=SessionOptions(intra_threads=1), batch=8)
    paths = {1: tmp_path / "1", 8: tmp_path / "8"}
    settings: dict[str, Any] = {
        "feeds": {1: Path("a"), 8: Path("b")}, "references": paths, "unnamed": frozenset({8})
    }  # fmt: skip

    trial = run(world, batched, **settings)

    recorded = [(w.config, c.path) for w in world.workers for c in w.asked if isinstance(c, Record)]
    assert isinstance(trial, TrialResult)
    assert recorded == [(TrialConfig(batch=8), paths[8])]
    paths[8].touch()  # which a real worker does
    run(world, batched, **settings)
    assert sum(isinstance(c, Record) for w in world.workers for c in w.asked) == 1


def test_a_batch_that_nobody_named_and_the_model_cannot_take_fails_its_trial_alone() -> None:
    error = ModelError("ONNX Runtime failed to run the model: bad shape")
    world = World(scripts={TrialConfig(batch=8): {Record: error}})
    batched = TrialConfig(options=SessionOptions(intra_threads=1), batch=8)

    trial = run(
        world, batched, feeds={8: Path("b")}, references={8: Path("/nowhere/8")}, unnamed=frozenset({8})
    )  # fmt: skip

    assert isinstance(trial, TrialFailure)
    assert trial.kind is FailureKind.ERROR  # which gives up no recipe
    assert trial.reason.startswith("the model does not run with batch 8")


def test_answers_are_checked_before_any_time_is_spent_on_timing() -> None:
    world = World()
    run(world)

    order = [what for what, name in world.diary if name.startswith("trial") and what not in ("freeze", "close")]
    assert order[:3] == ["Open", "Check", "Warm"]
    assert order[3:] == ["Measure"] * 5 + ["Run"]


@pytest.mark.parametrize("seed", range(4))  # either may be the first of the first round
def test_neither_of_the_pair_runs_while_the_other_is_measured(seed: int) -> None:
    world = World()
    entrant = world.entrant(STOCK, "baseline")
    entrant.worker.freeze()  # as `run_stock` leaves it

    run_trial(make_rig(world), TRIED, entrant, random.Random(seed))

    running: set[str] = set()
    for what, name in world.diary:
        if what in ("freeze", "close"):
            running.discard(name)
        else:
            assert running <= {name}, f"{running} ran during {what} of {name}"
            running.add(name)


def test_parity_is_checked_by_the_rigs_own_rule() -> None:
    world = World()
    run(world, tolerance=0.95, checked=17)

    (check,) = [command for command in world.workers[1].asked if isinstance(command, Check)]
    assert (check.tolerance, check.count) == (0.95, 17)


def test_the_worker_of_a_trial_is_ended_with_it() -> None:
    world = World()
    run(world)

    assert [worker.is_closed for worker in world.workers] == [False, True]


def test_a_trial_that_is_three_times_slower_than_stock_is_told_to_give_up_early() -> None:
    batched = TrialConfig(batch=4)
    world = World(latency_ns={STOCK: 2.0 * MS})
    run(world)
    run(world, batched, feeds={4: Path("f")}, references={4: Path("r")})

    plans = [c.plan.drop_above_ns for worker in world.workers for c in worker.asked if isinstance(c, Warm)]
    assert plans == [6 * MS, 24 * MS]


@pytest.mark.parametrize(
    ("warmed", "part"),
    [
        (WarmUp(latency_ns=9.0 * MS, runs=3, is_steady=False, was_dropped=True), "more than 3 times slower than stock"),
        (WarmUp(latency_ns=1.0 * MS, runs=140, is_steady=False), "still drifting after a warm-up of 140 runs"),
    ],
)
def test_a_warm_up_that_did_not_settle_is_a_caution(warmed: WarmUp, part: str) -> None:
    trial = run(World(scripts={TRIED: {Warm: warmed}}))

    assert isinstance(trial, TrialResult)
    (note,) = trial.notes
    assert note.caution is Caution.NO_STEADY_STATE
    assert part in note.text


# Disturbance


def watch_for(disturbed: Callable[[int], bool]) -> Watch:
    number = -1

    def watch(pids: Sequence[int]) -> Callable[[], str | None]:
        nonlocal number
        number += 1
        reason = "steal" if disturbed(number) else None
        return lambda: reason

    return watch


def test_disturbed_rounds_of_the_screen_are_measured_again() -> None:
    world = World()

    trial = run(world, watch=watch_for(lambda number: number in (0, 3)))

    assert isinstance(trial, TrialResult)
    assert len(trial.blocks) == 5
    assert len(world.spoken_to()) == 14
    assert trial.notes == ()


def test_on_a_noisy_machine_the_screen_makes_do_with_disturbed_rounds_and_says_so() -> None:
    trial = run(World(), watch=watch_for(lambda number: number != 1))

    assert isinstance(trial, TrialResult)
    assert len(trial.blocks) == 10
    (note,) = trial.notes
    assert note.caution is Caution.TOO_NOISY
    assert note.text == "9 of 10 rounds were disturbed from outside (steal)"


def test_a_baseline_that_dies_fails_the_trial_and_is_seen_to_be_dead() -> None:
    world = World(scripts={STOCK: {Measure: WorkerError("killed")}})
    baseline = world.entrant(STOCK, "baseline")

    trial = run_trial(make_rig(world), TRIED, baseline, random.Random(0))

    assert isinstance(trial, TrialFailure)
    assert not baseline.worker.is_alive


class Hot:
    """A GPU that holds its clock down, by the causes given."""

    name = "hot"

    def __init__(self, **causes: float) -> None:
        self._causes = causes

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        return {f"gpu[0].throttled_by_{cause}": value for cause, value in self._causes.items()}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("causes", "words"), [({"heat": 1.0, "power": 1.0}, "heat and power"), ({"heat": 0.0}, None)])
def test_a_gpu_that_slows_itself_down_labels_the_trial_and_discards_nothing(
    causes: dict[str, float], words: str | None
) -> None:
    world = World(scripts={CUDA: {Open: opened([("CUDAExecutionProvider", 40)])}})

    trial = run(world, CUDA, device=Hot(**causes))

    assert isinstance(trial, TrialResult)
    assert len(trial.blocks) == 5
    texts = [note.text for note in trial.notes if note.caution is Caution.THROTTLED]
    assert texts == ([] if words is None else [f"the GPU held its clock down for {words} while it ran"])
