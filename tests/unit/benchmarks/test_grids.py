"""Recording a space: who is live with whom, what is kept of those that fail, and going on after a stop."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from benchmarks.grid_crew import Crew, Terms, build
from benchmarks.grid_journal import Journal, open_journal, pack
from benchmarks.grids import affordable, quiet_enough, record_grid, round_costs, waiting

from fakes import MB, MS, FakeRig, World, make_readings, make_result, make_rig
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.errors import ConfigError, ModelError
from infer_opt.measure import WarmUp
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import Block, FailureKind, OutputParity, Parity
from infer_opt.trials import Stock
from infer_opt.workers.messages import Check, Measure, Open, Warm
from infer_opt.workers.process import WorkerError
from infer_opt.workers.rounds import Round

STOCK = TrialConfig()
SPACE = tuple(TrialConfig(options=SessionOptions(intra_threads=count)) for count in range(1, 8))
WRONG = Parity(
    score=0.5,
    passed=False,
    outputs=(OutputParity(name="scores", cosine=0.5, relative_l2=1.0, largest_difference=1.0),),
    samples=8,
    reason="output scores has cosine 0.5 to stock",
)


def header(configs: tuple[TrialConfig, ...] = SPACE, rounds: int = 4) -> dict[str, Any]:
    plan = {"rounds": rounds, "stock": STOCK.to_dict(), "configs": [config.to_dict() for config in configs]}
    return {"model": "m", "cores": 2, "about": {"command": "c"}, "plan": plan}


def terms(**changes: int) -> Terms:
    settings = {"seed": 1, "processes": 2, "rounds": 4, "together": 3} | changes
    return Terms(**settings, launch_s=0.25, drop_above_ns=3 * MS)


def record(
    path: Path, world: World, *, chosen: Terms | None = None, rig: FakeRig | None = None, groups: int = 1000
) -> tuple[Journal, int]:
    """A recording that ends after `groups` groups."""
    journal = open_journal(path / "m.jsonl", header())
    most = len(journal.groups) + groups
    whole = record_grid(
        rig or make_rig(world),
        journal,
        chosen or terms(),
        tell=lambda line: None,
        fits=lambda cost_s: len(journal.groups) < most,
    )
    return journal, whole


def test_every_configuration_is_measured_in_every_process_beside_stock_and_its_clone(tmp_path: Path) -> None:
    world = World(latency_ns={SPACE[0]: 0.5 * MS, SPACE[1]: 2 * MS})

    journal, whole = record(tmp_path, world)
    grid = pack(journal, processes=whole)

    assert whole == 2
    assert math.isclose(grid.log_ratios()[0].mean(), math.log(0.5), abs_tol=1e-5)
    assert math.isclose(grid.log_ratios()[1].mean(), math.log(2.0), abs_tol=1e-5)
    assert grid.values.shape == (7, 2, 4)
    assert {len(group.traces) for group in journal.groups} == {3, 1}
    assert all(worker.is_closed for worker in world.workers)


def test_each_trace_is_held_against_the_stock_that_was_live_with_it(tmp_path: Path) -> None:
    world = World(process_effect=0.3)

    grid = pack(record(tmp_path, world)[0], processes=2)

    # Process effects are constant within a process, so each row is constant, and no two groups have the same stock.
    assert grid.log_ratios().std(axis=2).max() < 1e-6
    assert len({round(float(row[0]), 4) for row in grid.stock}) == len(grid.stock) == 6
    assert grid.clone.shape == grid.stock.shape and not (grid.clone == grid.stock).any()


def test_what_fails_parity_leaves_with_its_reason_and_is_not_measured_again(tmp_path: Path) -> None:
    world = World(scripts={SPACE[2]: {Check: WRONG}})

    journal, whole = record(tmp_path, world)
    grid = pack(journal, processes=whole)

    assert grid.failures[2].kind is FailureKind.PARITY
    assert "cosine 0.5" in grid.failures[2].reason
    assert grid.failures[2].cost_s >= 0.25 + 0.089  # its process, its session and its first run were paid for
    assert grid.processes_of(2) == ()
    assert sum(worker.config == SPACE[2] for worker in world.workers) == 1


def test_outputs_are_checked_in_the_first_process_only(tmp_path: Path) -> None:
    world = World()

    record(tmp_path, world)

    checks = [worker.config for worker in world.workers for command in worker.asked if isinstance(command, Check)]
    assert sorted(checks, key=SPACE.index) == list(SPACE)


@pytest.mark.parametrize("command", [Open, Warm, Measure])
def test_one_that_fails_does_not_end_the_recording(tmp_path: Path, command: type) -> None:
    world = World(scripts={SPACE[4]: {command: WorkerError("it crashed")}})

    journal, whole = record(tmp_path, world)
    grid = pack(journal, processes=whole)

    assert grid.failures[4].kind is FailureKind.CRASH
    assert [index for index in range(7) if grid.processes_of(index) != (0, 1)] == [4]


def test_a_process_lost_later_is_a_missing_trace_not_a_failure(tmp_path: Path) -> None:
    world = World()
    born = {"times": 0}

    def dies_the_second_time(command: object, asked: int) -> object:
        born["times"] += 1
        return WorkerError("it crashed") if born["times"] == 2 else ...

    world.scripts = {SPACE[4]: {Open: dies_the_second_time}}
    journal, whole = record(tmp_path, world)
    grid = pack(journal, processes=whole)

    assert not grid.failures
    assert grid.processes_of(4) == (0,)


def test_a_stock_that_dies_ends_the_recording(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did not come up again"):
        record(tmp_path, World(scripts={STOCK: {Warm: WorkerError("it crashed")}}))


def test_a_recording_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    world = World()
    _, before = record(tmp_path, world, groups=2)
    path = tmp_path / "m.jsonl"
    path.write_text(path.read_text() + '{"process": 0, "tra')  # killed while it wrote

    journal, whole = record(tmp_path, world)

    assert (before, whole) == (0, 2)
    assert all(sum(index in one.traces for one in journal.groups) == 2 for index in range(7))
    assert pack(open_journal(path, header()), processes=2).processes_of(6) == (0, 1)


def test_a_journal_of_another_space_is_refused(tmp_path: Path) -> None:
    record(tmp_path, World(), groups=1)

    with pytest.raises(ConfigError, match="begun with another configs"):
        open_journal(tmp_path / "m.jsonl", header(SPACE[:3]))


def test_each_process_has_an_order_of_its_own(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "m.jsonl", header())

    first, second = (tuple(waiting(journal, process, 7, terms())) for process in (0, 1))

    assert first != second
    assert sorted(index for group in first for index in group) == list(range(7))


def test_disturbed_rounds_are_redone(tmp_path: Path) -> None:
    rounds = iter(range(10_000))
    rig = make_rig(World(), watch=lambda pids: lambda: "someone else ran" if next(rounds) % 3 == 0 else None)

    journal, _ = record(tmp_path, World(), rig=rig)

    assert all((group.tried, group.discarded) in ((6, 2), (5, 1)) for group in journal.groups)
    assert all(None not in trace.values for group in journal.groups for trace in group.traces.values())


def test_a_machine_that_is_never_quiet_is_recorded_as_it_is(tmp_path: Path) -> None:
    rig = make_rig(World(), watch=lambda pids: lambda: "someone else ran")

    journal, _ = record(tmp_path, World(), rig=rig)

    assert all((group.tried, group.discarded) == (6, 6) for group in journal.groups)
    assert all(None not in trace.values for group in journal.groups for trace in group.traces.values())


def test_a_round_is_paid_for_in_proportion_to_the_time_of_the_runs() -> None:
    one = Round(
        number=0,
        order=("a", "b"),
        blocks={"a": Block(latency_ns=(MS,) * 3), "b": Block(latency_ns=(3 * MS,) * 3)},
        values={"a": 0.0, "b": 1.0},
        discarded=None,
        lost={},
        cost_s=0.08,
    )

    assert round_costs([one, one]) == pytest.approx({"a": 0.02, "b": 0.06})
    assert quiet_enough([one], 30) == [one]


def test_an_artefact_is_timed_once_for_its_recipe(tmp_path: Path) -> None:
    recipe = Recipe(quantise=Quantisation())
    configs = {str(index): TrialConfig(recipe=recipe, options=SPACE[index].options) for index in range(3)}
    rig = make_rig(World())

    assert list(build(rig, configs, Crew(), set())) == ["0"]
    assert not build(rig, configs, Crew(), {recipe})
    assert not build(rig, {"0": STOCK}, Crew(), set())


@pytest.mark.parametrize(("cap_bytes", "expected"), [(None, 12), (10_000 * MB, 12), (1000 * MB, 3), (100 * MB, 1)])
def test_never_more_are_live_than_memory_allows(cap_bytes: int | None, expected: int) -> None:
    world = World()
    base = Stock(
        entrant=world.entrant(STOCK, "baseline"),
        setup_s=1.0,
        round_s=0.01,
        result=make_result(STOCK, readings=make_readings(peak_rss_bytes=200 * MB)),
        metric=None,
        self_parity=WRONG,
        checked=8,
    )

    assert affordable(make_rig(world, cap_bytes=cap_bytes), base, 12) == expected


def test_what_is_far_slower_than_stock_warms_up_for_less(tmp_path: Path) -> None:
    plans: list[float | None] = []

    def note(command: object, asked: int) -> object:
        assert isinstance(command, Warm)
        plans.append(command.plan.drop_above_ns)
        return WarmUp(latency_ns=MS, runs=100, is_steady=True)

    record(tmp_path, World(scripts={SPACE[0]: {Warm: note}}), groups=10)

    assert plans == [3 * MS, 3 * MS]


def test_the_journal_is_a_line_of_json_for_each_group(tmp_path: Path) -> None:
    journal, _ = record(tmp_path, World())

    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]

    assert lines[0]["plan"]["rounds"] == 4
    assert len(lines) == 1 + len(journal.groups)


def test_the_same_seed_groups_the_same_configurations(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    left, right = (record(tmp_path / name, World(seed=random.randrange(9)))[0] for name in ("a", "b"))

    assert [sorted(group.traces) for group in left.groups] == [sorted(group.traces) for group in right.groups]
