import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fakes import MB, MS, PASSED, FakeRig, World, make_readings, make_result, make_rig
from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.errors import ConfigError, InferOptError, ModelError, StorageError, UnavailableError
from infer_opt.measure import WarmUp
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import (
    Block,
    Caution,
    FailureKind,
    OutputParity,
    Parity,
    Placement,
    Trial,
    TrialFailure,
    TrialResult,
)
from infer_opt.rig import Limits
from infer_opt.trials import Stock, quantiles_of, run_stock, run_trial, within_limits
from infer_opt.workers.messages import (
    Check,
    CheckStale,
    Evaluate,
    Measure,
    Open,
    Opened,
    Record,
    Run,
    Warm,
)
from infer_opt.workers.process import WorkerError, WorkerMemoryError, WorkerTimeoutError
from infer_opt.workers.rounds import Watch

STOCK = TrialConfig()
TRIED = TrialConfig(options=SessionOptions(intra_threads=1))
QUANTISED = TrialConfig(recipe=Recipe(quantise=Quantisation()))
FAILED_PARITY = Parity(score=0.7, passed=False, outputs=(), samples=8, reason="output y has cosine 0.7000 to stock")


def run(world: World, config: TrialConfig = TRIED, **changes: Any) -> Trial:
    rig = make_rig(world, **changes)
    return run_trial(rig, config, world.entrant(STOCK, "baseline"), random.Random(world.seed))


def failing(command: type, answer: object, config: TrialConfig = TRIED, **changes: Any) -> TrialFailure:
    world = World(scripts={config: {command: answer}})
    trial = run(world, config, **changes)
    assert isinstance(trial, TrialFailure)
    assert all(worker.is_closed for worker in world.workers if worker.config == config)
    assert world.workers[0].is_alive  # the baseline lives on for the next trial
    return trial


def opened(nodes: Sequence[tuple[str, int]] | None, **changes: Any) -> Opened:
    settings: dict[str, Any] = {
        "open_ns": 80 * MS,
        "first_run_ns": 9 * MS,
        "placement": None if nodes is None else Placement(nodes=tuple(nodes)),
        "inputs": (),
        "outputs": (),
        "runtime_version": "1.0",
    }
    return Opened(**(settings | changes))


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


# Failures


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


# Placement


CUDA = TrialConfig(options=SessionOptions(provider=Provider.CUDA))


def test_a_provider_that_took_nothing_is_a_failed_trial() -> None:
    trial = failing(Open, opened([("CPUExecutionProvider", 40)]), CUDA)

    assert trial.kind is FailureKind.PLACEMENT
    assert trial.reason == "CUDAExecutionProvider took 0 of 40 nodes; 40 ran elsewhere"


def test_a_provider_that_took_a_part_says_how_much() -> None:
    nodes = [("CPUExecutionProvider", 4), ("CUDAExecutionProvider", 36)]

    trial = run(World(scripts={CUDA: {Open: opened(nodes)}}), CUDA)

    assert isinstance(trial, TrialResult)
    (note,) = trial.notes
    assert note.caution is Caution.PARTLY_ELSEWHERE
    assert note.text == "CUDAExecutionProvider took 36 of 40 nodes; 4 ran elsewhere"
    assert trial.placement == Placement(nodes=tuple(nodes))


# Parity


def test_wrong_answers_fail_the_trial_before_it_is_timed() -> None:
    world = World(scripts={TRIED: {Check: FAILED_PARITY}})

    trial = run(world)

    assert isinstance(trial, TrialFailure)
    assert (trial.kind, trial.parity) == (FailureKind.PARITY, FAILED_PARITY)
    assert trial.reason == "output y has cosine 0.7000 to stock"
    assert not world.spoken_to()


@pytest.mark.parametrize(
    ("config", "isa", "is_named"),
    [
        (QUANTISED, ("avx2",), True),
        (QUANTISED, ("avx2", "avx512_vnni"), False),
        (TrialConfig(recipe=Recipe(quantise=Quantisation(reduce_range=True))), ("avx2",), False),
        (TRIED, ("avx2",), False),
    ],
)
def test_saturation_is_named_where_it_is_the_likely_cause(
    config: TrialConfig, isa: tuple[str, ...], is_named: bool
) -> None:
    world = World(scripts={config: {Check: FAILED_PARITY}})
    machine = dataclasses.replace(make_rig(world).machine, isa=isa)

    trial = run(world, config, machine=machine)

    assert isinstance(trial, TrialFailure)
    assert ("has no VNNI" in trial.reason) is is_named


GRAPHED = TrialConfig(options=SessionOptions(provider=Provider.CUDA, cuda_graph=True))


def on_cuda(**answers: object) -> Mapping[type, object]:
    return {Open: opened([("CUDAExecutionProvider", 3)]), CheckStale: answers["stale"]}


