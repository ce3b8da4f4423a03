"""Searches on made-up grids whose truth is known: what they pick, what it cost, and what counts as regret."""

import json
import math
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from benchmarks import replay
from benchmarks.grid_file import Grid, RecordedFailure, save
from benchmarks.replay import Summary, Task, by_strategy, lines_of, promise_of, replay_all, samples, summarise
from benchmarks.replaying import run
from benchmarks.replaying.machine import READ_S, RecordedMachine
from benchmarks.replaying.run import (
    AS_TUNE,
    VARIANTS,
    Lanes,
    Outcome,
    Plan,
    fastest_that_holds,
    first_that_holds,
    one_race,
    screen,
)
from benchmarks.replaying.truth import STOCK, Truth, find_truth

from infer_opt.presets import load_preset
from infer_opt.results import FailureKind, TrialFailure, TrialResult
from made_grids import FAST, SPACE, made_grid

PLAN = Plan(entrants=8, rivals=2)


def replay_once(
    machine: RecordedMachine, truth: Truth, strategy: str, *, most: int, seed: int, variants: Sequence[str] = (AS_TUNE,)
) -> Outcome:
    return run.replay(machine, truth, strategy, most=most, seed=seed, plan=PLAN, variants=variants)


def test_a_trial_is_five_rounds_of_one_recorded_process_against_its_stock() -> None:
    machine = RecordedMachine(made_grid(process=0.2))
    recorded = machine.grid.log_ratios().mean(axis=2)
    seen = set()

    for seed in range(40):
        draw = machine.trial(SPACE[4], random.Random(seed))
        assert isinstance(draw.trial, TrialResult)
        assert draw.trial.log_ratio == pytest.approx(recorded[4, draw.process], abs=1e-6)
        assert draw.cost_s == pytest.approx(0.5 + 0.3 + 0.1 + 5 * 0.02 + READ_S)
        seen.add(draw.process)

    assert seen == {0, 1, 2}


def test_a_trial_is_as_uncertain_as_five_rounds_are() -> None:
    machine = RecordedMachine(made_grid(noise=0.05))
    draws = [machine.trial(SPACE[4], random.Random(seed)).trial for seed in range(200)]

    errors = [trial.log_ratio_error for trial in draws if isinstance(trial, TrialResult)]
    spread = float(np.std([trial.log_ratio for trial in draws if isinstance(trial, TrialResult)]))

    assert 0.5 * spread < float(np.median(errors)) < 2.5 * spread


def test_a_recorded_failure_fails_again_and_costs_what_it_did() -> None:
    failure = RecordedFailure(kind=FailureKind.PARITY, reason="cosine 0.5", cost_s=0.7)
    machine = RecordedMachine(made_grid(failures={3: failure}))

    draw = machine.trial(SPACE[3], random.Random(0))

    assert draw.trial == TrialFailure(config=SPACE[3], kind=FailureKind.PARITY, reason="cosine 0.5")
    assert (draw.process, draw.cost_s) == (-1, 0.7)


def test_screening_everything_costs_the_whole_grid_and_an_artefact_once() -> None:
    failure = RecordedFailure(kind=FailureKind.PARITY, reason="cosine 0.5", cost_s=0.7)
    machine = RecordedMachine(made_grid(failures={3: failure}))
    one = 1.0 + READ_S

    assert machine.whole_s == pytest.approx(10 * one + 0.7 + 4.0 + 2.0)
    screened = screen(machine, "exhaustive", most=11, seed=0)
    assert screened.cost_s == pytest.approx(machine.whole_s)
    assert len(screened.trials) == 11


def test_without_noise_the_best_is_found_and_nothing_is_regretted() -> None:
    machine = RecordedMachine(made_grid(FAST))

    found = replay_once(machine, find_truth(machine), "exhaustive", most=11, seed=5)

    assert found.share == pytest.approx(1.0)
    assert found.picked[AS_TUNE].pick == 2
    assert found.picked[AS_TUNE].regret == pytest.approx(0.0, abs=1e-6)
    assert not found.is_better_left


def test_a_search_that_stops_early_regrets_what_it_did_not_see() -> None:
    machine = RecordedMachine(made_grid([-0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, -0.5]))

    found = replay_once(machine, find_truth(machine), "exhaustive", most=3, seed=0)

    assert found.picked[AS_TUNE].pick == 0
    assert found.picked[AS_TUNE].raw_regret == pytest.approx(math.exp(0.4) - 1, rel=1e-3)
    assert found.is_better_left
    assert found.share < 1.0


def test_stock_is_kept_where_nothing_is_faster() -> None:
    machine = RecordedMachine(made_grid([0.1] * 11))

    found = replay_once(machine, find_truth(machine), "exhaustive", most=11, seed=0)

    assert found.picked[AS_TUNE].pick == STOCK
    assert found.picked[AS_TUNE].regret == 0.0


