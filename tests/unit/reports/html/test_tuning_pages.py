"""What the page of a tuning holds, section by section."""

import math
from dataclasses import replace

import pytest

from golden.tunings import BY_SHAPE, CRASHED, FASTER, NO_FASTER, TOO_NOISY
from html_reading import Element, data_of, read, text_of
from infer_opt.config import Objective
from infer_opt.reports import sentences
from infer_opt.reports.html.pages import render
from infer_opt.results import Block, Standing
from made_pages import page_of, sections
from made_profiles import made_profile
from made_reports import made_tuning

# A tuning


def test_the_verdict_comes_first_in_the_words_of_the_terminal() -> None:
    for tuning in (FASTER, NO_FASTER, TOO_NOISY):
        page = render(tuning)
        assert next(read(page).all("h1")).text.replace("\u00a0", " ") == sentences.headline(tuning)
        assert sections(page)[0] == "verdict"


def test_a_full_tuning_has_every_section() -> None:
    assert sections(page_of("a full tuning")) == [
        "verdict", "answer", "surroundings", "latency", "confirmation", "pareto", "knobs", "trials", "diagnoses",
        "precision", "serving", "cautions", "measurement", "data",
    ]  # fmt: skip


def test_what_is_not_known_has_no_section() -> None:
    blind = replace(TOO_NOISY.baseline, blocks=())
    found = sections(render(replace(TOO_NOISY, baseline=blind, winner=blind)))

    assert not {"latency", "confirmation", "pareto", "knobs", "precision", "serving"} & set(found)
    assert {"answer", "trials", "cautions", "measurement", "data"} <= set(found)


def test_a_fallback_stands_above_the_verdict() -> None:
    main = next(read(page_of("faster")).all("main"))
    first = next(child for child in main.children if isinstance(child, Element))

    assert first.text.startswith("FALLBACK: cuda was asked for")
    assert "fallback" not in [
        found.text for found in next(read(page_of("faster")).all("section", id="cautions")).all("strong")
    ]


def test_the_distribution_reaches_from_nothing_to_all_calls_and_marks_the_percentiles() -> None:
    data = data_of(page_of("a full tuning"))["figures"]["latency-distribution"]["data"]

    assert [series["name"] for series in data["series"]] == ["stock", "winner"]
    for series in data["series"]:
        shares = [share for _, share in series["points"]]
        assert (shares[0], shares[-1]) == (0.0, 1.0)
        assert shares == sorted(shares) and len(shares) <= 402
        assert [one["name"] for one in series["quantiles"]] == ["p50", "p90", "p95", "p99"]
        assert all(one["low"] <= one["value"] <= one["high"] for one in series["quantiles"])
    assert data["unit"] == "ms"


def test_runs_of_several_shapes_count_by_the_shares_of_their_shapes() -> None:
    """One call in two has the first shape, which ran once for each nine runs of the second."""
    shapes = BY_SHAPE.baseline.readings.shapes
    halves = tuple(replace(one, shape=replace(one.shape, weight=0.5)) for one in shapes[:2])
    block_of_ten = Block(latency_ns=(1_000_000, *[9_000_000] * 9), shapes=(0, *[1] * 9))
    stock = replace(
        BY_SHAPE.baseline, blocks=(block_of_ten,), readings=replace(BY_SHAPE.baseline.readings, shapes=halves)
    )
    data = data_of(render(replace(TOO_NOISY, baseline=stock, winner=stock)))["figures"]["latency-distribution"]["data"]

    assert [data["series"][0]["points"][place][1] for place in (1, -1)] == [pytest.approx(0.5), 1.0]


def test_the_proof_shows_each_epoch_with_the_interval_and_the_margin() -> None:
    data = data_of(page_of("faster"))["figures"]["epochs"]["data"]
    comparison = FASTER.comparison
    assert comparison is not None

    assert data["margin"] == comparison.margin
    assert data["speedup"] == {"value": 2.31, "low": 2.10, "high": 2.52}
    assert [row["value"] for row in data["rows"] if row["mark"] == "subject"] == [
        math.exp(-value) for value in comparison.epochs
    ]
    assert [row["epoch"] for row in data["rows"] if row["mark"] == "clone"] == [1, 2, 3, 4]


