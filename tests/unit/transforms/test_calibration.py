from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infer_opt.errors import ModelError
from infer_opt.recipes import Calibration
from infer_opt.transforms import calibration as subject
from infer_opt.transforms.calibration import BINS, Range, calibrate, entropy_range, percentile_range
from infer_opt.transforms.model_files import infer_shapes, load


def histogram(values: Any) -> tuple[Any, Range]:
    full = Range(float(values.min()), float(values.max()))
    return np.histogram(values, bins=BINS, range=(-full.reach, full.reach))[0], full


def test_min_max_is_the_extremes_over_all_feeds(perceptron: Path, tmp_path: Path) -> None:
    model = infer_shapes(load(perceptron))
    feeds = [{"x": np.full((1, 16), value, dtype=np.float32)} for value in (0.5, -3.0, 2.0)]

    ranges = calibrate(model, ["x"], feeds=lambda: feeds, method=Calibration.MINMAX, folder=tmp_path)

    assert ranges == {"x": Range(-3.0, 2.0)}


def test_an_outlier_is_cut_off_by_percentile_and_entropy(random: np.random.Generator) -> None:
    counts, full = histogram(np.append(random.standard_normal(100_000), 100.0))

    assert full.high == 100.0
    assert 3.0 < percentile_range(counts, full).high < 5.0
    assert 3.0 < entropy_range(counts, full).high < 10.0


def test_evenly_spread_values_lose_nothing_to_entropy(random: np.random.Generator) -> None:
    counts, full = histogram(random.uniform(-1, 1, 100_000))

    assert entropy_range(counts, full).high > 0.98


def test_the_zeros_of_a_relu_do_not_pull_the_range_in(random: np.random.Generator) -> None:
    counts, full = histogram(np.maximum(random.standard_normal(100_000), 0))

    cut = entropy_range(counts, full)
    assert cut.low == 0.0
    assert cut.high > 3.0


def test_later_feeds_of_another_size_and_scale_are_counted_too(perceptron: Path, tmp_path: Path) -> None:
    model = infer_shapes(load(perceptron))
    generator = np.random.default_rng(3)
    feeds = [
        {"x": (generator.standard_normal((rows, 16)) * scale).astype(np.float32)}
        for rows, scale in ((1, 1e-6), (500, 1.0), (2, 0.1))
    ]

    ranges = calibrate(model, ["x"], feeds=lambda: feeds, method=Calibration.PERCENTILE, folder=tmp_path)

    assert 2.5 < ranges["x"].high < 5.0


def test_feeds_are_taken_one_at_a_time(perceptron: Path, tmp_path: Path) -> None:
    model = infer_shapes(load(perceptron))
    alive, most = [0], [0]

    class Watched(dict[str, Any]):
        def __del__(self) -> None:
            alive[0] -= 1

    def feeds() -> Iterator[Watched]:
        for _ in range(20):
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            yield Watched(x=np.zeros((1, 16), dtype=np.float32))

    calibrate(model, ["x", "y"], feeds=feeds, method=Calibration.ENTROPY, folder=tmp_path)

    assert most[0] <= 2


def test_the_second_pass_hands_over_few_tensors_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "CHUNK_BYTES", 100)

    assert list(subject._chunks({"a": 60, "b": 60, "c": 30, "d": 500})) == [["a"], ["b", "c"], ["d"]]


def test_no_feeds_is_an_error(perceptron: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs calibration inputs"):
        calibrate(load(perceptron), ["x"], feeds=list, method=Calibration.MINMAX, folder=tmp_path)


def test_a_tensor_that_never_leaves_zero_has_an_empty_range(perceptron: Path, tmp_path: Path) -> None:
    feeds: Callable[[], Any] = lambda: [{"x": np.zeros((1, 16), dtype=np.float32)}]  # noqa: E731

    for method in Calibration:
        assert calibrate(load(perceptron), ["x"], feeds=feeds, method=method, folder=tmp_path) == {"x": Range(0.0, 0.0)}