def test_a_stale_replay_of_a_cuda_graph_is_caught() -> None:
    world = World(scripts={GRAPHED: on_cuda(stale="output y stays the same when the inputs change: a stale replay")})

    trial = run(world, GRAPHED)

    assert isinstance(trial, TrialFailure)
    assert trial.kind is FailureKind.STALE_OUTPUT
    assert "stale replay" in trial.reason


def test_only_cuda_graphs_are_suspected_of_stale_replays() -> None:
    world = World(scripts={GRAPHED: on_cuda(stale=None)})

    assert isinstance(run(world, GRAPHED), TrialResult)
    assert isinstance(run(world), TrialResult)
    assert [any(isinstance(c, CheckStale) for c in worker.asked) for worker in world.workers] == [
        False,
        True,
        False,
        False,
    ]


LABELLED = Limits(evaluation="evals.py:accuracy", max_drop=0.01)


@pytest.mark.parametrize(("metric", "passes"), [(0.95, True), (0.941, True), (0.99, True), (0.93, False)])
def test_the_metric_may_fall_by_no_more_than_allowed(metric: float, passes: bool) -> None:
    world = World(scripts={TRIED: {Evaluate: metric}})

    trial = run(world, limits=LABELLED, baseline_metric=0.95)

    assert isinstance(trial, TrialResult) is passes
    assert trial.parity is not None
    assert trial.parity.metric == metric
    assert trial.parity.drop == pytest.approx(0.95 - metric)
    if isinstance(trial, TrialFailure):
        assert trial.kind is FailureKind.PARITY
        assert trial.reason == "the metric falls from 0.95 to 0.93, by more than 0.01"


def test_a_metric_that_cannot_be_taken_is_a_failed_trial() -> None:
    trial = failing(Evaluate, ModelError("--eval failed"), limits=LABELLED, baseline_metric=0.95)

    assert trial.kind is FailureKind.ERROR


def test_without_a_metric_none_is_asked_for() -> None:
    world = World()
    run(world)

    assert not any(isinstance(command, Evaluate) for worker in world.workers for command in worker.asked)


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


# Limits


def limited(
    limits: Limits, *, p99_ns: float | None = None, peak: int | None = None, p90_ns: float | None = None
) -> Trial:
    readings = make_readings(1.0 * MS, p99_ns=p99_ns, peak_rss_bytes=peak)
    if p90_ns is not None:
        p90 = dataclasses.replace(readings.quantiles[0], q=0.9, value_ns=p90_ns)
        readings = dataclasses.replace(readings, quantiles=(*readings.quantiles, p90))
    return within_limits(make_rig(World(), limits=limits), make_result(TRIED, readings=readings))


def test_a_p99_above_the_limit_is_a_failed_constraint_with_its_readings() -> None:
    trial = limited(Limits(max_p99_ns=5.0 * MS), p99_ns=6.0 * MS)

    assert isinstance(trial, TrialFailure)
    assert (trial.kind, trial.reason) == (FailureKind.CONSTRAINT, "has a p99 of 6 ms, above 5 ms")
    assert trial.readings is not None
    assert trial.parity == PASSED


def test_a_p90_above_the_limit_of_p99_breaks_it_all_the_more() -> None:
    trial = limited(Limits(max_p99_ns=5.0 * MS), p90_ns=6.0 * MS)

    assert isinstance(trial, TrialFailure)
    assert trial.reason == "has a p90, and so a p99, of 6 ms, above 5 ms"


def test_a_median_above_the_limit_of_p99_breaks_it_whatever_the_evidence() -> None:
    trial = limited(Limits(max_p99_ns=0.9 * MS))

    assert isinstance(trial, TrialFailure)
    assert trial.reason == "has a p50, and so a p99, of 1 ms, above 0.9 ms"


@pytest.mark.parametrize(
    "trial",
    [
        limited(Limits(max_p99_ns=5.0 * MS), p99_ns=4.9 * MS),
        limited(Limits(max_p99_ns=5.0 * MS), p90_ns=4.0 * MS),
        limited(Limits(max_p99_ns=5.0 * MS)),  # no evidence breaks no limit
        limited(Limits(), p99_ns=1e12, peak=10**12),
        limited(Limits(max_memory_bytes=300 * MB), peak=300 * MB),
        limited(Limits(max_memory_bytes=1)),  # not available is not zero, and not too much
    ],
)
def test_what_keeps_the_limits_stays_a_result(trial: Trial) -> None:
    assert isinstance(trial, TrialResult)


def test_too_much_memory_is_a_failed_constraint() -> None:
    trial = limited(Limits(max_memory_bytes=100 * MB), peak=201 * MB)

    assert isinstance(trial, TrialFailure)
    assert trial.reason == "takes 201 MB at its peak, more than 100 MB"


def test_the_limits_are_part_of_a_trial() -> None:
    assert isinstance(run(World(), limits=Limits(max_memory_bytes=100 * MB)), TrialFailure)


