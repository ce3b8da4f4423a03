import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from fakes import make_result
from infer_opt.config import SessionOptions, Spin, TrialConfig
from infer_opt.protocols import Strategy
from infer_opt.recipes import GraphLevel, Quantisation, Recipe
from infer_opt.results import FailureKind, Trial, TrialFailure, TrialResult
from infer_opt.search.belief import Space, believe
from infer_opt.search.features import settings
from infer_opt.search.guided import BATCH, MOST, POLISH_MOST, Guided
from infer_opt.search.shuffled import Shuffled
from infer_opt.search.space import neighbours
from infer_opt.search.strategies import Problem

CORES = 4
STOCK = TrialConfig()
RECIPES = (
    Recipe(),
    Recipe(fixed_shapes=True),
    *(
        Recipe(quantise=Quantisation(per_channel=channel, reduce_range=narrow))
        for channel, narrow in itertools.product((True, False), repeat=2)
    ),
    *(Recipe(saved_level=level) for level in (GraphLevel.ALL, GraphLevel.EXTENDED)),
    Recipe(fuse="bert"),
)
OPTIONS = tuple(
    SessionOptions(intra_threads=threads, spin=spin, arena=arena, memory_pattern=pattern, io_binding=binding)
    for arena, pattern, binding, spin, threads in itertools.product(
        (True, False), (True, False), (False, True), (None, Spin.RUNS, Spin.NEVER), (0, 1, 2, 3, 4, 6, 8)
    )
)
WIDE = tuple(TrialConfig(recipe=recipe, options=options) for options in OPTIONS for recipe in RECIPES)[1:]
SMALL = WIDE[:40]
NARROW = WIDE[:160]

Surface = Callable[[TrialConfig], float]


def surface(seed: int, *, knob: float = 0.15, pair: float = 0.05) -> Surface:
    """ln(time / stock's time): each level of each knob has an effect, and so has each pair of levels of two knobs."""
    memory: dict[tuple[object, ...], float] = {}

    def effect(*levels: object, scale: float) -> float:
        if levels not in memory:
            memory[levels] = random.Random(f"{seed} {levels}").gauss(0.0, scale)
        return memory[levels]

    def total(config: TrialConfig) -> float:
        known = settings(config, cores=CORES)
        chosen = sorted((name, level) for name, level in known.items() if name != "instances")  # the same for all here
        return sum(effect(item, scale=knob) for item in chosen) + sum(
            effect(left, right, scale=pair) for left, right in itertools.combinations(chosen, 2)
        )

    at_stock = total(STOCK)
    return lambda config: total(config) - at_stock


def flat(config: TrialConfig) -> float:
    return 0.0


def problem(candidates: Sequence[TrialConfig] = WIDE, **changes: object) -> Problem:
    return replace(Problem(candidates=tuple(candidates), stock=STOCK, most=MOST, cores=CORES), **changes)  # type: ignore[arg-type]


def measured(config: TrialConfig, truth: Surface, *, noise: float = 0.015) -> TrialResult:
    """A trial of `config`: the noise is its own, whenever it is measured."""
    return make_result(config, truth(config) + random.Random(config.key).gauss(0.0, noise), log_ratio_error=noise)


def driven(
    strategy: Strategy,
    truth: Surface,
    *,
    done: Sequence[Trial] = (),
    failing: frozenset[Recipe] = frozenset(),
    special: Mapping[TrialConfig, Trial] | None = None,
) -> list[Trial]:
    """All trials of a search, measured one by one."""
    trials = list(done)
    while waiting := strategy.next(trials):
        config = waiting[0]
        if config.recipe in failing:
            trials.append(TrialFailure(config=config, kind=FailureKind.PARITY, reason="wrong answers"))
        else:
            trials.append((special or {}).get(config) or measured(config, truth))
    return trials


def regret(trials: Sequence[Trial], truth: Surface, among: Sequence[TrialConfig]) -> float:
    """How much slower the best of the eight that looked fastest is than the best there is: the race finds it."""
    ran = sorted((t for t in trials if isinstance(t, TrialResult)), key=lambda trial: trial.log_ratio)
    best = min(0.0, *(truth(config) for config in among))
    return math.expm1(min(0.0, *(truth(trial.config) for trial in ran[:8])) - best)


def test_a_small_space_is_tried_whole_in_order_of_promise() -> None:
    strategy = Guided(problem(SMALL))

    assert strategy.next([]) == SMALL
    assert [trial.config for trial in driven(strategy, flat)] == list(SMALL)
    assert strategy.chance_left is None


def test_a_budget_smaller_than_a_small_space_is_kept() -> None:
    trials = driven(Guided(problem(SMALL, most=20)), surface(0))

    assert len(trials) <= 20 + POLISH_MOST


def test_on_wide_spaces_it_comes_close_to_the_best_with_a_tenth_of_the_trials() -> None:
    ours, by_chance = [], []
    for seed in range(3):
        truth = surface(seed)
        trials = driven(Guided(problem(seed=seed)), truth)
        assert len(trials) <= MOST + POLISH_MOST
        ours.append(regret(trials, truth, WIDE))
        same = driven(Shuffled(problem(seed=seed, most=len(trials))), truth)
        by_chance.append(regret(same, truth, WIDE))

    assert statistics.median(ours) < 0.02
    assert max(ours) < 0.1
    assert statistics.mean(ours) < 0.3 * statistics.mean(by_chance)


