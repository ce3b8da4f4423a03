"""The first trials of a model-guided search: what experts would try, then a bit of everything."""

from collections.abc import Sequence

import numpy as np

from infer_opt.config import TrialConfig
from infer_opt.search.features import Knobs, Matrix

FEWEST_EXPERT = 8
MOST_EXPERT_SHARE = 0.75  # of all trials
MOST_SEEDS = 32
CLOSENESS = 2.0  # what being like a chosen one costs, against the gain of one level that nobody has yet


def seeds(
    candidates: Sequence[TrialConfig], knobs: Knobs, *, most: int, seed: int, alone: int
) -> tuple[TrialConfig, ...]:
    """The first `alone` candidates, then balanced ones up to half of `most` configurations, 32 at most.

    `alone` are those that change the recipe alone or the session options alone, which stand first: 8 at least, and 75 %
    of `most` at most. What two changes do together can be guessed from what each does alone; a recipe that nobody has
    tried is worth nothing to the model. (On a recorded space, 16 such seeds and 8 balanced ones missed the one recipe
    that was best in 53 searches of 100, and 28 such seeds in none.)
    """
    expert = max(1, min(max(FEWEST_EXPERT, alone), int(MOST_EXPERT_SHARE * most), len(candidates)))
    number = min(max(expert, min(MOST_SEEDS, most // 2)), len(candidates))
    rows = knobs.rows(candidates)
    chosen = balanced(rows, knobs, taken=range(expert), number=number - expert, seed=seed)
    return tuple(candidates[index] for index in (*range(expert), *chosen))


def balanced(rows: Matrix, knobs: Knobs, *, taken: Sequence[int], number: int, seed: int) -> tuple[int, ...]:
    """`number` further of `rows` by position, so that with `taken` each level of each knob comes up about equally.

    Greedy: a level gains 1 / (1 + times it was taken); likeness to the nearest of those taken costs; chance decides
    between equals.
    """
    generator = np.random.default_rng(seed)
    luck = generator.uniform(0.0, 1e-3, len(rows))
    codes = [np.unique(column, return_inverse=True)[1] for column in rows.T]
    taken_levels = [np.bincount(code[list(taken)], minlength=code.max() + 1) for code in codes]
    single, _ = knobs.alike(rows, rows[list(taken)])
    nearest = single.max(axis=1) if len(taken) else np.zeros(len(rows))
    is_free = np.ones(len(rows), dtype=bool)
    is_free[list(taken)] = False
    chosen: list[int] = []
    for _ in range(min(number, int(is_free.sum()))):
        gains = sum((1.0 / (1.0 + times[code]) for code, times in zip(codes, taken_levels, strict=True)), luck)
        index = int(np.argmax(np.where(is_free, gains - CLOSENESS * nearest, -np.inf)))
        chosen.append(index)
        is_free[index] = False
        nearest = np.maximum(nearest, knobs.alike(rows, rows[[index]])[0][:, 0])
        for code, times in zip(codes, taken_levels, strict=True):
            times[code[index]] += 1
    return tuple(chosen)
