import math
from datetime import UTC

import pytest

from infer_opt.terminal import texts

GIB = 1 << 30


@pytest.mark.parametrize(
    "write",
    [
        texts.share, texts.percent_of_a_core, texts.size, texts.rate, texts.count, texts.per_second, texts.decimal,
        texts.clock, texts.celsius, texts.watts, texts.span, texts.about,
    ],
)  # fmt: skip
def test_what_is_not_known_is_never_a_number(write: object) -> None:
    assert callable(write)
    assert write(None) == "n/a"
    assert write(math.nan) == "n/a"
    assert "0" in write(0.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0 %"), (0.004, "0.4 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (0.373, "37 %"), (1.0, "100 %")],
)
def test_shares_are_percent_and_fit_five_cells(value: float, text: str) -> None:
    assert texts.share(value) == text
    assert len(text) <= 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1.00 KiB"),
        (12.34 * GIB, "12.3 GiB"),
        (999.4 * (1 << 20), "999 MiB"),
        (999.6 * (1 << 20), "0.98 GiB"),
        (3.2 * 1024 * GIB, "3.20 TiB"),
    ],
)
def test_memory_is_in_binary_units_and_fits_eight_cells(value: float, text: str) -> None:
    assert texts.size(value) == text
    assert len(text) <= 8


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B/s"), (950, "950 B/s"), (1_234_000, "1.23 MB/s"), (25.6e9, "25.6 GB/s")]
)
def test_rates_are_in_decimal_units_and_fit_nine_cells(value: float, text: str) -> None:
    assert texts.rate(value) == text
    assert len(text) <= 9


def test_a_part_is_written_in_the_unit_of_its_whole() -> None:
    assert texts.size_of(512 * (1 << 20), 24 * GIB) == "0.50 of 24.0 GiB"
    assert texts.size_of(None, 24 * GIB) == "n/a of 24.0 GiB"
    assert texts.size_of(3 * GIB, None) == "3.00 GiB of n/a"


def test_numbers_of_other_kinds_have_their_units_beside_them() -> None:
    assert (texts.clock(1.98e9), texts.clock(850e6)) == ("1.98 GHz", "850 MHz")
    assert (texts.watts(512.4), texts.celsius(63.6)) == ("512 W", "64 °C")
    assert (texts.count(17), texts.count(9999), texts.count(12_345)) == ("17", "9,999", "12.3 k")
    assert texts.per_second(12_345) == "12.3 k/s"
    assert (texts.decimal(0.75), texts.decimal(12.34), texts.decimal(256.0)) == ("0.75", "12.3", "256")
    assert (texts.percent_of_a_core(0.024), texts.percent_of_a_core(15.997)) == ("2.4", "1600")


def test_a_reading_is_written_in_the_unit_of_the_catalogue() -> None:
    assert texts.number("memory.used_bytes", 2.0 * GIB) == "2.00 GiB"
    assert texts.number("gpu[0].power_watts", 250.0) == "250 W"
    assert texts.number("cpu[3].busy", 0.5) == "50 %"
    assert texts.number("no such reading", 0.5) == "0.50"


def test_lengths_of_time_are_clocks_or_about_so_long() -> None:
    assert (texts.span(753), texts.span(3 * 86400 + 4 * 3600)) == ("0:12:33", "3 d 4:00:00")
    assert [texts.about(s) for s in (12, 200, 7600, 300_000)] == ["12 s", "3 min", "2.1 h", "3.5 d"]
    assert texts.time_of_day(1_700_000_000, UTC) == "22:13:20"
    assert (texts.interval(0.05), texts.interval(60.0)) == ("every 0.05 s", "every 60 s")


def test_a_name_cannot_steer_the_terminal() -> None:
    assert texts.clean("evil\x1b[2J\x07name\n\tend") == "evil·[2J·name  end"
    assert texts.clean("backwards\u202etxt") == "backwards·txt"
    assert texts.clean("schön 日本") == "schön 日本"


@pytest.mark.parametrize("text", ["", "abc", "abcdefghij", "日本語のプログラム", "ab日本語", "…"])
def test_a_text_is_fitted_to_the_cell(text: str) -> None:
    for width in range(12):
        for is_right in (False, True):
            assert texts.width_of(texts.fit(text, width, is_right=is_right)) == width


def test_what_is_cut_off_is_said_so() -> None:
    assert texts.fit("abcdef", 4) == "abc…"
    assert texts.fit("abc", 5, is_right=True) == "  abc"


def test_a_long_text_is_broken_at_blanks_and_within_what_is_longer_than_a_line() -> None:
    assert texts.wrap("memory grows by 12 MiB a minute", 14) == ["memory grows", "by 12 MiB a", "minute"]
    assert texts.wrap("/a/very/long/path/to/it", 10) == ["/a/very/lo", "ng/path/to", "/it"]
    assert texts.wrap("", 10) == []
    for width in range(2, 14):
        assert all(texts.width_of(line) <= width for line in texts.wrap("日本語のプログラム " * 5 + "x" * 40, width))
    assert texts.wrap("ab", 0) == ["ab"]  # no terminal is too narrow to end
