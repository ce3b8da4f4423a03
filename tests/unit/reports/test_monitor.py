import xml.etree.ElementTree as ET

from infer_opt.readings.findings import Finding, FindingKind
from infer_opt.readings.summaries import Course, Tally
from infer_opt.reports.courses import picture
from infer_opt.reports.monitor import Session, shown, sparkline, summary


def course(key: str, values: list[float]) -> Course:
    tally = Tally(key)
    for second, value in enumerate(values):
        tally.add(float(second), value)
    found = tally.course()
    assert found is not None
    return found


BUSY = course("cpu.busy", [0.0, 0.5, 1.0, 0.5])
MEMORY = course("memory.used_bytes", [1e9, 2e9])
SWAP = course("memory.swap_used_bytes", [0.0, 0.0])
ENERGY = course("gpu[0].energy_joules", [1000.0, 1900.0])


def session(*courses: Course, **changes: object) -> Session:
    return Session(began_s=0.0, ended_s=4.0, samples=4, courses={one.key: one for one in courses}, **changes)  # type: ignore[arg-type]


def test_a_summary_gives_mean_lowest_highest_and_course() -> None:
    text = summary(session(BUSY, MEMORY))

    row = next(line for line in text.splitlines() if line.startswith("cpu.busy"))
    assert row.split() == ["cpu.busy", "50", "%", "0", "%", "100", "%", "▁▅█▅"]


def test_a_course_that_never_moved_from_zero_is_left_out() -> None:
    assert [one.key for one in shown({one.key: one for one in (SWAP, BUSY)})] == ["cpu.busy"]


def test_cores_and_mig_instances_are_left_to_the_data() -> None:
    core, mig = course("cpu[0].busy", [1.0]), course("gpu[0.mig1].memory_used_bytes", [1.0])
    gpu = course("gpu[0].memory_used_bytes", [1.0])

    assert [one.key for one in shown({one.key: one for one in (core, mig, gpu)})] == ["gpu[0].memory_used_bytes"]


def test_energy_is_what_was_used_meanwhile() -> None:
    assert "Energy: 900 J by gpu[0]" in summary(session(ENERGY))


def test_a_command_is_named_with_its_exit_code() -> None:
    text = summary(session(BUSY, command="python train.py", exit_code=3))

    assert text.startswith("python train.py: ended with exit code 3; 4 samples in 4.0 s")


def test_what_was_found_is_told_once() -> None:
    begun = Finding(
        kind=FindingKind.RULE,
        name="steal",
        key="cpu.steal",
        what="a fifth is stolen",
        at_s=1.0,
        since_s=0.0,
        confidence=1.0,
    )
    over = Finding(
        kind=FindingKind.RULE,
        name="steal",
        key="cpu.steal",
        what="over",
        at_s=2.0,
        since_s=0.0,
        confidence=1.0,
        is_over=True,
    )

    assert summary(session(BUSY, findings=(begun, over))).count("steal") == 1


def test_a_sparkline_is_as_long_as_its_points_and_no_longer_than_asked() -> None:
    assert len(sparkline(BUSY)) == 4
    assert len(sparkline(course("cpu.busy", [0.5] * 1000), width=20)) == 20


def test_the_picture_is_one_svg_with_a_chart_for_each_course() -> None:
    drawn = picture([BUSY, MEMORY], title="a < b & c")
    root = ET.fromstring(drawn)

    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2
    assert "a < b & c" in [element.text for element in root.iter()]


def test_a_picture_of_nothing_is_still_a_picture() -> None:
    ET.fromstring(picture([], title="nothing"))
