"""The lines that are mostly words: findings and their details, the sheet of a process, header, footer and help."""

from dataclasses import replace
from pathlib import Path

import pytest

from fake_source import FakeSource, alert, leak
from infer_opt.readings.samples import Observation
from infer_opt.terminal.details import ProcessSheet
from infer_opt.terminal.findings import draw_details, draw_findings, entry_lines
from infer_opt.terminal.headings import Heading, footer, header
from infer_opt.terminal.inks import Ink, Line, Room, cells, plain
from infer_opt.terminal.keys import GROUPS, KEYS, bindings, help_lines, hint_at, hints
from infer_opt.terminal.ledger import Ledger
from infer_opt.terminal.seen import Seen

ROOT = Path(__file__).parents[3]


def watched(source: FakeSource, samples: int = 10) -> Seen:
    seen = Seen()
    for _ in range(samples):
        observation = source.next()
        assert observation is not None
        seen.add(observation)
    return seen


def found() -> Seen:
    """A machine with an alert that fires, a finding that holds and one that is over."""
    return watched(
        FakeSource(
            findings=[leak(), replace(leak(), name="shift"), replace(leak(), name="shift", is_over=True)],
            alerts=[alert()],
        )
    )


def shown(lines: list[Line]) -> list[str]:
    return [plain(line) for line in lines]


def test_findings_say_what_since_when_and_how_sure() -> None:
    seen = found()
    lines = shown(draw_findings(seen, Room(width=140, height=5), entries=seen.ledger.entries))

    assert lines[0].startswith("╭─ Findings and alerts ─") and lines[0].endswith(" 2 now · 1 over ─╮")
    assert lines[1].startswith(
        "│ ◆ critical gpu-too-hot            gpu[0].temperature_celsius is 91 °C, above 85 °C for 30 s"
    )
    assert lines[1].endswith("since 22:13:22,    7 s       alert │")
    assert lines[2].startswith("│ ▲ warning  memory-leak            memory grows by 12 MiB a minute")
    assert lines[2].endswith("since 22:13:20,    9 s   97 % sure │")
    assert lines[3].startswith("│ ○ warning  shift") and "22:13:20 to 22:13:25" in lines[3]


@pytest.mark.parametrize("width", [20, 40, 60, 79, 110, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 6])
def test_findings_have_exactly_their_width(width: int, height: int) -> None:
    seen = found()
    for selected in (None, 0, 1):
        lines = draw_findings(seen, Room(width=width, height=height), entries=seen.ledger.entries, selected=selected)
        assert len(lines) <= height
        assert {cells(line) for line in lines} == {width}


def test_a_list_without_findings_says_so() -> None:
    assert "nothing was found so far" in shown(draw_findings(Seen(), Room(width=60, height=4), entries=()))[1]


def test_details_hold_all_that_is_known() -> None:
    seen = found()
    entry = next(entry for entry in seen.ledger.entries if entry.name == "memory-leak")
    text = "\n".join(shown(entry_lines(seen, entry, 70)))

    assert "since     22:13:20, 9 s ago" in text
    assert "noticed   22:13:25, 5 s later" in text
    assert "how sure  97 % sure" in text
    assert "forecast  reaches 24.0 GiB in 2.0 h (90 %: 90 min to never)" in text
    assert "causes    1. a cache without a bound" in text
    assert "          2. tensors that are kept between requests" in text


def test_details_of_an_alert_show_the_reading_now() -> None:
    source = FakeSource(gpus=1, alerts=[alert()])
    seen = watched(source, 3)
    text = "\n".join(shown(entry_lines(seen, seen.ledger.entries[0], 70)))

    assert "now       64 °C" in text
    assert "an alert: its rule holds" in text


@pytest.mark.parametrize("width", [20, 37, 70])
def test_details_are_broken_and_not_cut(width: int) -> None:
    seen = found()
    for entry in seen.ledger.entries:
        assert all(cells(line) <= max(20, width) for line in entry_lines(seen, entry, width))
    assert "choose a finding" in shown(draw_details(seen, Room(width=60, height=5), entry=None))[1]


