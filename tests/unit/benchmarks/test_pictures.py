"""The pictures of the proof say what the data say, in text that a reader and a search can find."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from benchmarks.simulation.pictures import draw_all, in_hundred, regrets_of

RULES = (
    "mean of 20 after 10 warm-ups",
    "do_bench: median of a stretch",
    "three windows within 10 %",
    "t-test after every round",
    "infer-opt",
)
NOISES = ("Gaussian", "drift and steps")


def contest() -> dict[str, Any]:
    curve = {"seconds": [5.0, 10.0], "found": [0.0, 1.0], "wrong": [0.0, 0.0]}
    return {
        "seconds": 30.0,
        "false_winner": {rule: {noise: {"share": 0.37} for noise in NOISES} for rule in RULES},
        "false_winner_with_time": {rule: {noise: {"share": 0.23} for noise in NOISES} for rule in RULES},
        "coverage": {rule: {noise: {"share": 0.61} for noise in NOISES} for rule in RULES},
        "power": {rule: dict.fromkeys(("0.02", "0.03", "0.05", "0.1"), curve) for rule in RULES},
        "best_of_64_identical": {rule: dict.fromkeys(NOISES, 4.2) for rule in RULES},
    }


LINE = {"strategy": "gp", "grid": "LSTM, 200", "share": 33.9, "median": 0.28, "p95": 1.16}


def words(path: Path) -> str:
    return " ".join(" ".join(element.itertext()) for element in ElementTree.parse(path).iter())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("matplotlib", reason="the pictures need the extra [prove]")
    paths = draw_all(
        contest(), [LINE, LINE | {"strategy": "random", "p95": 41.03}], tmp_path_factory.mktemp("pictures")
    )
    return {path.stem: path for path in paths}


def test_there_is_a_picture_of_each_finding(drawn: dict[str, Path]) -> None:
    assert set(drawn) == {"false_winners", "false_winners_with_time", "coverage", "power", "best_of_64", "regret"}


def test_numbers_and_names_are_text(drawn: dict[str, Path]) -> None:
    assert all(rule in words(drawn["false_winners"]) for rule in RULES)
    assert words(drawn["false_winners"]).count("37") >= len(RULES) * len(NOISES)
    assert "61" in words(drawn["coverage"])
    assert "4.2 %" in words(drawn["best_of_64"])
    assert "random" in words(drawn["regret"])


def test_costs_and_regrets_are_the_percentages_that_the_replay_gives(drawn: dict[str, Path]) -> None:
    found = words(drawn["regret"])

    assert "41 %" in found  # beyond the edge of its panel
    assert "40" in found.split() and not {"1000", "2000", "4000"} & set(found.split())


def test_noises_have_names_for_people(drawn: dict[str, Path]) -> None:
    assert "drifts" in words(drawn["coverage"])
    assert "Gaussian" not in words(drawn["coverage"])


def test_the_page_behind_is_white(drawn: dict[str, Path]) -> None:
    assert all("fill: #ffffff" in path.read_text() for path in drawn.values())


def test_any_sans_serif_font_will_do(drawn: dict[str, Path]) -> None:
    for path in drawn.values():
        assert "sans-serif" in path.read_text()


def test_the_same_data_give_the_same_file(drawn: dict[str, Path], tmp_path: Path) -> None:
    again = {path.stem: path for path in draw_all(contest(), [], tmp_path)}

    assert set(again) == set(drawn) - {"regret"}
    assert all(path.read_bytes() == drawn[name].read_bytes() for name, path in again.items())


def test_the_lines_of_a_replay_are_found_wherever_they_stand() -> None:
    document = {"results": {"grids": [{"name": "x", "strategies": {"gp": LINE}}], "note": "text", "other": [1, 2]}}

    assert regrets_of(document) == [LINE]
    assert regrets_of({"results": {}}) == []


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0"), (0.003, "0.3"), (0.47, "47"), (0.994, "99.4"), (1.0, "100"), (0.015, "2")]
)
def test_shares_are_times_in_a_hundred(share: float, text: str) -> None:
    assert in_hundred(share) == text
