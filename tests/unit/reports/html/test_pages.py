"""What a page holds of a result, section by section, and what it must never do."""

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import pairwise

import pytest

from golden.tunings import (
    AGAINST_BY_SHAPE,
    ALONE,
    BENCHMARK,
    BY_SHAPE,
    CRASHED,
    FASTER,
    NO_FASTER,
    TOO_NOISY,
    WINNER,
)
from html_reading import Element, data_of, read, text_of
from infer_opt.config import Objective
from infer_opt.differences import compare
from infer_opt.profiles.nodes import DeviceActivity, MemoryCourse
from infer_opt.profiles.profile import Profile
from infer_opt.reports import sentences
from infer_opt.reports.html import page as page_module
from infer_opt.reports.html.groups import layer
from infer_opt.reports.html.pages import Reported, render
from infer_opt.results import Block, Caution, Note, Standing
from made_differences import profile as other_profile
from made_differences import slowed
from made_profiles import made_profile
from made_reports import HOSTILE, made_transformer, made_tuning

RESULTS: dict[str, Callable[[], Reported]] = {
    "a full tuning": made_tuning,
    "faster": lambda: FASTER,
    "by shape": lambda: BY_SHAPE,
    "no faster": lambda: NO_FASTER,
    "too noisy": lambda: TOO_NOISY,
    "a comparison": lambda: BENCHMARK,
    "a comparison by shape": lambda: AGAINST_BY_SHAPE,
    "one alone": lambda: ALONE,
    "a small profile": made_profile,
    "a transformer": made_transformer,
    "a bare profile": lambda: bare(),
}
VENDORED = {
    "d3.min.js": "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",
    "d3.LICENSE": "2a6d2d5f32ba0b755ddbc1c833f766e30cdbe6ebe9a6d4e3e24427721f0b63d3",
    "plot.umd.min.js": "4358086467740777dd788d6b27a95cebdbaefdd50c730a3060117073bd7134cb",
    "plot.LICENSE": "4b295e011e0e046170041b5b46f1349393aeceb95797793a55bd21dbb543363a",
}


def bare() -> Profile:
    """A profile of nothing: no node, no memory, no floor."""
    memory = MemoryCourse(alive_bytes=(), peak_index=0, holders=(), weight_bytes=0)
    return replace(made_profile(()), nodes=(), memory=memory, roofline=None, diagnoses=(), trace=())


@cache
def page_of(name: str) -> str:
    return render(RESULTS[name](), measured_ms=1_790_000_000_000, identity="19c2f00d12abcd")


def sections(page: str) -> list[str]:
    return [section.attributes["id"] or "" for section in read(page).all("section")]


def figure(page: str, identity: str) -> Element:
    return next(read(page).all("figure", id=identity))


# Every page


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_is_whole_and_calls_nobody(name: str) -> None:
    root = read(page_of(name))
    policy = next(found for found in root.all("meta") if "http-equiv" in found.attributes).attributes["content"] or ""

    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy and "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert not any(found.attributes.get("src") for found in root.all())
    assert [found.name for found in root.all() if found.name in ("link", "iframe", "img", "object", "form")] == []
    links = [found.attributes["href"] or "" for found in root.all("a")]
    assert links and all(link.startswith("#") for link in links)
    style = next(root.all("style")).text
    assert "url(" not in style and "@import" not in style


@pytest.mark.parametrize("name", RESULTS)
def test_every_script_of_a_page_is_named_by_the_policy_and_no_other(name: str) -> None:
    root = read(page_of(name))
    scripts = [found.text for found in root.all("script") if "type" not in found.attributes]
    content = next(found for found in root.all("meta") if "http-equiv" in found.attributes).attributes["content"] or ""

    assert content == page_module.policy(scripts)
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/]{43}='", content)) == len(scripts) == 4


