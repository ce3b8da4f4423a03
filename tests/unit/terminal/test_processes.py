from dataclasses import replace

import pytest

from infer_opt.readings.samples import ProcessReading
from infer_opt.terminal.inks import Ink, cells, plain
from infer_opt.terminal.processes import (
    Choice,
    Column,
    Row,
    column_at,
    columns_for,
    headings,
    matcher,
    row_line,
    rows_of,
)

GIB = 1 << 30


def process(pid: int, **fields: object) -> ProcessReading:
    values = {"name": f"p{pid}", "user": "alice", "command": f"/bin/p{pid}", "cpu_cores": 0.0, "rss_bytes": 0, **fields}
    return ProcessReading(pid=pid, **values)  # type: ignore[arg-type]


def order(processes: list[ProcessReading], **choice: object) -> list[int]:
    return [row.process.pid for row in rows_of(processes, Choice(**choice))]  # type: ignore[arg-type]


BUSY = [
    process(3, cpu_cores=0.2, rss_bytes=5),
    process(1, cpu_cores=1.7, rss_bytes=9),
    process(2, cpu_cores=None, rss_bytes=7),
]


def test_the_busiest_come_first_and_what_is_not_known_last() -> None:
    assert order(BUSY) == [1, 3, 2]


def test_reversed_the_busiest_come_last_and_what_is_not_known_still_later() -> None:
    assert order(BUSY, is_reversed=True) == [3, 1, 2]


def test_numbers_and_names_rise_and_quantities_fall() -> None:
    assert order(BUSY, sort=Column.PID) == [1, 2, 3]
    assert order(BUSY, sort=Column.MEMORY) == [1, 2, 3]
    assert order([process(1, name="b"), process(2, name="A"), process(3, name="c")], sort=Column.NAME) == [2, 1, 3]


@pytest.mark.parametrize("column", Column)
def test_every_column_can_be_sorted_by_whatever_is_missing(column: Column) -> None:
    bare = ProcessReading(pid=9, name="bare")

    assert sorted(order([*BUSY, bare], sort=column)) == [1, 2, 3, 9]


def test_equals_keep_their_places_from_sample_to_sample() -> None:
    idle = [process(pid) for pid in (5, 3, 9, 1)]

    assert order(idle) == order(list(reversed(idle))) == [1, 3, 5, 9]


def test_disk_is_what_is_read_and_written_together() -> None:
    some = [
        process(1, read_bytes_per_second=1.0, written_bytes_per_second=2.0),
        process(2, read_bytes_per_second=None, written_bytes_per_second=9.0),
        process(3),
    ]

    assert order(some, sort=Column.DISK) == [2, 1, 3]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("", [1, 2, 3]),
        ("PYTHON", [1]),
        ("^2 ", [2]),
        ("bob", [2, 3]),
        ("train|sshd", [1, 3]),
        ("a(b", [2]),
        ("zzz", []),
    ],
)
def test_a_filter_is_a_regular_expression_or_else_text(pattern: str, found: list[int]) -> None:
    processes = [
        process(1, name="python", command="python train.py"),
        process(2, name="odd", user="bob", command="odd a(b"),
        process(3, name="sshd", user="bob", command=None),
    ]

    assert order(processes, pattern=pattern, sort=Column.PID) == found


def test_only_the_chosen_are_shown_when_that_is_asked() -> None:
    assert order([process(1), process(2, is_chosen=True)], only_chosen=True) == [2]


FAMILY = [
    process(1, parent_pid=0),
    process(10, parent_pid=1, cpu_cores=0.1),
    process(11, parent_pid=1, cpu_cores=0.9),
    process(20, parent_pid=10, cpu_cores=0.5),
    process(21, parent_pid=10, cpu_cores=0.6),
    process(30, parent_pid=999),
]


def test_a_tree_has_children_below_their_parents_and_siblings_sorted() -> None:
    rows = rows_of(FAMILY, Choice(is_tree=True))

    assert [(row.branch, row.process.pid) for row in rows] == [
        ("", 1), ("├─", 11), ("└─", 10), ("  ├─", 21), ("  └─", 20), ("", 30),
    ]  # fmt: skip


def test_a_filtered_tree_keeps_the_ancestors_of_what_is_found() -> None:
    assert order(FAMILY, is_tree=True, pattern="p20") == [1, 10, 20]


