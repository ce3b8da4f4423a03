import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from golden.tunings import CRASHED, FASTER, NO_FASTER, STOCK, TOO_NOISY, WINNER, result
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.reports.picture import draw
from infer_opt.results import Standing, Tuning

SVG = "{http://www.w3.org/2000/svg}"


def many(count: int) -> Tuning:
    trials = [
        result(TrialConfig(options=SessionOptions(intra_threads=place)), 30.0 * place, score=0.99)
        for place in range(2, count)
    ]
    return replace(
        FASTER,
        standings=(*FASTER.standings, *(Standing(trial=trial, fate=f"fate {place}", reason="") for place, trial in
                                        enumerate(trials))),
    )  # fmt: skip


@pytest.mark.parametrize("tuning", [FASTER, NO_FASTER, TOO_NOISY, many(40)])
def test_the_picture_is_xml_whose_marks_lie_within_it(tuning: Tuning) -> None:
    picture = ElementTree.fromstring(draw(tuning))
    width, height = float(picture.get("width", 0)), float(picture.get("height", 0))

    for mark in picture.iter():
        for name, bound in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height), ("cy", height)):
            assert 0 <= float(mark.get(name, 0)) <= bound


def test_faster_is_to_the_right_and_equal_steps_are_equal_factors() -> None:
    one, two, four = (
        result(TrialConfig(options=SessionOptions(intra_threads=count)), 26.4 / count, score=1.0) for count in (1, 2, 4)
    )
    standings = tuple(Standing(trial=trial, fate="raced", reason="") for trial in (one, two, four))
    picture = ElementTree.fromstring(draw(replace(TOO_NOISY, baseline=STOCK, winner=STOCK, standings=standings)))

    places = sorted({float(dot.get("cx", 0)) for dot in picture.iter(f"{SVG}circle")})

    assert len(places) == 3
    assert places[2] - places[1] == pytest.approx(places[1] - places[0], abs=0.2)


def test_names_and_reasons_are_shown_as_text_and_never_as_markup() -> None:
    hostile = replace(CRASHED, reason='</svg><script>alert("x")</script>')
    tuning = replace(FASTER, standings=(Standing(trial=hostile, fate="failed", reason=hostile.reason),))

    picture = ElementTree.fromstring(draw(tuning))

    assert not list(picture.iter(f"{SVG}script"))
    assert any("</svg><script>" in (text.text or "") for text in picture.iter(f"{SVG}text"))


def test_the_claim_is_drawn_apart_from_the_screen() -> None:
    words = re.findall(r">([^<]+)</text>", draw(FASTER))

    assert words.index("2.31x") < words.index("The screen: first estimates, not claims") < words.index("2.32x")
    assert "The claim, from fresh processes" in words
    assert "The best challenger, from fresh processes" in re.findall(r">([^<]+)</text>", draw(NO_FASTER))


def test_a_crowd_is_cut_and_counted() -> None:
    words = re.findall(r">([^<]+)</text>", draw(many(60)))

    assert any(re.fullmatch(r"Not shown: \d+ slower trials\.", word) for word in words)
    assert WINNER.config.label.split(" · ")[0] in words
