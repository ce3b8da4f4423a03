"""A finished session of the monitor for a terminal: each reading with its course as a row of blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from infer_opt.readings.catalogue import quantity_of, split
from infer_opt.readings.findings import AlertEvent, AlertState, Finding
from infer_opt.readings.summaries import Course
from infer_opt.readings.texts import text_of
from infer_opt.reports.quantities import elapsed
from infer_opt.reports.samples import alert_line, clock_time, finding_line

BLOCKS = "▁▂▃▄▅▆▇█"
LONGEST = 72  # characters of a command
SPARK = 32  # characters of a course

# What a summary shows first, without instances; all else is in --format jsonl, csv and in a recording.
SHOWN = (
    "process.cpu_cores", "process.rss_bytes", "process.threads", "process.read_bytes_per_second",
    "process.written_bytes_per_second", "gpu.utilisation", "gpu.sm_active", "gpu.memory_used_bytes",
    "gpu.process_memory_bytes", "gpu.power_watts", "gpu.temperature_celsius", "gpu.sm_clock_hertz",
    "cpu.busy", "cpu.steal", "cpu.load_1m", "pressure.cpu_some", "cgroup.throttled", "memory.used_bytes",
    "memory.swap_used_bytes", "pressure.memory_some", "disk.read_bytes_per_second", "disk.written_bytes_per_second",
    "network.received_bytes_per_second", "network.sent_bytes_per_second", "monitor.cpu_cores", "monitor.rss_bytes",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a summary tells of: when it was, how it went, what was found, and what it ended with.

    `command` is what was started and watched, `exit_code` its; `energy_joules` is of each GPU by instance.
    """

    began_s: float
    ended_s: float
    samples: int
    courses: Mapping[str, Course]
    findings: Sequence[Finding] = ()
    alerts: Sequence[AlertEvent] = ()
    notices: Sequence[str] = ()
    command: str | None = None
    exit_code: int | None = None
    recording: str | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return max(0.0, self.ended_s - self.began_s)


def summary(session: Session) -> str:
    """The session as text: one row a reading, then what was found."""
    parts = [_heading(session)]
    rows = [_row(course) for course in shown(session.courses)]
    if rows:
        parts.append(tabulate(rows, headers=["reading", "mean", "lowest", "highest", "course"], tablefmt="simple"))
    energy = [_energy(course) for key, course in session.courses.items() if key.endswith(".energy_joules")]
    parts += ["Energy: " + ", ".join(energy)] if energy else []
    found = [f"  {clock_time(one.at_s)}  {finding_line(one)}" for one in session.findings if not one.is_over]
    fired = [f"  {clock_time(one.at_s)}  {alert_line(one)}" for one in session.alerts if one.state is AlertState.FIRING]
    parts += ["Found\n" + "\n".join(found)] if found else []
    parts += ["Alerts\n" + "\n".join(fired)] if fired else []
    parts += ["Not read\n" + "\n".join(f"  {notice}" for notice in session.notices)] if session.notices else []
    if session.recording is not None:
        parts.append(f"Recorded as {session.recording}: infer-opt monitor --replay {session.recording}")
    return "\n\n".join(parts)


def shown(courses: Mapping[str, Course]) -> list[Course]:
    """The courses that a summary shows, in its order; those that were 0 throughout are left out, but for the first."""
    found: list[Course] = []
    for wanted in SHOWN:
        for key, course in courses.items():
            family, instance, name = split(key)
            plain = instance is None or (family == "gpu" and "." not in instance)
            if f"{family}.{name}" == wanted and plain and (course.high > 0 or not found):
                found.append(course)
    return found


def sparkline(course: Course, width: int = SPARK) -> str:
    """The course as `width` blocks: each the mean of its stretch, from 0 (or its lowest below that) to its highest."""
    means = [mean for _, mean, _, _ in course.points]
    low, high = min(0.0, course.low), course.high
    columns = min(width, len(means))
    text = ""
    for column in range(columns):
        part = means[column * len(means) // columns : max(1, (column + 1) * len(means) // columns)]
        level = (sum(part) / len(part) - low) / (high - low) if high > low else 0.0
        text += BLOCKS[min(len(BLOCKS) - 1, int(level * len(BLOCKS)))]
    return text


def _heading(session: Session) -> str:
    what = f"{session.samples} samples in {elapsed(session.seconds)}"
    if session.command is None:
        return what
    ended = "is still running" if session.exit_code is None else f"ended with exit code {session.exit_code}"
    return f"{short(session.command)}: {ended}; {what}"


def short(command: str) -> str:
    """One line of at most LONGEST characters."""
    line = " ".join(command.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def _row(course: Course) -> list[str]:
    unit = quantity_of(course.key).unit
    values = (course.mean, course.low, course.high)
    return [course.key, *(text_of(value, unit) for value in values), sparkline(course)]


def _energy(course: Course) -> str:
    used = course.high - course.low
    return f"{text_of(used, quantity_of(course.key).unit)} by {course.key.partition('.')[0]}"
