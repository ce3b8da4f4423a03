import numpy as np
import pytest

from infer_opt.config import Workload
from infer_opt.errors import ConfigError
from infer_opt.models.samples import Samples
from infer_opt.protocols import Array, Feeds


def samples(feeds: list[Feeds], *, axes: dict[str, int | None], fixed: int | None = None) -> Samples:
    return Samples(
        feeds=tuple(feeds), batch_axes=axes, fixed_batch=fixed, workload=Workload(), is_synthetic=False, notes=()
    )


def numbered(count: int, *, fixed: int | None = None) -> Samples:
    """Item k is [[k]]."""
    return samples([{"x": np.array([[float(k)]])} for k in range(count)], axes={"x": 0}, fixed=fixed)


def values(batches: tuple[dict[str, Array], ...]) -> list[list[float]]:
    return [batch["x"].ravel().tolist() for batch in batches]


def test_consecutive_items_make_a_batch() -> None:
    assert values(numbered(4).batched(2)) == [[0, 1], [2, 3]]


def test_the_last_batch_is_filled_from_the_first_items() -> None:
    assert values(numbered(5).batched(2)) == [[0, 1], [2, 3], [4, 0]]


def test_fewer_items_than_the_batch_are_repeated() -> None:
    assert values(numbered(3).batched(8)) == [[0, 1, 2, 0, 1, 2, 0, 1]]


def test_a_count_beyond_one_pass_gives_batches_that_differ() -> None:
    batches = values(numbered(4).batched(2, count=4))

    assert batches == [[0, 1], [2, 3], [1, 2], [3, 0]]


def test_a_smaller_count_takes_the_first_ones() -> None:
    assert values(numbered(8).batched(2, count=2)) == [[0, 1], [2, 3]]


def test_a_fixed_batch_allows_no_other() -> None:
    four = numbered(6, fixed=4)

    assert values(four.batched(4)) == [[0, 1, 2, 3], [4, 5, 0, 1]]
    with pytest.raises(ConfigError, match="4 items a call and no other number, got batch 1") as caught:
        four.batched(1)
    assert "--batch 4" in str(caught.value.hint)


def test_ragged_items_go_together_only_with_their_own_length() -> None:
    feeds: list[Feeds] = [{"x": np.full((1, length), length)} for length in (3, 5, 3, 3, 5)]

    batches = samples(feeds, axes={"x": 0}).batched(2)

    assert [batch["x"].shape for batch in batches] == [(2, 3), (2, 5), (2, 3)]


def test_items_are_joined_along_their_own_batch_axis() -> None:
    feeds: list[Feeds] = [{"x": np.full((7, 1, 2), k)} for k in range(2)]

    (batch,) = samples(feeds, axes={"x": 1}).batched(2)

    assert batch["x"].shape == (7, 2, 2)
    assert batch["x"][0, :, 0].tolist() == [0, 1]


def test_items_that_share_another_scalar_stay_apart() -> None:
    feeds: list[Feeds] = [{"x": np.array([[k]]), "rate": np.array(k % 2)} for k in range(4)]

    batches = samples(feeds, axes={"x": 0, "rate": None}).batched(2)

    assert values(batches) == [[0, 2], [1, 3]]
    assert [int(batch["rate"]) for batch in batches] == [0, 1]


def test_a_batch_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 or more, got 0"):
        numbered(2).batched(0)
