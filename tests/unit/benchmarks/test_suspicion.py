"""Trials until the best is found, on a made-up grid whose best configuration is a quantised one."""

import json
from pathlib import Path

import pytest
from benchmarks import suspicion
from benchmarks.grid_file import save
from benchmarks.suspicion import Line, Space, lines_of, targets_of

from made_grids import SPACE, made_grid

BEST = 3  # among SPACE: the first quantised one, after what changes the session alone
TRUTH = [-0.5 if index == BEST else 0.01 * index for index in range(len(SPACE))]


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "m-11.npz"
    save(made_grid(TRUTH, noise=0.002), path)
    return path


def test_a_right_suspicion_finds_the_best_in_fewer_trials_and_a_wrong_one_in_no_many_more(grid: Path) -> None:
    space = Space(grid)
    assert space.fastest == SPACE[BEST]

    without, right, wrong = (
        space.trials("exhaustive", knobs, most=48, seed=0) for knobs in ((), ("quantise",), ("spin",))
    )

    assert without == BEST + 1
    assert right < without
    assert wrong <= 4 * without


def test_only_knobs_that_the_space_has_are_suspected(grid: Path) -> None:
    lines = lines_of(Space(grid), range(2))

    assert {line.knobs for line in lines} == {"quantise", "intra_threads", "spin"}
    assert {line.knobs for line in lines if line.is_right} >= {"quantise"}


def line(*, is_right: bool, with_it: float) -> Line:
    return Line(grid="m", preset="quick", knobs="spin", is_right=is_right, without=10.0, with_it=with_it)


def test_promises_are_about_the_mean_of_right_and_of_wrong_ones() -> None:
    kept = targets_of([line(is_right=True, with_it=5.0), line(is_right=False, with_it=10.5)])
    assert [target.is_met for target in kept] == [True, True]

    missed = targets_of([line(is_right=True, with_it=12.0), line(is_right=False, with_it=15.0)])
    assert [target.is_met for target in missed] == [False, False]
    assert [target.is_met for target in targets_of([])] == [None, None]


def test_the_result_is_written(grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "result.json"

    code = suspicion.main(["--grids", str(grid), "--seeds", "1", "--result", str(path)])

    document = json.loads(path.read_text())
    assert code == (0 if all(target["is_met"] for target in document["targets"]) else 1)
    assert document["results"]["lines"]
    assert "quantise" in capsys.readouterr().out