def test_it_stops_by_itself_when_little_is_left_to_hope_for() -> None:
    strategy = Guided(problem())

    trials = driven(strategy, surface(3, pair=0.0))

    assert len(trials) < MOST
    assert strategy.chance_left is not None
    assert strategy.chance_left < 0.05


def test_a_space_where_all_are_equal_is_soon_left() -> None:
    assert len(driven(Guided(problem()), flat)) <= 96


def test_the_chance_that_is_left_is_a_probability_that_falls() -> None:
    strategy = Guided(problem())
    chances: list[float] = []
    trials: list[Trial] = []
    assert strategy.chance_left is None
    while waiting := strategy.next(trials):
        chances += [strategy.chance_left] if strategy.chance_left is not None else []
        trials.append(measured(waiting[0], surface(3, pair=0.0)))

    assert all(0.0 <= chance <= 1.0 for chance in chances)
    assert chances[0] > 0.5
    assert chances[-1] < 0.05


def test_a_recipe_that_gives_wrong_answers_is_given_up_after_two() -> None:
    wrong = frozenset(recipe for recipe in RECIPES if recipe.quantise is not None)

    trials = driven(Guided(problem()), surface(1), failing=wrong)

    times = Counter(trial.config.recipe for trial in trials)
    assert max(times[recipe] for recipe in wrong) <= 2
    assert len(trials) - sum(times[recipe] for recipe in wrong) > 30


def test_the_best_of_earlier_tunings_come_first() -> None:
    fast, faster, fastest = WIDE[500], WIDE[900], WIDE[1300]
    earlier = (
        make_result(fast, -0.1),
        make_result(WIDE[50], 0.4),
        make_result(fastest, -0.5),
        make_result(TrialConfig(options=SessionOptions(flush_denormals=True)), -0.9),  # no candidate any more
        make_result(faster, -0.3),
        make_result(WIDE[60], -0.01),
    )

    assert Guided(problem(earlier=earlier)).next([])[:4] == (fastest, faster, fast, WIDE[0])
    few = WIDE[1290:1330]  # a space that is tried whole
    assert Guided(problem(few, earlier=earlier)).next([])[:2] == (fastest, few[0])


def test_earlier_trials_shorten_the_search() -> None:
    truth = surface(2)
    earlier = tuple(driven(Guided(problem()), truth))

    again = driven(Guided(problem(seed=5, earlier=earlier)), truth)

    assert len(again) < len(earlier)
    assert regret(again, truth, WIDE) < 0.02


def test_earlier_trials_are_measured_anew_before_they_count() -> None:
    truth = surface(2)
    earlier = tuple(driven(Guided(problem()), truth))

    again = {trial.config for trial in driven(Guided(problem(earlier=earlier)), truth)}

    fastest = min((t for t in earlier if isinstance(t, TrialResult)), key=lambda trial: trial.log_ratio)
    assert fastest.config in again


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 0.95])
def test_a_search_that_was_cut_off_goes_on_as_it_would_have(share: float) -> None:
    truth = surface(4)
    whole = driven(Guided(problem(NARROW)), truth)
    cut = round(share * len(whole))

    assert driven(Guided(problem(NARROW)), truth, done=whole[:cut]) == whole


def test_trials_that_were_not_asked_for_do_no_harm() -> None:
    truth = surface(4)
    outside = TrialConfig(options=SessionOptions(flush_denormals=True, intra_threads=64))
    foreign = [measured(config, truth) for config in (NARROW[70], outside, STOCK, NARROW[3])]

    trials = driven(Guided(problem(NARROW)), truth, done=foreign)

    assert len({trial.config for trial in trials}) == len(trials)
    assert regret(trials, truth, NARROW) < 0.05


def test_configurations_of_one_recipe_come_together_and_those_already_built_first() -> None:
    truth = surface(6)
    strategy = Guided(problem())
    seeds = [measured(config, truth) for config in strategy.next([])]
    batch = strategy.next(seeds)
    built = [STOCK.recipe, *(trial.config.recipe for trial in seeds)]

    recipes = [config.recipe for config in batch]
    assert len(batch) == BATCH
    assert len([key for key, _ in itertools.groupby(recipes)]) == len(set(recipes))
    assert recipes == sorted(recipes, key=lambda recipe: recipe not in built)


def test_one_lucky_process_in_reverse_does_not_hide_a_good_recipe() -> None:
    truth = surface(5)
    best = min(WIDE, key=truth)
    kin = next(c for c in Guided(problem()).next([]) if c.recipe == best.recipe)
    wild = make_result(kin, truth(kin) + 1.5)

    trials = driven(Guided(problem()), truth, special={kin: wild})

    assert regret(trials, truth, WIDE) < 0.03


def test_it_ends_with_a_few_neighbours_of_the_best_two() -> None:
    most, polished = 16, 0
    for seed in range(3):
        truth = surface(seed)
        trials = driven(Guided(problem(NARROW, most=most)), truth)
        leaders = believe(Space(problem(NARROW)), trials[:most]).leaders()[:2]
        near = {config for leader in leaders for config in neighbours(leader, NARROW)}
        assert {trial.config for trial in trials[most:]} <= near
        assert len(trials) <= most + POLISH_MOST
        polished += len(trials[most:])

    assert polished > 0