def test_a_tree_of_chosen_processes_begins_where_their_parents_are_not_shown() -> None:
    chosen = [replace(one, is_chosen=one.pid in (20, 10)) for one in FAMILY]

    assert order(chosen, is_tree=True, only_chosen=True) == [10, 20]


def test_processes_that_are_each_others_parents_are_still_shown() -> None:
    assert order([process(5, parent_pid=6), process(6, parent_pid=5), process(7, parent_pid=7)], is_tree=True) == [
        7,
        5,
        6,
    ]


def test_a_tree_may_be_deeper_than_calls_may_nest() -> None:
    deep = [process(pid, parent_pid=pid - 1) for pid in range(1, 3001)]

    assert order(deep, is_tree=True) == list(range(1, 3001))


@pytest.mark.parametrize("width", range(46, 260, 9))
@pytest.mark.parametrize("has_gpus", [True, False])
@pytest.mark.parametrize("is_tree", [True, False])
def test_rows_and_headings_fill_the_width(width: int, has_gpus: bool, is_tree: bool) -> None:
    widths = columns_for(width, has_gpus=has_gpus, is_tree=is_tree)
    row = Row(process(4194304, name="名前" * 30, command="x" * 400), "  └─" * 9)

    assert cells(row_line(row, widths, width=width)) == width
    assert cells(headings(widths, Choice())) == width


def test_the_more_room_the_more_columns() -> None:
    tiny, small, wide, gpu = (
        columns_for(width, has_gpus=gpus) for width, gpus in ((46, False), (80, False), (140, False), (80, True))
    )

    assert list(tiny) == [Column.PID, Column.NAME, Column.CPU, Column.MEMORY]
    assert {Column.USER, Column.DISK, Column.COMMAND} <= set(small)
    assert Column.THREADS in wide
    assert Column.GPU_MEMORY in gpu
    assert not {Column.GPU_MEMORY, Column.GPU} & set(wide)


def test_what_is_not_available_is_said_so_and_is_never_zero() -> None:
    widths = columns_for(140, has_gpus=True)
    text = plain(row_line(Row(ProcessReading(pid=9, name="bare")), widths, width=140))

    assert text.split() == ["9", "n/a", "bare"] + ["n/a"] * 7


def test_a_row_reads_as_top_writes_it() -> None:
    widths = columns_for(120, has_gpus=False)
    one = process(77, name="python", cpu_cores=1.834, rss_bytes=3 * GIB, threads=12, read_bytes_per_second=2e6)
    text = plain(row_line(Row(one), widths, width=120))

    assert text.split() == ["77", "alice", "python", "183", "3.00", "GiB", "12", "2.00", "MB/s", "/bin/p77"]


def test_a_chosen_process_is_marked_and_a_selected_one_is_one_piece() -> None:
    widths = columns_for(60, has_gpus=False)
    row = Row(process(5, is_chosen=True))

    assert row_line(row, widths, width=60)[0] == ("●", Ink.CHOSEN)
    assert [ink for _, ink in row_line(row, widths, width=60, is_selected=True)] == [Ink.SELECTED]


def test_the_heading_that_is_sorted_by_has_an_arrow() -> None:
    widths = columns_for(80, has_gpus=False)

    assert "CPU %▼" in plain(headings(widths, Choice()))
    assert "CPU %▲" in plain(headings(widths, Choice(is_reversed=True)))
    assert "PID▲" in plain(headings(widths, Choice(sort=Column.PID)))


def test_a_heading_is_found_where_it_stands() -> None:
    widths = columns_for(80, has_gpus=False)
    line = plain(headings(widths, Choice()))

    for column, word in ((Column.PID, "PID"), (Column.NAME, "NAME"), (Column.MEMORY, "MEMORY"), (Column.DISK, "DISK")):
        assert column_at(line.index(word), widths) is column
    assert column_at(0, widths) is None
    assert column_at(500, widths) is None


def test_a_name_that_would_steer_the_terminal_is_made_harmless() -> None:
    widths = columns_for(100, has_gpus=False)
    evil = process(5, name="\x1b[31mevil", command="\x1b]0;title\x07", user="a\nb")

    assert plain(row_line(Row(evil), widths, width=100)).isprintable()


def test_a_matcher_without_a_pattern_takes_everything() -> None:
    assert matcher("")(process(1))
