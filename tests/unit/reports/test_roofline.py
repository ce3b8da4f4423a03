import dataclasses

import pytest

from infer_opt.profiles.roofline import Roofline
from infer_opt.reports.roofline import ceilings_line, farthest_nodes, lines, operations_per_s, table
from made_profiles import made_profile, made_roofline


def test_the_floor_and_how_far_the_model_is_from_it_are_said_first() -> None:
    assert lines(made_profile()) == [
        "The floor on this machine is 71.8 µs; this model is at 1.45x.",
        "With 2 threads, this machine computes at most 100 GOP/s in float32, 400 GOP/s in int8, moves 80.0 GB/s in L2, "
        "15.0 GB/s in memory, and starts a node in 800 ns.",
    ]


def test_what_is_not_counted_is_said_where_it_is_much() -> None:
    partly = dataclasses.replace(made_roofline(), counted_share=0.6)

    said = lines(dataclasses.replace(made_profile(), roofline=partly))

    assert said[1] == "40 % of the nodes' time is in operators that are not counted: their floor is their launch."


def test_ceilings_that_were_measured_beside_others_say_so() -> None:
    noisy = dataclasses.replace(made_roofline().ceilings, disturbed_by="others", threads=1)

    assert ceilings_line(noisy).startswith("With 1 thread, this machine computes")
    assert ceilings_line(noisy).endswith(", as measured while something else ran.")


def test_a_device_has_no_threads() -> None:
    assert ceilings_line(dataclasses.replace(made_roofline().ceilings, threads=0)).startswith("The device computes")


def test_without_a_roofline_there_is_nothing_to_say() -> None:
    profile = dataclasses.replace(made_profile(), roofline=None)

    assert (lines(profile), table(profile)) == ([], "")


def test_the_nodes_with_most_to_be_won_come_first() -> None:
    assert [times.node.name for times, _ in farthest_nodes(made_profile())] == [
        "/head/Softmax", "/encoder/fc/MatMul", "/encoder/fc/Add",
    ]  # fmt: skip


def test_the_table_shows_time_floor_and_what_binds() -> None:
    shown = table(made_profile(), top=2)

    assert [line.rstrip() for line in shown.splitlines()[1:-1]] == [
        "node                   time    floor  x floor    above  bound by  work",
        "------------------  -------  -------  -------  -------  --------  -------------------------",
        "/head/Softmax       15.0 µs   800 ns    18.8x  14.2 µs  launch    2.56 kOP float32, 4.10 kB",
        "/encoder/fc/MatMul  80.0 µs  70.2 µs    1.14x  9.82 µs  memory    524 kOP float32, 1.05 MB",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    profile = made_profile()
    long = dataclasses.replace(profile.nodes[0], node=dataclasses.replace(profile.nodes[0].node, name="/layer" * 30))
    profile = dataclasses.replace(profile, nodes=(long, *profile.nodes[1:]))

    shown = table(profile, width=width).splitlines()

    assert max(map(len, shown)) <= width
    assert any("…" in line for line in shown)
    assert "x floor" in shown[1]


def test_markdown_keeps_every_column() -> None:
    assert table(made_profile(), width=None).startswith("| node")


def test_a_node_that_is_at_its_floor_has_nothing_to_win() -> None:
    profile = made_profile()
    found = made_roofline()
    at_once = dataclasses.replace(found.nodes[0], floor_ns=90_000.0)
    reached = Roofline(ceilings=found.ceilings, nodes=(at_once, *found.nodes[1:]), floor_ns=0.0, counted_share=1.0)

    shown = dataclasses.replace(profile, roofline=reached)

    assert "/encoder/fc/MatMul" not in table(shown)
    assert "n/a" in lines(shown)[0]  # a floor of nothing is no measure


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (3.71e11, "371 GOP/s"),
        (5.26e12, "5.26 TOP/s"),
        (1.98e15, "1.98 POP/s"),
        (4e5, "400 kOP/s"),
        (40.0, "0.0400 kOP/s"),
    ],
)
def test_rates_have_a_unit_that_fits(rate: float, text: str) -> None:
    assert operations_per_s(rate) == text