@pytest.mark.parametrize("name", RESULTS)
def test_a_page_can_be_read_by_its_structure(name: str) -> None:
    root = read(page_of(name))
    identities = [found.attributes["id"] for found in root.all() if "id" in found.attributes]

    assert next(root.all("html")).attributes["lang"] == "en"
    assert [found.name for found in root.all() if found.name in ("header", "nav", "main", "footer")] == [
        "header", "nav", "main", "footer",
    ]  # fmt: skip
    assert len(list(root.all("h1"))) == 1
    assert len(identities) == len(set(identities))
    levels = [int(found.name[1]) for found in root.all() if re.fullmatch("h[1-6]", found.name)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    named = {found.attributes["aria-labelledby"] for found in root.all() if "aria-labelledby" in found.attributes}
    targets = {(found.attributes["href"] or "")[1:] for found in root.all("a")}
    assert named | targets <= set(identities)


@pytest.mark.parametrize("name", RESULTS)
def test_every_chart_has_a_title_a_summary_and_its_data_as_a_table(name: str) -> None:
    page = page_of(name)
    data = data_of(page)["figures"]

    assert {found.attributes["id"] for found in read(page).all("figure")} == set(data)
    for found in read(page).all("figure"):
        details = next(found.all("details"))
        tables = list(details.all("table"))
        assert next(found.all("h3")).text and len(next(next(found.all("figcaption")).all("p")).text) > 10
        assert tables and all(list(next(table.all("tbody")).all("tr")) for table in tables)
        assert all(next(table.all("caption")).text for table in tables)


@pytest.mark.parametrize("name", RESULTS)
def test_every_row_of_a_table_has_a_cell_for_each_heading(name: str) -> None:
    for table in read(page_of(name)).all("table"):
        headings = list(next(table.all("thead")).all("th"))
        rows = [
            [cell for cell in row.children if isinstance(cell, Element)] for row in next(table.all("tbody")).all("tr")
        ]
        assert {len(row) for row in rows} <= {len(headings)}
        assert all(heading.attributes["scope"] == "col" for heading in headings)
        assert all(row[0].name == "th" and row[0].attributes["scope"] == "row" for row in rows)


@pytest.mark.parametrize("name", RESULTS)
def test_nothing_unknown_reads_as_a_number(name: str) -> None:
    text = text_of(page_of(name))

    assert not re.search(r"\b(nan|None|inf)\b", text)


def test_a_page_says_when_it_was_measured_and_what_the_store_calls_it() -> None:
    text = text_of(page_of("faster"))

    assert "result 19c2f00d12abcd" in text
    assert re.search(r"measured on \d{4}-\d\d-\d\d at \d\d:\d\d", text)


@pytest.mark.parametrize("build", [lambda: made_tuning(path=HOSTILE), lambda: replace(BENCHMARK, subject=HOSTILE),
                                   lambda: replace(made_transformer(), subject=HOSTILE)])  # fmt: skip
def test_a_name_from_outside_is_never_a_script(build: Callable[[], Reported]) -> None:
    page = render(build())

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.onnx" in page
    assert len(list(read(page).all("script"))) == 5
    assert HOSTILE in text_of(page)


def test_the_libraries_are_those_that_were_released_and_carry_their_licences() -> None:
    folder = files("infer_opt.reports.html") / "assets" / "vendored"
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.is_file()}

    assert found == VENDORED
    for name, words in (("d3.min.js", "d3js.org v7.9.2"), ("plot.umd.min.js", "plot v0.6.17")):
        text = (folder / name).read_text(encoding="utf-8")
        assert words in text[:100]
        assert "</script" not in text and "<!--" not in text and "\r" not in text
    page = page_of("faster")
    assert "Copyright 2020-2025 Observable, Inc." in page and "Permission to use, copy, modify" in page


def test_a_page_stays_light_with_thousands_of_runs_and_trials() -> None:
    tuning = made_tuning()
    many = tuple(Block(latency_ns=tuple(range(10**7, 10**7 + 2000))) for _ in range(400))
    standings = tuple(tuning.standings[place % len(tuning.standings)] for place in range(2000))
    found = replace(
        tuning,
        baseline=replace(tuning.baseline, blocks=many),
        winner=replace(tuning.winner, blocks=many),
        standings=standings,
    )

    page = render(found)

    assert len(page.encode()) < 5_000_000
    assert "Raw run times, every 14th (CSV)" in page
    assert "All but the 1,600 slowest trials (JSON)" in page
    assert len(data_of(page)["downloads"][0]["content"]["trials"]) == 400


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


# A benchmark


def test_a_comparison_begins_with_its_claim_and_shows_both_sides() -> None:
    page = page_of("a comparison")

    assert next(read(page).all("h1")).text == "The bundle's claim holds here: 2.31x faster than stock [2.10 to 2.52]."
    assert sections(page) == [
        "verdict", "latency", "comparison", "readings", "surroundings", "cautions", "measurement", "data",
    ]  # fmt: skip
    series = data_of(page)["figures"]["latency-distribution"]["data"]["series"]
    assert [(one["name"], one["mark"]) for one in series] == [("minilm.onnx", "reference"), ("minilm-tuned", "subject")]


def test_one_model_alone_has_no_comparison() -> None:
    page = page_of("one alone")

    assert "comparison" not in sections(page)
    assert [one["mark"] for one in data_of(page)["figures"]["latency-distribution"]["data"]["series"]] == ["subject"]


# A profile


def test_a_profile_begins_with_what_a_call_takes_and_ranks_what_would_help() -> None:
    page = page_of("a small profile")

    assert next(read(page).all("h1")).text.replace("\u00a0", " ") == (
        "A call takes 104 µs, 80 % of its nodes' time in MatMul; its floor on this machine is 71.8 µs."
    )
    assert sections(page) == [
        "verdict", "diagnoses", "time", "floors", "nodes", "memory", "first", "surroundings", "measurement", "data",
    ]  # fmt: skip


def test_the_diagnosis_that_gains_most_stands_first() -> None:
    profile = made_profile()
    small = replace(profile.diagnoses[0], what="A small thing.", gain_ns=1.0)
    untold = replace(profile.diagnoses[0], what="An untold thing.", gain_ns=None)
    text = text_of(render(replace(profile, diagnoses=(untold, small, *profile.diagnoses))))

    order = [text.index(words) for words in ("Weights are read from memory", "A small thing.", "An untold thing.")]
    assert order == sorted(order)


