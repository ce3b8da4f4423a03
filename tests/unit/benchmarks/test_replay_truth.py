"""What counts as the truth of a made-up grid, and what a pick is said to have lost."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.grid_file import Grid
from benchmarks.replaying.machine import RecordedMachine
from benchmarks.replaying.truth import STOCK, find_truth

from infer_opt.config import TrialConfig
from infer_opt.stats.intervals import Values
from made_grids import FAST, LARGE, SPACE, made_grid


def best_first(grid: Grid) -> int:
    return int(np.nanargmin(find_truth(RecordedMachine(grid)).shrunk))


def additive(seed: int, *, interaction: float = 0.0, space: Sequence[TrialConfig] = LARGE) -> list[float]:
    generator = np.random.default_rng(seed)
    recipes, options = (
        {one: generator.normal(0.0, spread) for one in dict.fromkeys(values)}
        for values, spread in (([config.recipe for config in space], 0.3), ([config.options for config in space], 0.1))
    )
    return [
        float(recipes[config.recipe] + options[config.options] + generator.normal(0.0, interaction)) for config in space
    ]


def error(left: Values, right: Values) -> float:
    return float(np.sqrt(np.mean((np.asarray(left) - np.asarray(right)) ** 2)))


def test_shrinking_comes_nearer_to_the_truth_than_the_recorded_means_do() -> None:
    raw, shrunk = [], []
    for seed in range(30):
        known = additive(seed)
        found = find_truth(RecordedMachine(made_grid(known, process=0.012, seed=seed)))
        raw.append(error(found.raw, known))
        shrunk.append(error(found.shrunk, known))

    assert float(np.mean(shrunk)) < 0.9 * float(np.mean(raw))


def test_the_lowest_recorded_mean_is_low_by_luck_and_the_shrunk_one_less_so() -> None:
    optimism = {"raw": 0.0, "shrunk": 0.0}
    for seed in range(60):
        found = find_truth(RecordedMachine(made_grid([-0.3] * len(LARGE), process=0.012, seed=seed)))
        optimism["raw"] += (-0.3 - float(found.raw.min())) / 60
        optimism["shrunk"] += (-0.3 - float(found.shrunk.min())) / 60

    assert optimism["raw"] > 0.01
    assert optimism["shrunk"] < 0.85 * optimism["raw"]


def test_real_interactions_are_not_shrunk_away() -> None:
    known = additive(1, interaction=0.2)

    found = find_truth(RecordedMachine(made_grid(known, process=0.002)))

    assert error(found.shrunk, known) < 0.01
    assert found.interaction_spread > 0.05


def test_a_process_that_was_slow_throughout_does_not_count_where_most_were_not() -> None:
    # One process of four ran on a core that was slower by 1.6 times, and stock did not feel it.
    known = additive(2, interaction=0.05)
    grid = made_grid(known, process=0.005, processes=5)
    slowed = np.random.default_rng(3).random((len(LARGE), 5)) < 0.25

    found = find_truth(RecordedMachine(replace(grid, values=grid.values + 0.48 * slowed[:, :, None])))

    mostly = slowed.sum(axis=1) <= 2
    assert mostly.sum() > 0.8 * len(LARGE)
    assert float(np.abs(found.shrunk - np.asarray(known))[mostly].max()) < 0.03
    assert float(np.abs(found.raw - np.asarray(known))[mostly].max()) > 0.15


def test_what_is_slow_in_most_of_its_processes_is_not_fast_for_the_others_sake() -> None:
    known = [-0.3] * len(LARGE)
    grid = made_grid(known, process=0.005, processes=5)
    values = grid.values.copy()
    values[0, :3] += 0.25
    values[0, 3:] -= 0.02

    found = find_truth(RecordedMachine(replace(grid, values=values)))

    assert found.shrunk[0] > -0.1
    assert int(np.nanargmin(found.shrunk)) != 0


def test_what_strays_more_is_known_less_well_and_drawn_nearer_to_what_is_like_it() -> None:
    known = additive(4)
    grid = made_grid(known, process=0.005, processes=9)
    values = grid.values.copy()
    values[0] += 0.1 * np.random.default_rng(5).standard_normal((9, 1))

    found = find_truth(RecordedMachine(replace(grid, values=values)))

    assert found.error[0] > 3 * float(np.median(found.error))
    assert abs(found.shrunk[0] - known[0]) < 0.02


def test_stock_that_was_slowed_down_makes_nobody_faster() -> None:
    known = additive(2, interaction=0.05)
    grid = made_grid(known, process=0.005)
    slowed = np.where(np.arange(len(grid.stock)) == 1, 0.4, 0.0)[:, None]

    found = find_truth(RecordedMachine(replace(grid, stock=grid.stock + slowed, clone=grid.clone + slowed)))

    assert float(np.abs(found.shrunk - np.asarray(known)).max()) < 0.03
    assert float(np.abs(found.raw - np.asarray(known)).min()) > 0.1


def test_what_the_grid_itself_cannot_tell_is_said_apart() -> None:
    near = [float(value) for value in np.random.default_rng(1).normal(-0.3, 0.05, len(SPACE))]
    sure, unsure = (find_truth(RecordedMachine(made_grid(near, process=process))).blind for process in (0.0005, 0.1))

    assert sure < 0.001
    assert unsure > 0.003
    assert find_truth(RecordedMachine(made_grid([0.5] * 11))).blind == 0.0


@pytest.mark.parametrize("processes", [3, 10, 40])
def test_process_spread_is_that_of_the_processes(processes: int) -> None:
    grids = [made_grid([0.0] * len(LARGE), process=0.01, processes=processes, seed=seed) for seed in range(12)]

    spreads = [find_truth(RecordedMachine(grid)).process_spread for grid in grids]

    assert float(np.mean(spreads)) == pytest.approx(0.01, rel=0.1)


def test_errors_are_those_of_as_many_processes() -> None:
    found = find_truth(RecordedMachine(made_grid([0.0] * 11, process=0.01, processes=40)))

    assert found.error == pytest.approx(np.full(11, 0.01 / 40**0.5), rel=0.3)


def test_regret_counts_beyond_the_grids_own_error_only_where_that_does_not_explain_it() -> None:
    exact = find_truth(RecordedMachine(made_grid(FAST)))
    noisy = find_truth(RecordedMachine(made_grid(FAST, process=0.05, seed=3)))

    assert exact.beyond(2) == noisy.beyond(int(np.nanargmin(noisy.shrunk))) == 0.0
    assert exact.beyond(1) == pytest.approx(exact.regret(1, exact.shrunk), abs=0.01)
    assert exact.beyond(STOCK) == pytest.approx(np.expm1(0.4), abs=0.02)
    assert 0.0 < noisy.beyond(STOCK) < noisy.regret(STOCK, noisy.shrunk)


def test_held_out_regret_of_a_fair_pick_is_nothing_on_average() -> None:
    # All are alike: whatever is picked by the other processes, the process that is left says so.
    values = [
        find_truth(RecordedMachine(made_grid([-0.3] * 11, process=0.05, seed=seed))).held_out(seed % 11, [0])
        for seed in range(200)
    ]

    assert abs(float(np.mean([value for value in values if value is not None]))) < 0.01


def test_held_out_regret_sees_a_worse_pick_and_needs_a_process_that_was_not_drawn() -> None:
    found = find_truth(RecordedMachine(made_grid(FAST)))

    assert found.held_out(1, [0]) == pytest.approx(0.35, abs=1e-6)
    assert found.held_out(STOCK, []) == pytest.approx(0.4, abs=1e-6)
    assert found.held_out(1, [0, 1, 2]) is None


def test_grids_of_more_batches_keep_what_batch_does_apart() -> None:
    grid = made_grid(additive(2))
    configs = tuple(replace(config, batch=1 + index % 2) for index, config in enumerate(grid.configs))

    assert np.isfinite(find_truth(RecordedMachine(replace(grid, configs=configs))).shrunk).all()
