import pytest

from infer_opt.cli.options import parse_dims, parse_latency
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


def test_a_dimension_has_one_size_or_several_with_their_shares() -> None:
    dims, distributions = parse_dims(("past=64", "seq=16:0.5,128:0.3,384:0.2", " ids:1 = 8 , 32 "))

    assert dims == {"past": 64}
    assert distributions["seq"] == ((16, 0.5), (128, 0.3), (384, 0.2))
    assert distributions["ids:1"] == ((8, 0.5), (32, 0.5)), "without shares all are equal"


def test_shares_are_made_to_add_up_to_one() -> None:
    _, distributions = parse_dims(("seq=16:1,128:3",))

    assert distributions == {"seq": ((16, 0.25), (128, 0.75))}


@pytest.mark.parametrize("pair", ["seq=16", "seq=16:1", "seq=16:0.2"])
def test_one_size_is_no_distribution_whatever_its_share(pair: str) -> None:
    assert parse_dims((pair,)) == ({"seq": 16}, {})


@pytest.mark.parametrize(
    ("pairs", "part"),
    [
        (("seq",), "--dim seq is not NAME=VALUE"),
        (("=16",), "is not NAME=VALUE"),
        (("seq=",), "is not NAME=VALUE"),
        (("seq=a:1",), "--dim seq=a:1 is not NAME=VALUE"),
        (("seq=16:0.5,",), "is not NAME=VALUE"),
        (("seq=-16:1,8:1",), "is not NAME=VALUE"),
        (("seq=16.5",), "is not NAME=VALUE"),
        (("seq=0:1,8:1",), "is not NAME=VALUE"),
        (("seq=16:0",), "has a share that is not above 0"),
        (("seq=16:0.5,128:-1",), "has a share that is not above 0"),
        (("seq=16:nan,128:1",), "has a share that is not above 0"),
        (("seq=16:inf,128:1",), "has a share that is not above 0"),
        (("seq=16:1e308,128:1e308",), "has a share that is not above 0"),
        (("seq=16:half,128:half",), "has a share that is no number"),
        (("seq=16:,128:1",), "has a share that is no number"),
        (("seq=16:1:2,128:1",), "has a share that is no number"),
        (("seq=16:0.5,128",), "gives a share to some sizes only"),
        (("seq=16:0.5,16:0.5",), "names a size twice"),
        (("seq=16", "seq=32"), "--dim seq is given twice"),
        (("seq=16,32", "seq=32"), "--dim seq is given twice"),
    ],
)
def test_nonsense_is_refused_with_a_hint(pairs: tuple[str, ...], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_dims(pairs)

    assert part in caught.value.what
    assert caught.value.hint