def test_the_same_seed_replays_the_same_run() -> None:
    machine = RecordedMachine(made_grid(FAST, process=0.05, noise=0.05))
    truth = find_truth(machine)

    left, right = (replay_once(machine, truth, "exhaustive", most=11, seed=7, variants=list(VARIANTS)) for _ in "ab")

    assert left == right
    others = {replay_once(machine, truth, "exhaustive", most=11, seed=seed).picked[AS_TUNE].race_s for seed in range(8)}
    assert len(others) > 1


def test_the_race_runs_on_processes_that_were_not_screened() -> None:
    machine = RecordedMachine(made_grid([-0.2 + 0.001 * index for index in range(11)], process=0.02, noise=0.01))

    for seed in range(5):
        screened = screen(machine, "exhaustive", most=11, seed=seed)
        raced, used, _ = one_race(machine, screened, random.Random(seed), replace(PLAN, heats=1))
        assert raced.rounds and len(used) == 8
        for index, processes in used.items():
            assert screened.drawn[SPACE[index]] not in processes


def test_a_race_goes_round_its_process_again_after_thirty_rounds() -> None:
    machine = RecordedMachine(made_grid(noise=0.02))
    lanes = Lanes(machine, {"a": (0, 0), "b": (5, 1)}, random.Random(0))
    lanes.spawn(["a", "b"])

    rounds = [lanes.round(number, ["a", "b"]).values for number in range(60)]

    assert rounds[:30] == rounds[30:]
    assert len({values["a"] for values in rounds}) == 30


def test_every_heat_meets_other_processes() -> None:
    machine = RecordedMachine(made_grid(process=0.5))
    lanes = Lanes(machine, {"a": (0, 0)}, random.Random(0))

    heats = []
    for _ in range(3):
        lanes.spawn(["a"])
        heats.append({round(lanes.round(number, ["a"]).values["a"], 3) for number in range(20)})

    assert all(len(values) == 1 for values in heats)
    assert heats[0] != heats[1] != heats[2]


def test_fresh_processes_in_each_heat_make_up_for_a_lucky_one() -> None:
    # Four that differ by 3 % under a process effect of 3 %: a race of one process each is decided by luck.
    truth = [0.1, -0.2, -0.23, 0.1, 0.1, 0.1, -0.2, 0.1, 0.1, 0.1, -0.2]
    wins = {"one heat": 0, AS_TUNE: 0}
    for seed in range(40):
        machine = RecordedMachine(made_grid(truth, process=0.03, noise=0.02, processes=12, seed=seed))
        known = find_truth(machine)
        found = replay_once(machine, known, "exhaustive", most=11, seed=seed, variants=list(wins))
        for name in wins:
            wins[name] += found.picked[name].pick == 2

    assert wins[AS_TUNE] >= wins["one heat"] + 4


def test_the_confirmation_keeps_the_first_that_holds_or_the_fastest_by_rule() -> None:
    machine = RecordedMachine(made_grid([0.2, -0.05, -0.4, *[0.1] * 8]))
    generator = random.Random(0)

    assert first_that_holds(machine, [1, 2], generator) == 1
    assert fastest_that_holds(machine, [1, 2], generator) == 2
    assert first_that_holds(machine, [0, 1], generator) == 1
    assert first_that_holds(machine, [0], generator) == fastest_that_holds(machine, [0], generator) == STOCK


def test_failed_configurations_are_nobodys_best() -> None:
    failure = RecordedFailure(kind=FailureKind.PARITY, reason="cosine 0.5", cost_s=0.7)
    machine = RecordedMachine(made_grid(FAST, failures={2: failure}))
    truth = find_truth(machine)

    assert math.isnan(truth.shrunk[2])
    found = replay_once(machine, truth, "exhaustive", most=11, seed=0).picked[AS_TUNE]
    assert found.pick == 1
    assert found.raw_regret == pytest.approx(0.0, abs=1e-6)


SLOW_BY = 0.47  # ln(time) by which stock was slower in the last group


def grid_with_a_slow_group(noise: float = 0.002) -> Grid:
    """The second configuration, and no other, is not slowed down with stock."""
    grid = made_grid(FAST, noise=noise, processes=4, seed=1)
    values, stock, clone = grid.values.copy(), grid.stock.copy(), grid.clone.copy()
    stock[-1], clone[-1] = stock[-1] + SLOW_BY, clone[-1] + SLOW_BY
    values[:, -1] += SLOW_BY
    values[1, -1] -= SLOW_BY
    return replace(grid, values=values, stock=stock, clone=clone)


def test_a_process_is_put_on_a_machine_that_is_as_slow_as_the_one_it_was_recorded_on() -> None:
    machine, generator = RecordedMachine(grid_with_a_slow_group()), random.Random(0)
    slow, quiet = machine.quiet + SLOW_BY, machine.quiet

    assert {machine.another(0, -1, generator, level=slow) for _ in range(20)} == {3}
    assert {machine.another(0, -1, generator, level=quiet) for _ in range(50)} == {0, 1, 2}
    assert np.median(machine.rounds(1, 3, level=slow)) == pytest.approx(quiet + FAST[1], abs=0.01)
    assert np.median(machine.rounds(0, 3, level=slow)) == pytest.approx(slow + FAST[0], abs=0.01)
    # A process that was never seen on a machine in that state takes the time that it took.
    assert np.median(machine.rounds(1, 3, level=quiet)) == pytest.approx(quiet + FAST[1], abs=0.01)


