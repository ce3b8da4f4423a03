import pytest

from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import CATALOGUE, Unit
from infer_opt.readings.texts import digits, text_of, text_of_key


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, Unit.BYTES, "n/a"),
        (float("nan"), Unit.RATIO, "n/a"),
        (0.0, Unit.RATIO, "0 %"),
        (0.004, Unit.RATIO, "0.4 %"),
        (0.999, Unit.RATIO, "100 %"),
        (0.0, Unit.BYTES, "0 B"),
        (999_600.0, Unit.BYTES, "1 MB"),
        (1_250_000_000, Unit.BYTES, "1.25 GB"),
        (3_400_000, Unit.BYTES_PER_SECOND, "3.4 MB/s"),
        (2_100_000_000, Unit.HERTZ, "2.1 GHz"),
        (61.0, Unit.CELSIUS, "61 °C"),
        (250.5, Unit.WATTS, "250 W"),
        (12_345.6, Unit.JOULES, "12.3 kJ"),
        (0.0021, Unit.SECONDS, "2.1 ms"),
        (0x60, Unit.BITS, "0x60"),
        (1.98, Unit.CORES, "1.98"),
        (15_300, Unit.PER_SECOND, "15,300/s"),
    ],
)
def test_a_value_is_written_in_its_unit(value: float | None, unit: Unit, text: str) -> None:
    assert text_of(value, unit) == text


def test_every_unit_can_be_written() -> None:
    for quantity in CATALOGUE.values():
        assert text_of(1.0, quantity.unit)
        assert text_of(None, quantity.unit) == "n/a"


def test_the_unit_is_that_of_the_key() -> None:
    assert text_of_key("gpu[0].power_watts", 90.0) == "90 W"
    with pytest.raises(ConfigError, match=r"no reading gpu\.pover"):
        text_of_key("gpu[0].pover", 90.0)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.0712, "0.0712"), (999.6, "1,000"), (1234.0, "1,230"), (5.0, "5")]
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    assert digits(value) == text
