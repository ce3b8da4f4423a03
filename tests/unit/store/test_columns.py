import random
from array import array
from collections.abc import Sequence

import pytest

from infer_opt.store.columns import packed, unpacked


def there_and_back(values: Sequence[float], *, single: bool = False) -> list[float]:
    return list(unpacked(packed(array("d", values), single=single), len(values), single=single))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [0.0],
        [7.5] * 100,
        [0.1, 0.2, 0.30000000000000004],
        [float(number) for number in (5, -3, 0, 127, 128, -129, 2**52, 1)],
        [4096.0 * number for number in (7, 9, 3, 3)],
        [2.0**53, 2.0**53 + 2, 1.0],
        [1e300, -1e-300, 5e-324],
        [1_790_000_000.25 + number for number in range(60)],
    ],
    ids=["none", "one", "constant", "real", "whole", "pages", "beyond whole numbers", "extreme", "times"],
)
def test_every_kind_of_column_comes_back_bit_by_bit(values: list[float]) -> None:
    assert there_and_back(values) == values


@pytest.mark.parametrize("seed", range(20))
def test_columns_of_any_numbers_come_back(seed: int) -> None:
    noise = random.Random(seed)
    count = noise.randrange(1, 200)
    values = [
        noise.choice((noise.gauss(0, 1e6), float(noise.randrange(-1000, 1000)), float(noise.getrandbits(53))))
        for _ in range(count)
    ]

    assert there_and_back(values) == values


def test_single_precision_comes_back_where_the_values_have_no_more() -> None:
    values = list(array("f", [0.1, 1 / 3, 1e20, -5.25]))

    assert there_and_back(values, single=True) == values


def test_a_column_that_equals_another_takes_one_byte() -> None:
    values = array("d", [0.1, 0.7, 0.3])

    assert len(packed(values, like=array("d", values))) == 1
    assert unpacked(packed(values, like=values), 3, like=values) == values
    assert len(packed(values, like=array("d", [0.1, 0.7, 0.2]))) > 1


def test_memory_that_changes_by_pages_takes_two_bytes_a_value() -> None:
    noise = random.Random(1)
    values = array("d", (8e9 + 4096 * noise.randrange(-3000, 3000) for _ in range(1000)))

    assert len(packed(values)) < 2.1 * 1000


def test_damaged_columns_are_refused() -> None:
    real, whole = packed(array("d", [0.1, 0.2])), packed(array("d", [300.0, 5.0, 300.0]))

    for data, count in ((b"", 1), (b"?123", 1), (real[:-1], 2), (real, 3), (whole[:-1], 3), (whole, 2), (b"s", 2)):
        with pytest.raises(ValueError, match=r"\w"):
            unpacked(data, count)