def test_the_sheet_of_a_process_shows_it_and_its_course() -> None:
    seen = watched(FakeSource(gpus=1), 30)
    lines = shown(ProcessSheet(1001).draw(seen, Room(width=100, height=30)))
    text = "\n".join(lines)

    for words in (
        "user      alice",
        "started   21:13:20, 60 min ago",
        "command   /usr/bin/program-1 --with=options",
        "── CPU %, to 200 ─",
        "── Memory, to 48.0 MiB ─",
        "── GPU memory, to",
    ):
        assert words in text, words
    assert len(lines) <= 30
    assert all(len(line) <= 100 for line in lines)


def test_a_process_that_ended_is_shown_as_it_was_last() -> None:
    source = FakeSource()
    seen = watched(source, 5)
    sheet = ProcessSheet(1001)
    sheet.draw(seen, Room(width=80, height=30))
    source.ended.add(1)
    seen.add(Observation(sample=source.sample(5)))
    text = "\n".join(shown(sheet.draw(seen, Room(width=80, height=30))))

    assert "it has ended" in text
    assert "/usr/bin/program-1" in text and "── CPU %" in text
    assert shown(ProcessSheet(4711).draw(seen, Room(width=80, height=30))) == ["it has ended"]


@pytest.mark.parametrize(("width", "height"), [(30, 5), (56, 16), (76, 20), (200, 58)])
def test_the_sheet_of_a_process_fits_where_it_can(width: int, height: int) -> None:
    lines = ProcessSheet(1001).draw(watched(FakeSource(), 5), Room(width=width, height=height))

    assert all(cells(line) <= width for line in lines)
    assert len(lines) <= max(height, 16)


HEADING = Heading(title="epyc, 2 cores, 24 GiB", interval_s=1.0, recording="run.db", is_frozen=True)


def test_the_header_says_what_where_and_when() -> None:
    line = header(found(), 120, HEADING)

    assert cells(line) == 120
    assert plain(line).split("  ")[0].strip() == "infer-opt monitor"
    assert plain(line).endswith("0:00:09  ● rec  every 1 s  frozen  ▲ 1 alert  22:13:29 ")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_a_narrow_header_keeps_the_time_and_what_fires(width: int) -> None:
    line = header(found(), width, HEADING)

    assert cells(line) == width
    assert "22:13:29" in plain(line)
    assert ("▲ 1 alert" in plain(line)) == (width >= 40)


def test_the_header_of_nothing_seen_is_the_machine() -> None:
    assert "epyc, 2 cores, 24 GiB" in plain(header(Seen(), 80, HEADING))


def test_the_footer_has_keys_or_what_is_to_be_said() -> None:
    assert plain(footer(80)).startswith(" q quit  ? help ")
    assert plain(footer(80, notice="a GPU was lost")).strip() == "a GPU was lost"
    assert plain(footer(80, is_filtering=True)) == "/"
    assert all(cells(hints(width)) <= width for width in range(120))


def test_a_hint_is_found_where_it_stands() -> None:
    line = plain(hints(100))

    for word, action in (("quit", "quit"), ("filter", "filter"), ("stop", "stop"), ("tree", "tree")):
        key = hint_at(line.index(word), 100)
        assert key is not None
        assert key.action == action
    assert hint_at(99, 100) is None


def test_every_key_is_in_the_help_and_in_the_documentation() -> None:
    text = "\n".join(shown(help_lines()))
    page = (ROOT / "docs" / "monitor_screen.md").read_text()

    for key in KEYS:
        assert key.what in text
        for name in key.shown.split():
            assert f"`{name}`" in page, name
    assert list(GROUPS) == ["Screen", "Lists", "Processes"]


def test_the_help_fits_a_terminal_of_eighty_columns() -> None:
    assert max(cells(line) for line in help_lines()) <= 76


def test_no_key_is_bound_twice() -> None:
    names = [binding.key for binding in bindings()]

    assert len(names) == len(set(names))


def test_colour_is_never_all_that_tells_how_severe_something_is() -> None:
    ledger = Ledger()
    ledger.add([leak()], [alert()])
    lines = draw_findings(Seen(), Room(width=60, height=2), entries=ledger.entries)

    assert [line[1][0] for line in lines] == ["◆ ", "▲ "]
    assert [line[1][1] for line in lines] == [Ink.CRITICAL, Ink.WARNING]
