import math

import numpy as np
import pytest

from infer_opt.config import Objective, Shape
from infer_opt.errors import EvidenceError
from infer_opt.results import Block, ShapeReadings
from infer_opt.stats.mixtures import mixture_quantile, mixture_value, timings

MS = 1_000_000


def shapes_of(*weights: float) -> list[ShapeReadings]:
    return [
        ShapeReadings(shape=Shape(dims=(("seq", 2**place),), weight=weight), quantiles=(), first_seen_ns=10 * place)
        for place, weight in enumerate(weights)
    ]


def drawn(weights: tuple[float, ...], means_ms: tuple[float, ...], *, blocks: int, seed: int) -> list[Block]:
    """Three runs of each shape a block, log-normal around its mean by 10 %."""
    generator = np.random.default_rng(seed)
    order = tuple(index for index in range(len(weights)) for _ in range(3))
    return [
        Block(
            latency_ns=tuple(int(means_ms[shape] * MS * math.exp(generator.normal(0, 0.1))) for shape in order),
            shapes=order,
        )
        for _ in range(blocks)
    ]


# A block's value


def test_a_block_is_worth_the_medians_of_its_shapes_by_their_shares() -> None:
    # Medians 20 and 100: 0.75 x 20 + 0.25 x 100 = 40. Means 30 and 100: 47.5.
    block = Block(latency_ns=(10, 100, 20, 60, 100, 100), shapes=(0, 1, 0, 0, 1, 1))

    assert mixture_value(block, (0.75, 0.25), Objective.LATENCY) == pytest.approx(math.log(40))
    assert mixture_value(block, (0.75, 0.25), Objective.THROUGHPUT) == pytest.approx(math.log(47.5))


def test_a_shape_that_was_not_run_has_no_time() -> None:
    with pytest.raises(EvidenceError):
        mixture_value(Block(latency_ns=(10, 20), shapes=(0, 0)), (0.5, 0.5), Objective.LATENCY)


# Percentiles


def test_a_run_stands_for_its_shapes_share_and_not_for_how_often_it_was_run() -> None:
    # As many runs of each, but nine calls of ten are short: p50 is a short one, and p95 a long one.
    blocks = [Block(latency_ns=(10, 11, 1000, 1001), shapes=(0, 0, 1, 1))] * 200

    assert mixture_quantile([blocks], (0.9, 0.1), 0.5).value_ns == 11
    assert mixture_quantile([blocks], (0.9, 0.1), 0.9).value_ns == 11
    assert mixture_quantile([blocks], (0.9, 0.1), 0.95).value_ns == 1000
    assert mixture_quantile([blocks], (0.1, 0.9), 0.5).value_ns == 1000


def test_equal_shares_and_equal_numbers_of_runs_are_the_usual_quantile() -> None:
    blocks = drawn((0.5, 0.5), (2.0, 5.0), blocks=300, seed=0)
    runs = np.array([run for block in blocks for run in block.latency_ns])

    found = mixture_quantile([blocks], (0.5, 0.5), 0.9)

    assert found.value_ns == pytest.approx(np.quantile(runs, 0.9), rel=0.01)


def test_the_band_holds_the_true_percentile_about_as_often_as_it_says() -> None:
    weights, means, q = (0.5, 0.3, 0.2), (2.0, 5.0, 9.0), 0.9
    many = drawn(weights, means, blocks=40_000, seed=99)
    truth = mixture_quantile([many], weights, q).value_ns
    assert truth is not None
    bands = [mixture_quantile([drawn(weights, means, blocks=60, seed=seed)], weights, q) for seed in range(200)]

    inside = sum(
        one.low_ns is not None and one.high_ns is not None and one.low_ns <= truth <= one.high_ns for one in bands
    )

    assert inside >= 0.93 * len(bands)


def test_a_percentile_without_evidence_is_not_known_and_says_what_is_missing() -> None:
    few = mixture_quantile([drawn((0.5, 0.5), (2.0, 5.0), blocks=4, seed=1)], (0.5, 0.5), 0.99)
    rare = mixture_quantile([drawn((0.99, 0.01), (2.0, 5.0), blocks=70, seed=1)], (0.99, 0.01), 0.99)

    assert few.value_ns is None
    assert few.missing_runs > 300
    assert rare.missing_runs > 0, "420 runs, but half of them say nothing of 99 calls in 100"


def test_no_runs_have_no_percentile() -> None:
    with pytest.raises(EvidenceError, match="no runs"):
        mixture_quantile([[]], (0.5, 0.5), 0.5)


# Readings


def test_each_shape_has_its_own_percentiles_and_all_have_an_expected_time() -> None:
    blocks = [Block(latency_ns=(10, 110, 12, 90, 11, 100), shapes=(0, 1, 0, 1, 0, 1))] * 3

    found = timings([blocks], shapes_of(0.8, 0.2), levels=(0.5, 0.99))

    assert [part.median_ns for part in found.shapes] == [11, 100]
    assert found.call_ns == pytest.approx(0.8 * 11 + 0.2 * 100)
    assert [part.first_seen_ns for part in found.shapes] == [0, 10], "what was seen before is kept"
    assert [quantile.q for quantile in found.quantiles] == [0.5, 0.99]


def test_without_shapes_the_typical_call_is_the_median() -> None:
    found = timings([[Block(latency_ns=(10, 30, 20))]], (), levels=(0.5,))

    assert (found.call_ns, found.shapes) == (20, ())
