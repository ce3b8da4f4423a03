"""Row 1: identical configurations are hardly ever told apart, over a whole sequence of looks."""

import random
from typing import cast

import numpy as np
import pytest
from benchmarks.simulation.noise import ROUND_SD, Noise, blocks
from benchmarks.simulation.ours import Costs, confirmed, epoch_values, epochs
from benchmarks.simulation.rates import Rate, fewest_hits, is_at_least, is_at_most, most_hits
from benchmarks.simulation.studies import FalseVerdicts, false_verdicts

from infer_opt import confirming
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.confirming import Epoch, confirm
from infer_opt.rig import CLONE, Rig
from infer_opt.stats.confirm import epoch_value

REPEATS = 120


@pytest.fixture(scope="module")
def found() -> dict[Noise, FalseVerdicts]:
    rng = np.random.default_rng(101)
    return {noise: false_verdicts(noise, rng, repeats=REPEATS, rounds=20) for noise in Noise}


@pytest.mark.parametrize("noise", Noise)
def test_a_pair_without_a_margin_is_told_apart_in_at_most_5_percent(
    found: dict[Noise, FalseVerdicts], noise: Noise
) -> None:
    assert is_at_most(found[noise].no_margin, 0.05)


@pytest.mark.parametrize("noise", Noise)
def test_a_pair_with_the_default_margin_is_told_apart_in_at_most_1_percent(
    found: dict[Noise, FalseVerdicts], noise: Noise
) -> None:
    assert is_at_most(found[noise].margin, 0.01)


@pytest.mark.parametrize("noise", Noise)
def test_looking_after_every_epoch_would_tell_too_many_apart(found: dict[Noise, FalseVerdicts], noise: Noise) -> None:
    assert not is_at_most(found[noise].every_epoch, 0.05)


def test_epochs_in_arrays_are_worth_what_the_rule_says() -> None:
    rows = np.random.default_rng(1).standard_t(3, (40, 23))

    assert epoch_values(rows) == pytest.approx([epoch_value(row) for row in rows])


@pytest.mark.parametrize("gain", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("most", [3, 4, 7, 19])
def test_a_simulated_confirmation_ends_as_a_real_one(gain: float, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    winner, stock = TrialConfig(options=SessionOptions(intra_threads=1)), TrialConfig()
    drawn = epochs(Noise.PROCESSES, np.random.default_rng(most), repeats=12, rounds=8)
    for values, clone in zip(drawn.contenders[:, 0] - np.log1p(gain), drawn.clone, strict=True):
        played = [
            Epoch(values={winner.key: own, CLONE: other}, blocks={}, rounds=8, discarded=0, setup_s=1.0, cost_s=2.0)
            for own, other in zip(values.tolist(), clone.tolist(), strict=True)
        ]
        monkeypatch.setattr(confirming, "run_epoch", lambda *a, played=played, **k: (played.pop(0), {}))
        real = confirm(
            cast(Rig, None), {winner.key: winner}, stock, generator=random.Random(0), rounds=8, fits=lambda s: True,
            most=most,
        )  # fmt: skip

        ended = confirmed(values, clone, most=most)

        assert real.comparisons[winner.key].verdict is ended.verdict
        assert len(real.epochs) == ended.decision.epochs
        assert real.comparisons[winner.key].margin == ended.decision.margin


@pytest.mark.parametrize("noise", [noise for noise in Noise if noise is not Noise.DRIFT])
def test_rounds_of_every_noise_stray_by_6_percent(noise: Noise) -> None:
    pairs = blocks(noise, np.zeros((4000, 2, 20)), np.random.default_rng(3))
    apart = pairs[:, 0] - pairs[:, 1]

    assert (apart - apart.mean(axis=1, keepdims=True)).std(ddof=1) == pytest.approx(ROUND_SD, rel=0.08)


def test_drift_is_shared_by_the_blocks_of_a_round() -> None:
    at_s = np.tile(np.linspace(0.0, 60.0, 200), (200, 2, 1))
    pairs = blocks(Noise.DRIFT, at_s, np.random.default_rng(4))

    assert (pairs[:, 0] - pairs[:, 1]).std() == pytest.approx(ROUND_SD, rel=0.05)
    assert pairs.std() > 0.85 * ROUND_SD


def test_bands_hold_a_true_rate_but_for_one_time_in_a_thousand() -> None:
    draws = np.random.default_rng(5).binomial(300, 0.05, 20000)

    assert 0.998 <= (draws <= most_hits(300, 0.05)).mean() <= 1.0
    assert 0.998 <= (draws >= fewest_hits(300, 0.05)).mean() <= 1.0
    assert not is_at_most(Rate(hits=most_hits(300, 0.05) + 1, trials=300), 0.05)
    assert not is_at_least(Rate(hits=fewest_hits(300, 0.95) - 1, trials=300), 0.95)


def test_intervals_of_rates_are_clopper_and_pearsons() -> None:
    rate = Rate(hits=3, trials=100)

    assert rate.low == pytest.approx(0.006230, abs=1e-6)
    assert rate.high == pytest.approx(0.085176, abs=1e-6)
    assert (Rate(hits=0, trials=100).low, Rate(hits=100, trials=100).high) == (0.0, 1.0)


def test_costs_of_an_epoch_are_processes_and_rounds() -> None:
    costs = Costs()

    assert costs.epoch_s(20) == pytest.approx(3 * 0.57 + 20 * 0.0429)
    assert costs.epochs_within(15.0, costs.rounds_within(15.0)) == 4