def test_percentiles_are_given_in_order_and_only_with_evidence() -> None:
    few = quantiles_of([[[MS] * 10]])
    many = quantiles_of([[list(range(MS, MS + 100))] * 10])

    assert [one.q for one in few] == [0.5, 0.9, 0.95, 0.99]
    assert [one.value_ns is None for one in few] == [False, True, True, True]
    assert [one.value_ns is None for one in many] == [False, False, False, False]


# Stock


def stock_of(world: World, **changes: Any) -> Stock:
    return run_stock(make_rig(world, **changes), STOCK, random.Random(0))


def test_stock_stays_live_and_stopped_with_its_outputs_recorded() -> None:
    world = World(latency_ns={STOCK: 3.0 * MS})

    stock = stock_of(world)

    (worker,) = world.workers
    assert worker.is_alive
    assert worker.is_frozen
    assert stock.entrant.latency_ns == 3 * MS
    assert [command.path for command in worker.asked if isinstance(command, Record)] == [
        Path("/nowhere/reference.pickle")
    ]
    assert (stock.result.log_ratio, stock.result.log_ratio_error, stock.result.parity.score) == (0.0, 0.0, 1.0)
    assert stock.is_deterministic


def test_outputs_are_recorded_for_every_batch_size_by_a_worker_of_its_own() -> None:
    world = World()
    paths = {1: Path("/nowhere/1"), 8: Path("/nowhere/8")}

    stock_of(world, references=paths, feeds={1: Path("a"), 8: Path("b")})

    recorded = {w.config.batch: [c.path for c in w.asked if isinstance(c, Record)] for w in world.workers}
    assert recorded == {8: [paths[8]], 1: [paths[1]]}
    assert [worker.is_closed for worker in world.workers] == [True, False]


def test_batch_sizes_that_nobody_named_cost_nothing_before_one_is_tried() -> None:
    world = World()
    paths = {1: Path("/nowhere/1"), 8: Path("/nowhere/8")}

    stock_of(world, references=paths, feeds={1: Path("a"), 8: Path("b")}, unnamed=frozenset({8}))

    assert [worker.config.batch for worker in world.workers] == [1]


def test_a_slow_model_is_checked_on_fewer_inputs() -> None:
    def checked(first_run_ms: int) -> int:
        answer = opened([("CPUExecutionProvider", 3)], first_run_ns=first_run_ms * MS)
        return stock_of(World(scripts={STOCK: {Open: answer}})).checked

    assert (checked(1), checked(200), checked(60_000)) == (64, 20, 4)


def test_a_model_whose_outputs_differ_from_run_to_run_is_known_as_such() -> None:
    noisy = Parity(score=0.97, passed=False, outputs=(), samples=8)

    stock = stock_of(World(scripts={STOCK: {Check: noisy}}))

    assert not stock.is_deterministic
    assert stock.self_parity.score == 0.97


def test_outputs_that_nothing_can_be_compared_with_end_the_tuning() -> None:
    broken = OutputParity(
        name="y", cosine=None, relative_l2=None, largest_difference=None, problem="nothing but NaN or infinity"
    )
    parity = Parity(score=0.0, passed=False, outputs=(broken,), samples=8)
    world = World(scripts={STOCK: {Check: parity}})

    with pytest.raises(ModelError, match="stock's own output y cannot be compared: nothing but NaN") as caught:
        stock_of(world)

    assert caught.value.hint == "give real inputs with --inputs"
    assert world.workers[0].is_closed


def test_stocks_metric_is_taken_when_there_is_one() -> None:
    assert stock_of(World()).metric is None
    assert stock_of(World(scripts={STOCK: {Evaluate: 0.875}}), limits=LABELLED).metric == 0.875


@pytest.mark.parametrize("command", [Open, Record, Warm, Measure])
@pytest.mark.parametrize("error", [ModelError("no"), WorkerError("crashed"), StorageError("full")])
def test_stock_that_fails_is_an_error_and_leaves_no_worker(command: type, error: InferOptError) -> None:
    world = World(scripts={STOCK: {command: error}})

    with pytest.raises(type(error)):
        stock_of(world)

    assert world.workers[0].is_closed


def test_a_batch_that_the_model_cannot_take_is_named() -> None:
    world = World(scripts={TrialConfig(batch=8): {Open: ModelError("Got: 8 Expected: 1")}})

    with pytest.raises(ModelError, match="the model does not run with batch 8: Got: 8 Expected: 1") as caught:
        stock_of(world, references={1: Path("/a"), 8: Path("/b")}, feeds={1: Path("a"), 8: Path("b")})

    assert caught.value.hint == "leave that --batch out"
    assert all(worker.is_closed for worker in world.workers)


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


def test_a_gpu_that_is_too_small_is_a_failed_trial_of_memory() -> None:
    full = WorkerMemoryError("ONNX Runtime failed to run the model: the device has too little memory (CUDA failure 2)")

    failure = failing(Warm, full)

    assert failure.kind is FailureKind.MEMORY
    assert "the device has too little memory" in failure.reason
