"""What the page of a profile holds, section by section."""

from dataclasses import replace

import pytest

from golden.tunings import FASTER, WINNER
from html_reading import data_of, read, text_of
from infer_opt.differences import compare
from infer_opt.profiles.nodes import DeviceActivity
from infer_opt.reports.html.groups import layer
from infer_opt.reports.html.pages import render
from infer_opt.results import Caution, Note
from made_differences import profile as other_profile
from made_differences import slowed
from made_pages import page_of, sections
from made_profiles import made_profile
from made_reports import made_transformer

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
