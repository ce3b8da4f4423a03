import pytest

from infer_opt.alerts.quantities import parse_value, show_duration, show_value
from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import Unit


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("85", Unit.CELSIUS, 85.0),
        ("85C", Unit.CELSIUS, 85.0),
        ("85 °C", Unit.CELSIUS, 85.0),
        ("-5C", Unit.CELSIUS, -5.0),
        ("10%", Unit.RATIO, 0.1),
        ("0.1", Unit.RATIO, 0.1),
        ("0", Unit.RATIO, 0.0),
        ("100%", Unit.RATIO, 1.0),
        ("2GB", Unit.BYTES, 2e9),
        ("2 GiB", Unit.BYTES, 2.0 * 2**30),
        ("1.5kB", Unit.BYTES, 1500.0),
        ("1e9", Unit.BYTES, 1e9),
        ("100MB/s", Unit.BYTES_PER_SECOND, 1e8),
        ("5/s", Unit.PER_SECOND, 5.0),
        ("1.5cores", Unit.CORES, 1.5),
        ("1.4GHz", Unit.HERTZ, 1.4e9),
        ("300W", Unit.WATTS, 300.0),
        ("5kJ", Unit.JOULES, 5000.0),
        ("500ms", Unit.SECONDS, 0.5),
        ("30s", Unit.SECONDS, 30.0),
        ("5m", Unit.SECONDS, 300.0),
        ("1h", Unit.SECONDS, 3600.0),
        ("12", Unit.COUNT, 12.0),
    ],
)
def test_values_are_read_in_the_units_that_people_write(text: str, unit: Unit, value: float) -> None:
    assert parse_value(text, unit, of_what="it") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit", "what", "hint"),
    [
        ("2GB", Unit.CELSIUS, "'2GB' is bytes, and it is degrees Celsius", "write it as 85C or 85"),
        ("85C", Unit.RATIO, "'85C' is degrees Celsius, and it is a share", "write it as 10% or 0.1"),
        ("100MB", Unit.BYTES_PER_SECOND, "'100MB' is bytes, and it is bytes a second", None),
        ("10%", Unit.COUNT, "'10%' is a share, and it is a bare number", "write it as a bare number"),
        ("2Gb", Unit.BYTES, "'2Gb' has the unit 'Gb', which is none of it", "did you mean 2GB?"),
        ("9furlongs", Unit.SECONDS, "'9furlongs' has the unit 'furlongs', which is none of it", None),
        ("85", Unit.RATIO, "'85' is not a share of 0 to 1, which it is", "write 85%"),
        ("150%", Unit.RATIO, "'150%' is not a share of 0 to 1, which it is", "it lies between 0 and 100%"),
        ("-1%", Unit.RATIO, "'-1%' is not a share of 0 to 1, which it is", "it lies between 0 and 100%"),
        ("hot", Unit.CELSIUS, "'hot' is not a value of it", "write it as 85C or 85"),
        ("", Unit.CELSIUS, "'' is not a value of it", None),
        ("nan", Unit.CELSIUS, "'nan' is not a value of it", None),
        ("1_000", Unit.COUNT, "'1_000' has the unit '_000', which is none of it", None),
        ("1e999", Unit.BYTES, "'1e999' is too large a number for it", None),
        ("1:30", Unit.SECONDS, "'1:30' has the unit ':30', which is none of it", None),
    ],
)
def test_a_value_in_another_unit_is_refused_with_what_would_be_right(
    text: str, unit: Unit, what: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_value(text, unit, of_what="it")

    assert caught.value.what == what
    assert caught.value.hint
    assert hint is None or caught.value.hint == hint


@pytest.mark.parametrize("unit", list(Unit))
def test_every_unit_can_be_read_and_shown(unit: Unit) -> None:
    assert parse_value("1", unit, of_what="it") == 1.0
    assert show_value(1.0, unit)
    assert show_value(None, unit) == "n/a"
    assert show_value(float("inf"), unit) == "inf"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (91.0, Unit.CELSIUS, "91 °C"),
        (91.54, Unit.CELSIUS, "91.5 °C"),
        (0.0, Unit.CELSIUS, "0 °C"),
        (0.0712, Unit.RATIO, "7.12 %"),
        (0.07, Unit.RATIO, "7 %"),
        (2.1e9, Unit.BYTES, "2.10 GB"),
        (2e9, Unit.BYTES, "2 GB"),
        (999.6e6, Unit.BYTES, "1 GB"),
        (512.0, Unit.BYTES, "512 B"),
        (0.0, Unit.BYTES, "0 B"),
        (3e15, Unit.BYTES, "3,000 TB"),
        (120e6, Unit.BYTES_PER_SECOND, "120 MB/s"),
        (1.41e9, Unit.HERTZ, "1.41 GHz"),
        (1234.0, Unit.COUNT, "1,234"),
        (35.25, Unit.PER_SECOND, "35.2/s"),
        (72.0, Unit.BITS, "0x48"),
        (1.5, Unit.CORES, "1.50 cores"),
    ],
)
def test_values_are_shown_with_three_digits_and_their_unit(value: float, unit: Unit, text: str) -> None:
    assert show_value(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.5, "500 ms"),
        (30.0, "30 s"),
        (60.0, "1 min"),
        (90.0, "1.5 min"),
        (100.0, "100 s"),
        (5400.0, "1.5 h"),
    ],
)
def test_durations_are_shown_as_they_are_written(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text