def test_who_was_not_slowed_down_with_stock_does_not_win_by_it() -> None:
    machine = RecordedMachine(grid_with_a_slow_group())
    truth = find_truth(machine)

    picks = [replay_once(machine, truth, "gp", most=11, seed=seed).picked[AS_TUNE].pick for seed in range(20)]

    assert set(picks) == {2}


def made_task(folder: Path, *, seeds: int = 12) -> Task:
    path = folder / "m-11.npz"
    save(made_grid(FAST, process=0.01, noise=0.02), path)
    return Task(
        grid=path,
        strategy="exhaustive",
        most=11,
        seeds=tuple(range(seeds)),
        variants=(AS_TUNE, "fastest of the finalists"),
        plan=PLAN,
    )


def test_every_seed_is_run_once_and_summed_up_by_variant(tmp_path: Path) -> None:
    task = made_task(tmp_path)

    outcomes, seconds = replay_all([task], workers=1)[task]
    lines = summarise(task, outcomes, seconds)

    assert [outcome.seed for outcome in outcomes] == list(range(12))
    assert [line.variant for line in lines] == [AS_TUNE, "fastest of the finalists"]
    assert lines[0].share == pytest.approx(100.0, rel=1e-3)
    assert (lines[0].runs, lines[0].trials, lines[0].size) == (12, 11, 11)
    assert lines[0].p95 < 1.0
    assert len(samples(outcomes)[AS_TUNE]) == 12


def summary(**changes: object) -> Summary:
    settings: dict[str, object] = dict.fromkeys(Summary.__slots__, 1.0)
    settings |= {"grid": "m-185", "size": 185, "strategy": "gp", "variant": AS_TUNE, "runs": 10, "share": 20.0}
    return Summary(**(settings | changes))  # type: ignore[arg-type]


def test_the_line_of_proof_is_the_shipped_strategy_as_tune_runs_it() -> None:
    small, large = load_preset("default").search, load_preset("thorough").search
    others = [summary(strategy="tpe", p95=99.0), summary(variant="fastest of the finalists", p95=99.0)]
    shipped = [
        summary(strategy=small, p95=1.4),
        summary(strategy=large, grid="w", size=1247, p95=2.5, share=11.0),
    ]

    lines = lines_of([*others, *shipped])

    assert [(line.target.measured, line.target.at_most, line.target.is_met) for line in lines] == [
        (1.4, 1.5, True),
        (20.0, 35.0, True),
        (2.5, 2.0, False),
        (11.0, 12.0, True),
    ]
    assert {line.row for line in lines} == {8}


def test_a_size_without_a_grid_is_said_to_be_unmeasured() -> None:
    lines = lines_of([summary(strategy=load_preset("default").search)])

    assert lines[-1].target.is_met is None
    assert "no grid of that size" in lines[-1].cause
    assert (promise_of(185), promise_of(1247)) == ("about 200", "about 1,500")


def test_linear_algebra_is_single_threaded_in_the_pool_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)

    with replay._single_threaded():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"

    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_evidence_takes_its_seeds_by_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_task(tmp_path)
    preset = msgspec.structs.replace(load_preset("default"), search="exhaustive", trials=11)
    monkeypatch.setattr(replay, "load_preset", lambda name: preset)

    found = replay.evidence(0.003, 5, folder=tmp_path, workers=1)

    assert found.results["m-11"]["runs"] == 3
    assert found.evidence[0].target.measured is not None


def test_numbers_can_be_given_by_strategy() -> None:
    assert by_strategy("1000", ["gp", "tpe"]) == {"gp": 1000, "tpe": 1000}
    assert by_strategy("gp=200,1000", ["gp", "tpe"]) == {"gp": 200, "tpe": 1000}
    for wrong in ("gp=200", "gpp=3,4", "gp=x,3"):
        with pytest.raises(ValueError, match=r"no number|none of|invalid literal"):
            by_strategy(wrong, ["gp", "tpe"])


def test_the_command_writes_its_table_with_the_runs_behind_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = made_task(tmp_path)
    result = tmp_path / "replay.json"

    command = f"--grids {task.grid} --strategies exhaustive,random --seeds random=4,3 --workers 1 --result {result}"

    replay.main(command.split())

    document = json.loads(result.read_text())
    assert [run["runs"] for run in document["results"]["runs"]] == [3, 4]
    assert len(document["samples"]["m-11 random"][AS_TUNE]) == 4
    assert document["results"]["grids"]["m-11"]["configurations"] == 11
    assert "exhaustive" in capsys.readouterr().out
