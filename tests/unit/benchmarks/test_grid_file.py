"""A recorded grid in a file: small, exact enough, and refused when it is something else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.grid_file import Grid, RecordedFailure, centres, load, save

from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.errors import StorageError
from infer_opt.recipes import Quantisation, Recipe, Rewriter, WeightOnly
from infer_opt.results import FailureKind
from infer_opt.search.space import candidates
from infer_opt.search.surroundings import Surroundings, stock

SURROUNDINGS = Surroundings(
    providers=(Provider.CPU,), usable_cores=2.0, physical_cores=2, dynamic_operators=frozenset({"MatMul"})
)
SPACE = candidates(SURROUNDINGS)
INT8 = Recipe(quantise=Quantisation(per_channel=True, reduce_range=True))


def noisy_grid(processes: int = 3, rounds: int = 30, *, together: int = 12) -> Grid:
    """The whole space of a model of about 0.1 ms, with 3 % noise and a burst now and then."""
    generator = np.random.default_rng(3)
    size = len(SPACE)
    groups = processes * -(-size // together)
    values = 11.5 + generator.normal(0.0, 0.3, (size, 1, 1)) + generator.normal(0.0, 0.03, (size, processes, rounds))
    values += np.where(generator.random(values.shape) < 0.02, generator.exponential(1.0, values.shape), 0.0)
    values[1, 2] = np.nan
    values[3, :, -2:] = np.nan
    group = np.arange(size)[:, None] // together + np.arange(processes) * (groups // processes)
    group[1, 2] = -1
    return Grid(
        model="m",
        stock_config=stock(SURROUNDINGS),
        configs=SPACE,
        values=values,
        group=group,
        stock=11.5 + generator.normal(0.0, 0.03, (groups, rounds)),
        clone=11.5 + generator.normal(0.0, 0.03, (groups, rounds)),
        seconds={name: generator.random((size, processes)) for name in ("open_s", "warm_s", "round_s")},
        parity_s=generator.random(size),
        build_s={INT8: 0.4},
        discarded=np.arange(groups),
        failures={1: RecordedFailure(kind=FailureKind.PARITY, reason="cosine 0.5", cost_s=0.4)},
        cores=2,
        about={"command": "c", "machine": {"fingerprint": "f"}},
    )


def test_a_grid_comes_back_to_a_hundredth_of_a_per_cent_where_it_matters(tmp_path: Path) -> None:
    grid = noisy_grid()

    save(grid, tmp_path / "m.npz")
    found = load(tmp_path / "m.npz")

    assert (found.configs, found.failures, found.build_s) == (grid.configs, grid.failures, grid.build_s)
    assert (found.about, found.cores, found.stock_config) == (grid.about, 2, grid.stock_config)
    assert (np.isnan(found.values) == np.isnan(grid.values)).all()
    near = np.abs(grid.values - centres(grid.values)[..., None]) < 0.1
    assert np.abs(found.values - grid.values)[near].max() < 1e-4
    assert np.abs(found.stock - grid.stock).max() < 1e-4
    assert (found.group == grid.group).all() and (found.discarded == grid.discarded).all()
    np.testing.assert_allclose(found.seconds["open_s"], grid.seconds["open_s"], rtol=1e-6)


def test_a_configuration_comes_back_whatever_of_it_is_not_as_usual(tmp_path: Path) -> None:
    # Descriptions leave out what came later and is as usual: where it is not, stock's description has no such name.
    odd = (
        TrialConfig(options=SessionOptions(bf16=True)),
        TrialConfig(options=SessionOptions(provider=Provider.CUDA, arena_bytes=1 << 20, exact_arena=True)),
        TrialConfig(options=SessionOptions(intra_threads=1), instances=2),
        TrialConfig(runtime="openvino", batch=4),
        TrialConfig(recipe=Recipe(quantise=Quantisation(weight_only=WeightOnly()), buckets=(("seq", (16, 64)),))),
        TrialConfig(recipe=Recipe(rewrite=Rewriter.ONNXSLIM)),
    )
    grid = noisy_grid()
    configs = odd + tuple(config for config in grid.configs if config not in odd)[: grid.size - len(odd)]

    save(replace(grid, configs=configs, build_s={}), tmp_path / "m.npz")

    assert load(tmp_path / "m.npz").configs == configs


def test_two_hundred_configurations_fit_into_the_repository(tmp_path: Path) -> None:
    save(noisy_grid(), tmp_path / "m.npz")

    assert 80 < len(SPACE) < 300
    assert (tmp_path / "m.npz").stat().st_size < 300_000 * len(SPACE) / 200


def test_what_was_not_measured_is_not_there(tmp_path: Path) -> None:
    grid = noisy_grid()

    assert grid.processes_of(1) == (0, 1)
    assert np.isnan(grid.log_ratios()[1, 2]).all()
    assert grid.log_ratios()[0, 0, 0] == grid.values[0, 0, 0] - grid.stock[0, 0]


def test_a_file_that_is_no_grid_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.zeros(3))

    for name in ("other.npz", "missing.npz"):
        with pytest.raises(StorageError, match="is not a recorded grid"):
            load(tmp_path / name)


def test_an_old_grid_stays_when_a_new_one_cannot_be_written(tmp_path: Path) -> None:
    save(noisy_grid(), tmp_path / "m.npz")
    before = (tmp_path / "m.npz").read_bytes()
    (tmp_path / ".m.npz").mkdir()

    with pytest.raises(StorageError, match="cannot be written"):
        save(noisy_grid(), tmp_path / "m.npz")

    assert (tmp_path / "m.npz").read_bytes() == before
