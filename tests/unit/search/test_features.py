import math

import numpy as np
import pytest

from infer_opt.config import SessionOptions, Spin, TrialConfig
from infer_opt.recipes import Calibration, Quantisation, Recipe
from infer_opt.search.features import COUNT_SCALE, Knobs, knobs_of

STOCK = TrialConfig()
ONE, TWO, FOUR, EIGHT = (TrialConfig(options=SessionOptions(intra_threads=count)) for count in (1, 2, 4, 8))
DYNAMIC = TrialConfig(recipe=Recipe(quantise=Quantisation()))
STATIC = TrialConfig(recipe=Recipe(quantise=Quantisation(calibration=Calibration.MINMAX)))


def alike(knobs: Knobs, left: TrialConfig, right: TrialConfig) -> tuple[float, float]:
    single, pairs = knobs.alike(knobs.rows([left]), knobs.rows([right]))
    return float(single[0, 0]), float(pairs[0, 0])


def test_only_knobs_that_vary_count() -> None:
    quiet = TrialConfig(options=SessionOptions(spin=Spin.NEVER))

    knobs = knobs_of([STOCK, quiet], cores=4)

    assert [(knob.name, knob.levels) for knob in knobs.varying] == [("spin", (None, Spin.NEVER))]
    assert knobs.levels == 2


def test_quantisation_is_a_knob_for_each_of_its_parts() -> None:
    knobs = {knob.name: knob.levels for knob in knobs_of([STOCK, DYNAMIC, STATIC], cores=4).varying}

    assert knobs["quantised"] == ("none", "dynamic", "static")
    assert knobs["calibration"] == ("none", None, Calibration.MINMAX)
    assert knobs["per_channel"] == ("none", False)


def test_stock_threads_count_as_the_cores_but_are_a_category_of_their_own() -> None:
    knobs = knobs_of([STOCK, ONE, TWO, FOUR], cores=4)

    # Two knobs: the count, where stock and four threads are equal, and whether it was left to the runtime.
    assert [knob.name for knob in knobs.varying] == ["intra_threads", "intra_threads_stock"]
    assert alike(knobs, STOCK, FOUR)[0] == pytest.approx((1 + 0) / 2)
    assert alike(knobs, ONE, TWO)[0] == pytest.approx((math.exp(-1 / COUNT_SCALE) + 1) / 2)


def test_counts_are_less_alike_the_more_doublings_lie_between_them() -> None:
    knobs = knobs_of([ONE, TWO, FOUR, EIGHT], cores=8)

    assert alike(knobs, ONE, TWO)[0] == pytest.approx(alike(knobs, FOUR, EIGHT)[0])
    assert alike(knobs, ONE, EIGHT)[0] == pytest.approx(math.exp(-3 / COUNT_SCALE))


def test_pairs_are_the_mean_of_products_over_pairs_of_knobs() -> None:
    left = TrialConfig(options=SessionOptions(intra_threads=1, arena=False, spin=Spin.RUNS))
    right = TrialConfig(options=SessionOptions(intra_threads=4, arena=False, spin=Spin.RUNS))
    other = TrialConfig(options=SessionOptions(intra_threads=4))
    knobs = knobs_of([left, right, other], cores=4)
    near = math.exp(-2 / COUNT_SCALE)

    single, pairs = alike(knobs, left, right)

    assert single == pytest.approx((near + 1 + 1) / 3)
    assert pairs == pytest.approx((near * 1 + near * 1 + 1 * 1) / 3)


def test_a_configuration_is_like_itself_in_everything() -> None:
    knobs = knobs_of([STOCK, ONE, FOUR, DYNAMIC, STATIC], cores=4)

    assert alike(knobs, STATIC, STATIC) == pytest.approx((1.0, 1.0))


def test_a_level_outside_of_the_space_is_like_no_level_in_it() -> None:
    knobs = knobs_of([STOCK, TrialConfig(options=SessionOptions(spin=Spin.NEVER))], cores=4)
    unknown = TrialConfig(options=SessionOptions(spin=Spin.RUNS))

    assert alike(knobs, STOCK, unknown)[0] == 0.0


def test_likeness_is_positive_semidefinite() -> None:
    configs = [STOCK, ONE, TWO, FOUR, EIGHT, DYNAMIC, STATIC]
    knobs = knobs_of(configs, cores=4)
    rows = knobs.rows(configs)

    for matrix in knobs.alike(rows, rows):
        assert np.linalg.eigvalsh(matrix).min() > -1e-12


@pytest.mark.parametrize("configs", [[STOCK], [STOCK, TrialConfig(options=SessionOptions(arena=False))]])
def test_without_two_knobs_a_configuration_is_still_like_itself(configs: list[TrialConfig]) -> None:
    knobs = knobs_of(configs, cores=4)

    assert len(knobs.varying) == len(configs) - 1
    assert alike(knobs, STOCK, STOCK) == (1.0, 1.0)
