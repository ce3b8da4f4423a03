"""Recorded grids that are made up, so that what is true of them is known."""

from collections.abc import Mapping, Sequence

import numpy as np
from benchmarks.grid_file import Grid, RecordedFailure

from infer_opt.config import SessionOptions, Spin, TrialConfig
from infer_opt.recipes import GraphLevel, Quantisation, Recipe

RECIPES = (Recipe(), Recipe(quantise=Quantisation()), Recipe(normalise=True))
OPTIONS = tuple(SessionOptions(intra_threads=threads, spin=spin) for threads in (0, 2) for spin in (None, Spin.NEVER))
SPACE = tuple(TrialConfig(recipe=recipe, options=options) for recipe in RECIPES for options in OPTIONS)[1:]
# Enough of a family that effects can be told from interactions.
LARGE = tuple(
    TrialConfig(
        recipe=recipe,
        options=SessionOptions(intra_threads=1, spin=spin, arena=arena, io_binding=binding, graph_level=level),
    )
    for recipe in RECIPES
    for spin in (None, Spin.NEVER)
    for arena in (True, False)
    for binding in (True, False)
    for level in (None, GraphLevel.BASIC)
)
TRUTH = [0.3 * (config.recipe == RECIPES[1]) + 0.02 * index for index, config in enumerate(SPACE)]
FAST = [0.1, -0.05, -0.4, *TRUTH[3:]]


def made_grid(
    truth: Sequence[float] = TRUTH, *, process: float = 0.0, noise: float = 0.0, processes: int = 3, rounds: int = 30,
    seed: int = 0, failures: Mapping[int, RecordedFailure] | None = None,
) -> Grid:  # fmt: skip
    """A grid of `SPACE` (or of its beginning) whose ln(time / stock's time) are known."""
    generator = np.random.default_rng(seed)
    size = len(truth)
    values = 11.0 + np.array(truth)[:, None, None] + generator.normal(0.0, process or 1e-9, (size, processes, 1))
    values = values + generator.normal(0.0, noise or 1e-9, (size, processes, rounds))
    group = np.tile(np.arange(processes), (size, 1))
    for index in failures or {}:
        values[index], group[index] = np.nan, -1
    return Grid(
        model="m",
        stock_config=TrialConfig(),
        configs=(SPACE if size <= len(SPACE) else LARGE)[:size],
        values=values,
        group=group,
        stock=11.0 + generator.normal(0.0, noise or 1e-9, (processes, rounds)),
        clone=11.0 + generator.normal(0.0, noise or 1e-9, (processes, rounds)),
        seconds={
            "open_s": np.full((size, processes), 0.5),
            "warm_s": np.full((size, processes), 0.3),
            "round_s": np.full((size, processes), 0.02),
        },
        parity_s=np.full(size, 0.1),
        build_s={RECIPES[1]: 4.0, RECIPES[2]: 2.0},
        discarded=np.zeros(processes, dtype=np.intp),
        failures=dict(failures or {}),
    )