def test_the_roofline_has_each_counted_node_below_its_ceilings() -> None:
    data = data_of(page_of("a transformer"))["figures"]["roofline"]["data"]
    best = max(one["value"] for one in data["compute"])
    flow = max(one["value"] for one in data["bandwidths"])

    assert len(data["points"]) == 108
    assert all(point["y"] <= min(best, flow * point["x"]) for point in data["points"])
    assert sum(point["share"] for point in data["points"]) == pytest.approx(1.0)


def test_bars_add_up_to_the_time_of_the_nodes_in_every_grouping() -> None:
    profile = made_transformer()
    whole = sum(one.time.value for one in profile.nodes)
    groups = data_of(page_of("a transformer"))["figures"]["time-by-group"]["data"]["groups"]

    assert [group["name"] for group in groups] == ["by operator", "by module", "by layer", "by node"]
    for group in groups:
        assert sum(row["time_ns"] for row in group["rows"]) == pytest.approx(whole)
        assert len(group["rows"]) <= 31


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("encoder.layer.0.attention.query", "encoder.layer.0"),
        ("/blocks.11/mlp/fc1", "blocks.11"),
        ("layer1.0.conv2", "layer1"),
        ("head", "head"),
        ("", "(no module)"),
    ],
)
def test_a_layer_ends_at_the_first_number(module: str, expected: str) -> None:
    assert layer(module) == expected


def test_the_course_of_memory_has_its_peak_and_what_holds_it() -> None:
    page = page_of("a transformer")
    data = data_of(page)["figures"]["memory-course"]["data"]

    assert data["peak"]["y"] == max(point["y"] for point in data["points"])
    assert "h | 2.36 MB" in text_of(page)


def test_a_long_course_is_drawn_by_the_most_of_each_stretch() -> None:
    profile = made_profile()
    alive = tuple(place % 977 for place in range(5000))
    memory = replace(profile.memory, alive_bytes=alive, peak_index=976)
    points = data_of(render(replace(profile, memory=memory)))["figures"]["memory-course"]["data"]["points"]

    assert len(points) <= 1200
    assert max(point["y"] for point in points) == 976, "in bytes"


def test_a_gpus_activity_is_told_where_there_was_one() -> None:
    device = DeviceActivity(
        launches=41, busy_ns=8e5, gaps_ns=2e5, span_ns=1e6, copies=(("host to device", 2, 4096, 900.0),)
    )
    page = render(replace(made_profile(), device=device))

    assert "device" in sections(page) and "device" not in sections(page_of("a small profile"))
    assert "host to device | 2 | 4.10 kB | 900 ns" in text_of(page)


def test_a_profile_beside_another_begins_with_what_differs() -> None:
    subject = other_profile(seed=1, nodes=slowed("soft1", 2.0))
    page = render(subject, difference=compare(subject, other_profile(seed=2), paired=True))

    assert sections(page)[1] == "difference"
    rows = data_of(page)["figures"]["difference-by-group"]["data"]["groups"][0]["rows"]
    assert (rows[0]["name"], rows[0]["clear"]) == ("Softmax", True)
    assert rows[0]["low"] < rows[0]["value"] < rows[0]["high"]
    assert "Softmax accounts for" in text_of(page)


def test_a_profile_that_found_nothing_to_mend_says_so() -> None:
    assert "Nothing stands out: no rule found anything" in text_of(page_of("a bare profile"))


def test_raw_times_of_very_many_nodes_are_left_out_and_that_is_said() -> None:
    profile = made_transformer()
    long = tuple(tuple(range(1000)) for _ in range(5))
    page = render(replace(profile, nodes=tuple(replace(one, raw_ns=long) for one in profile.nodes)))

    assert "Without raw times of nodes (JSON)" in page
    assert len(page.encode()) < 2_000_000


def test_a_profile_of_thousands_of_nodes_stays_light() -> None:
    profile = made_transformer()
    assert profile.roofline is not None
    nodes = tuple(
        replace(one, node=replace(one.node, name=f"{one.node.name}_{copy}"))
        for copy in range(40)
        for one in profile.nodes
    )
    roofline = replace(profile.roofline, nodes=profile.roofline.nodes * 40)

    page = render(replace(profile, nodes=nodes, roofline=roofline))

    assert len(nodes) == 4320
    assert len(page.encode()) < 3_500_000
    assert "Everything (JSON)" not in page


def test_cautions_of_every_kind_are_listed() -> None:
    notes = tuple(Note(caution=caution, text=f"because of {caution.value}") for caution in Caution)
    page = render(replace(FASTER, notes=notes))
    text = next(read(page).all("section", id="cautions")).text

    assert all(f"because of {caution.value}" in text for caution in Caution if caution is not Caution.FALLBACK)


def test_a_winner_without_readings_of_a_device_shows_what_there_is() -> None:
    assert "peak memory" in text_of(render(replace(FASTER, winner=replace(WINNER, changes=None))))
