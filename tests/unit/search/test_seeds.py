import itertools
from collections import Counter

from infer_opt.config import SessionOptions, Spin, TrialConfig
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.search.features import knobs_of, settings
from infer_opt.search.seeds import seeds

RECIPES = (Recipe(), Recipe(fixed_shapes=True), Recipe(quantise=Quantisation()), Recipe(fp16=True))
OPTIONS = tuple(
    SessionOptions(intra_threads=threads, spin=spin, arena=arena, io_binding=binding)
    for threads, spin, arena, binding in itertools.product(
        (1, 2, 4, 8), (None, Spin.NEVER), (True, False), (True, False)
    )
)
SPACE = tuple(TrialConfig(recipe=recipe, options=option) for recipe in RECIPES for option in OPTIONS)
KNOBS = knobs_of(SPACE, cores=8)


def chosen(*, most: int = 128, seed: int = 0) -> tuple[TrialConfig, ...]:
    return seeds(SPACE, KNOBS, most=most, seed=seed, alone=8)


def test_the_most_promising_come_first() -> None:
    assert chosen()[:8] == SPACE[:8]
    assert chosen(most=8)[:6] == SPACE[:6]


def test_everything_that_changes_one_thing_alone_is_tried_where_trials_allow() -> None:
    assert seeds(SPACE, KNOBS, most=128, seed=0, alone=40) == SPACE[:40]
    assert seeds(SPACE, KNOBS, most=40, seed=0, alone=40) == SPACE[:30]


def test_a_small_budget_is_not_spent_on_seeds() -> None:
    assert [len(chosen(most=most)) for most in (1, 8, 16, 40, 128)] == [1, 6, 8, 20, 32]


def test_none_is_chosen_twice() -> None:
    assert len(set(chosen())) == 32


def test_each_level_of_each_knob_comes_up_about_equally() -> None:
    rows = [settings(config, cores=8) for config in chosen()]

    for knob in KNOBS.varying:
        times = Counter(row[knob.name] for row in rows)
        assert len(times) == len(knob.levels)
        # `quantised` and the like say whether a recipe was applied: one recipe in four is all that there is to take.
        assert min(times.values()) >= 0.5 * 32 / max(4, len(knob.levels)), knob


def test_another_seed_chooses_others_after_the_promising_ones() -> None:
    assert chosen() == chosen()
    assert set(chosen(seed=1)) != set(chosen())


def test_a_space_smaller_than_the_seeds_is_taken_whole() -> None:
    assert set(seeds(SPACE[:10], knobs_of(SPACE[:10], cores=8), most=128, seed=0, alone=8)) == set(SPACE[:10])
