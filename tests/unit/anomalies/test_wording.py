import pytest

from infer_opt.anomalies.wording import place, said, span, unit_of, when
from infer_opt.readings.catalogue import Unit


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.614, Unit.RATIO, "61.4 %"),
        (3.2e9, Unit.BYTES, "3.2 GB"),
        (512.0, Unit.BYTES, "512 B"),
        (20e6, Unit.BYTES_PER_SECOND, "20 MB/s"),
        (1.41e9, Unit.HERTZ, "1.41 GHz"),
        (83.0, Unit.CELSIUS, "83 °C"),
        (1250.0, Unit.PER_SECOND, "1,250/s"),
        (1.5, Unit.CORES, "1.5 cores"),
        (7.0, Unit.COUNT, "7"),
        (123456.0, None, "123,456"),
        (0.0, Unit.BYTES, "0 B"),
    ],
)
def test_values_are_said_with_their_unit(value: float, unit: Unit | None, words: str) -> None:
    assert said(value, unit) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1.0, "1 second"),
        (45.0, "45 seconds"),
        (119.0, "119 seconds"),
        (600.0, "10 minutes"),
        (3 * 3600.0, "3.0 hours"),
        (4.25 * 86_400.0, "4.2 days"),
    ],
)
def test_times_are_said_as_exactly_as_anybody_needs(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_a_forecast_is_said_in_one_unit() -> None:
    assert when(2400.0, 1500.0, 4200.0) == "in about 40 minutes (25 to 70)"
    assert when(9000.0, 7200.0, None) == "in about 2.5 hours (2.0 or more)"
    assert when(30.0, 20.0, 45.0) == "in about 30 seconds (20 to 45)"


def test_readings_have_the_units_of_the_catalogue_and_other_names_have_none() -> None:
    assert unit_of("gpu[0.mig1].memory_used_bytes") is Unit.BYTES
    assert unit_of("cpu.busy") is Unit.RATIO
    assert unit_of("throughput") is None


@pytest.mark.parametrize(
    ("key", "words"),
    [("gpu[0].utilisation", "GPU 0"), ("cpu.busy", "cpu"), ("filesystem[/home].free_bytes", "/home")],
)
def test_places_are_called_what_people_call_them(key: str, words: str) -> None:
    assert place(key) == words
