import itertools
import sys

import pytest

from fakes import make_result
from infer_opt.config import SessionOptions, Spin, TrialConfig
from infer_opt.errors import UnavailableError
from infer_opt.results import FailureKind, Trial, TrialFailure
from infer_opt.search.strategies import Problem
from infer_opt.search.tpe import Tpe

SPACE = tuple(
    TrialConfig(options=SessionOptions(intra_threads=threads, spin=spin, arena=arena, io_binding=binding))
    for threads, spin, arena, binding in itertools.product((1, 2, 4, 8), Spin, (True, False), (True, False))
)


def problem(*, most: int = 30, seed: int = 0, earlier: tuple[Trial, ...] = ()) -> Problem:
    return Problem(candidates=SPACE, stock=TrialConfig(), most=most, seed=seed, cores=8, earlier=earlier)


def tpe(*, most: int = 30, seed: int = 0) -> Tpe:
    pytest.importorskip("optuna", reason="Optuna is an extra")
    return Tpe(problem(most=most, seed=seed))


def speed(config: TrialConfig) -> float:
    """Two threads without spinning are best; the other knobs do nothing."""
    return (config.options.intra_threads != 2) * 0.3 + (config.options.spin is not Spin.NEVER) * 0.3 - 0.5


def driven(strategy: Tpe) -> list[Trial]:
    done: list[Trial] = []
    while waiting := strategy.next(done):
        done.append(make_result(waiting[0], speed(waiting[0])))
    return done


def test_it_goes_where_trials_were_fast() -> None:
    def hits(done: list[Trial]) -> int:
        return sum(speed(trial.config) == -0.5 for trial in done)

    # 4 of the 48 are best: ten trials at random find one of them, all thirty two and a half.
    assert sum(hits(driven(tpe(seed=seed))) for seed in range(4)) >= 12


def test_it_ends_after_the_most() -> None:
    assert len(driven(tpe(most=12))) == 12


def test_another_seed_tries_others() -> None:
    tried = [[trial.config for trial in driven(tpe(most=8, seed=seed))] for seed in (0, 0, 1)]

    assert tried[0] == tried[1] != tried[2]


def test_earlier_trials_guide_the_first_one() -> None:
    pytest.importorskip("optuna", reason="Optuna is an extra")
    earlier = tuple(make_result(config, speed(config)) for config in SPACE)

    first = [Tpe(problem(seed=seed, earlier=earlier)).next([])[0] for seed in range(6)]

    assert sum(speed(config) == -0.5 for config in first) >= 4  # 4 of the 48 are: by chance, half a one


def test_what_was_done_outside_of_the_space_does_no_harm() -> None:
    outsider = make_result(TrialConfig(options=SessionOptions(flush_denormals=True, inter_threads=3)))
    unknown = make_result(TrialConfig(options=SessionOptions(spin=None, intra_threads=64)), -3.0)
    failed = TrialFailure(config=SPACE[0], kind=FailureKind.CRASH, reason="gone")

    (asked,) = tpe().next([outsider, unknown, failed])

    assert asked in SPACE[1:]


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)

    with pytest.raises(UnavailableError) as raised:
        Tpe(problem())

    assert raised.value.hint == "pip install 'infer-opt[search]'"
