from fakes import make_result
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.search.shuffled import Shuffled
from infer_opt.search.strategies import Problem

CONFIGS = tuple(TrialConfig(options=SessionOptions(intra_threads=count)) for count in range(1, 31))


def shuffled(*, most: int = 30, seed: int = 0) -> Shuffled:
    return Shuffled(Problem(candidates=CONFIGS, stock=TrialConfig(), most=most, seed=seed))


def test_everything_comes_up_once_in_an_order_of_the_seed() -> None:
    order = shuffled().next([])

    assert order != CONFIGS
    assert set(order) == set(CONFIGS)
    assert shuffled().next([]) == order
    assert shuffled(seed=1).next([]) != order


def test_what_was_tried_is_left_out_and_counts_towards_the_most() -> None:
    first, *rest = shuffled(most=3).next([])

    assert shuffled(most=3).next([make_result(first)]) == tuple(rest)
    assert len(rest) == 2


def test_there_is_no_polish() -> None:
    assert shuffled(most=3).next([make_result(config, -0.5) for config in shuffled(most=3).next([])]) == ()
