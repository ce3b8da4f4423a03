import pytest

from infer_opt.cli.options import parse_latency
from infer_opt.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "wanted_ns"),
    [("20", 20e6), ("20ms", 20e6), (" 1.5 MS ", 1.5e6), ("800us", 8e5), ("800µs", 8e5), ("2s", 2e9)],
)
def test_a_latency_without_a_unit_is_in_milliseconds(text: str, wanted_ns: float) -> None:
    assert parse_latency(text) == pytest.approx(wanted_ns)


@pytest.mark.parametrize("text", ["", "0", "0ms", "-1", "fast", "20m", "1e3"])
def test_what_is_no_latency_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a latency"):
        parse_latency(text)