def test_an_interval_that_is_open_is_none_and_not_a_number() -> None:
    comparison = FASTER.comparison
    assert comparison is not None
    opened = replace(comparison, speedup=replace(comparison.speedup, low=0.0, high=math.inf))

    page = render(replace(FASTER, comparison=opened))

    assert data_of(page)["figures"]["epochs"]["data"]["speedup"]["high"] is None
    assert "no interval yet" in text_of(page)


def test_the_front_says_who_is_on_it_and_names_each_configuration() -> None:
    points = data_of(page_of("a full tuning"))["figures"]["pareto-memory"]["data"]["points"]

    assert [point["mark"] for point in points].count("winner") == 1
    assert [point["mark"] for point in points].count("stock") == 1
    assert any(point["mark"] == "front" and "1 thread" in point["name"] for point in points)
    assert all("an item" in point["detail"] and "parity" in point["detail"] for point in points)


def test_equal_outputs_stand_at_the_end_of_the_axis_of_parity() -> None:
    data = data_of(page_of("a full tuning"))["figures"]["pareto-parity"]["data"]

    assert min(point["y"] for point in data["points"]) == data["least"] == 1e-7


def test_a_knob_is_worth_what_it_was_made_to_be_worth() -> None:
    rows = {row["name"]: row for row in data_of(page_of("a full tuning"))["figures"]["knob-effects"]["data"]["rows"]}

    assert rows["threads: 1"]["value"] == pytest.approx(math.exp(-0.35), rel=0.02)
    assert rows["precision: int8-static minmax"]["value"] == pytest.approx(math.exp(0.62), rel=0.03)
    assert rows["arena: no"]["low"] < 1 < rows["arena: no"]["high"]
    assert rows["threads: 1"]["trials"] == 5


def test_what_was_suspected_of_stock_stands_below_the_trials() -> None:
    page = render(replace(made_tuning(), diagnoses=made_profile().diagnoses))

    assert sections(page).index("diagnoses") == sections(page).index("trials") + 1
    assert "Weights are read from memory once a call" in text_of(page)
    assert "up to 52.0 µs of a call" in text_of(page).replace("\u00a0", " ")


def test_every_trial_and_every_reason_is_in_the_table() -> None:
    table = next(next(read(page_of("faster")).all("section", id="trials")).all("table"))
    rows = list(next(table.all("tbody")).all("tr"))

    assert len(rows) == len(FASTER.standings)
    assert [row.attributes.get("class") for row in rows].count("failed") == 2
    assert "signal 11 (segmentation fault)" in rows[-1].text or "signal 11" in rows[-2].text
    assert rows[0].attributes["class"] == "winner"


def test_a_reason_from_a_library_cannot_break_out_of_its_cell() -> None:
    reason = "</td></table><script>alert(1)</script>\x1b[0m"
    failure = replace(CRASHED, reason=reason)
    tuning = replace(FASTER, standings=(*FASTER.standings[:-1], Standing(trial=failure, fate="failed", reason=reason)))

    page = render(tuning)

    assert len(list(read(page).all("script"))) == 5
    assert "</td></table><script>alert(1)</script> [0m" in text_of(page)


def test_the_data_to_take_away_is_that_of_the_other_formats() -> None:
    downloads = {one["file"]: one for one in data_of(page_of("a full tuning"))["downloads"]}

    assert downloads["tuning.json"]["content"]["verdict"] == "faster"
    assert downloads["trials.csv"]["content"].startswith("configuration,key,fate")
    runs = downloads["runs.csv"]["content"]["series"]
    tuning = made_tuning()
    assert [tuple(found) for found in runs[1]["blocks"]] == [found.latency_ns for found in tuning.winner.blocks]


def test_so_few_trials_that_no_effect_has_an_interval_show_none() -> None:
    assert "knobs" not in sections(page_of("faster"))


@pytest.mark.parametrize(
    ("objective", "first"),
    [
        (Objective.LATENCY, "median of a call"),
        (Objective.THROUGHPUT, "items a second"),
        (Objective.COLD_START, "cold start"),
        (Objective.MEMORY, "peak memory"),
    ],
)
def test_what_was_tuned_for_stands_beside_the_claim(objective: Objective, first: str) -> None:
    facts = next(found for found in read(render(replace(FASTER, objective=objective))).all("dl", **{"class": "facts"}))

    assert [found.text for found in facts.all("dt")][1] == first
