"""What every search strategy promises, however it chooses: it is driven here over a made-up surface."""

import random
from collections.abc import Callable, Sequence

import pytest

from fakes import make_result
from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.protocols import Strategy
from infer_opt.results import FailureKind, Trial, TrialFailure, TrialResult
from infer_opt.search.space import candidates
from infer_opt.search.strategies import Problem, open_strategy
from infer_opt.search.surroundings import Surroundings

SPACE = candidates(
    Surroundings(
        providers=(Provider.CPU,),
        usable_cores=4.0,
        physical_cores=4,
        has_free_shapes=True,
        dynamic_operators=frozenset({"MatMul"}),
    )
)
FAILS = FailureKind.PARITY
BUILT = ["exhaustive", "gp", "random", "tpe"]


@pytest.fixture(params=BUILT)
def make(request: pytest.FixtureRequest) -> Callable[[Sequence[TrialConfig]], Strategy]:
    if request.param == "tpe":
        pytest.importorskip("optuna", reason="Optuna is an extra")
    return lambda space: open_strategy(
        request.param, Problem(candidates=tuple(space), stock=TrialConfig(), most=20, cores=4)
    )


def measured(config: TrialConfig, *, failing: float) -> Trial:
    """What this configuration gives, always the same: each setting has an effect of its own, and they add up."""
    if random.Random(config.key).random() < failing:
        return TrialFailure(config=config, kind=FAILS, reason="wrong answers")
    settings = [("recipe", config.recipe.label)]
    settings += [(name, str(getattr(config.options, name))) for name in SessionOptions.__slots__]
    return make_result(config, sum(random.Random(f"{name} {value}").gauss(0.0, 0.2) for name, value in settings))


def driven(strategy: Strategy, done: Sequence[Trial] = (), *, failing: float = 0.2, most: int = 10_000) -> list[Trial]:
    """Every trial of a whole search, taking the first of each batch, as the tuner does; at most `most` steps."""
    trials = list(done)
    for _ in range(most):
        waiting = strategy.next(trials)
        if not waiting:
            return trials
        trials.append(measured(waiting[0], failing=failing))
    raise AssertionError("the search does not end")


def test_a_search_ends(make: Callable[[Sequence[TrialConfig]], Strategy]) -> None:
    assert 0 < len(driven(make(SPACE), most=len(SPACE) + 1)) <= len(SPACE)


def test_no_configuration_is_tried_twice(make: Callable[[Sequence[TrialConfig]], Strategy]) -> None:
    tried = [trial.config for trial in driven(make(SPACE))]

    assert len(set(tried)) == len(tried)


def test_only_candidates_are_tried(make: Callable[[Sequence[TrialConfig]], Strategy]) -> None:
    assert {trial.config for trial in driven(make(SPACE))} <= set(SPACE)


def test_no_batch_holds_what_was_tried_or_anything_twice(make: Callable[[Sequence[TrialConfig]], Strategy]) -> None:
    strategy = make(SPACE)
    done = [measured(config, failing=0.2) for config in SPACE[:7]]

    batch = strategy.next(done)

    assert len(set(batch)) == len(batch)
    assert not set(batch) & {trial.config for trial in done}


def test_a_search_that_was_cut_off_goes_on_from_what_is_done(
    make: Callable[[Sequence[TrialConfig]], Strategy],
) -> None:
    whole = driven(make(SPACE))

    for cut in (1, len(whole) // 2, len(whole)):
        assert driven(make(SPACE), whole[:cut]) == whole


def test_asking_changes_nothing(make: Callable[[Sequence[TrialConfig]], Strategy]) -> None:
    strategy = make(SPACE)
    done = [measured(config, failing=0.2) for config in SPACE[:5]]

    assert strategy.next(done) == strategy.next(done)


@pytest.mark.parametrize("failing", [0.9, 1.0])
def test_failures_do_not_stop_a_search(make: Callable[[Sequence[TrialConfig]], Strategy], failing: float) -> None:
    trials = driven(make(SPACE), failing=failing)

    assert len(trials) >= min(20, len(SPACE))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_tiny_spaces_are_tried_whole(make: Callable[[Sequence[TrialConfig]], Strategy], size: int) -> None:
    assert {trial.config for trial in driven(make(SPACE[:size]))} == set(SPACE[:size])


def test_a_search_finds_something_good(make: Callable[[Sequence[TrialConfig]], Strategy]) -> None:
    found = [trial.log_ratio for trial in driven(make(SPACE)) if isinstance(trial, TrialResult)]
    everything = [measured(config, failing=0.2) for config in SPACE]
    ranked = sorted(trial.log_ratio for trial in everything if isinstance(trial, TrialResult))

    assert min(found) <= ranked[len(ranked) // 5]


def test_the_promising_are_some_of_those_that_ran_and_the_fastest_is_among_them(
    make: Callable[[Sequence[TrialConfig]], Strategy],
) -> None:
    strategy = make(SPACE)
    done = driven(strategy)
    ran = [trial for trial in done if isinstance(trial, TrialResult)]

    promising = strategy.promising(done, most=5)

    assert 0 < len(promising) <= 5
    assert set(promising) <= set(ran)
    assert min(ran, key=lambda trial: trial.log_ratio) in promising


def test_nothing_is_promising_where_nothing_ran_or_all_is_slower(
    make: Callable[[Sequence[TrialConfig]], Strategy],
) -> None:
    strategy = make(SPACE)
    slower = [make_result(config, 0.3, log_ratio_error=0.001) for config in SPACE[:5]]

    assert strategy.promising([], most=5) == ()
    assert strategy.promising([TrialFailure(config=SPACE[0], kind=FAILS, reason="wrong")], most=5) == ()
    assert strategy.promising(slower, most=5) == ()
