"""What each process used between two reads, its children that came and went in between included.

When a parent has waited for a child that ended, the kernel adds all that the child ever used to the parent's counters.
What the child was already seen to have used is taken off again there: it was counted while the child was alive.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from infer_opt.monitors.counters import total
from infer_opt.monitors.host import TICK_S
from infer_opt.monitors.process_files import Details, Process

NOBODY: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A process as one read saw it. `roots` are those that it descends from; empty when it is not chosen."""

    process: Process
    details: Details
    roots: frozenset[int] = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """What a process used since the read before. None where that is not known.

    `cpu_s` is its own; what follows is of chosen processes alone and includes their children that came and went.
    """

    cpu_s: float | None = None
    tree_cpu_s: float | None = None
    faults: float | None = None
    read_bytes: float | None = None
    written_bytes: float | None = None
    switches: float | None = None


# What a process was before it was born.
UNBORN = Seen(
    process=Process(
        pid=0, parent_pid=0, name="", state="", start_s=0.0, cpu_s=0.0, rss_bytes=None, threads=None,
        reaped_s=0.0, faults=0, reaped_faults=0,
    ),
    details=Details(read_bytes=0, written_bytes=0, switches={}),
)  # fmt: skip


def gains(before: Mapping[int, Seen], now: Mapping[int, Seen], *, since_s: float) -> dict[int, Gains]:
    """By process number. One that was not there before counts in full if it was born since (on the source's scale)."""
    ended = _ended(before, now)
    found = {}
    for pid, seen in now.items():
        last = before.get(pid)
        if last is None or last.process.start_s != seen.process.start_s:
            # Starts are rounded down to a tick.
            last = UNBORN if seen.process.start_s > since_s - 2 * TICK_S else None
        found[pid] = Gains() if last is None else _gains(last, seen, ended.get(pid, ()))
    return found


def _ended(before: Mapping[int, Seen], now: Mapping[int, Seen]) -> dict[int, list[Seen]]:
    """Processes that ended, by who may have waited for them: the nearest above that is still there."""
    gone = {
        pid: seen
        for pid, seen in before.items()
        if pid not in now or now[pid].process.start_s != seen.process.start_s
    }  # fmt: skip
    waited: dict[int, list[Seen]] = {}
    for seen in gone.values():
        above, climbed = seen.process.parent_pid, 0
        while above in gone and climbed < len(gone):
            above, climbed = gone[above].process.parent_pid, climbed + 1
        waited.setdefault(above, []).append(seen)
    return waited


def _gains(last: Seen, seen: Seen, ended: Sequence[Seen]) -> Gains:
    then, now = last.process, seen.process
    cpu_s = _growth(then.cpu_s, now.cpu_s)
    if not seen.roots:
        return Gains(cpu_s=cpu_s)  # nothing else is asked of those who were not chosen
    counted_s = _counted(ended, lambda child: total((child.process.cpu_s, child.process.reaped_s)))
    faults = _growth(then.faults, now.faults)
    counted_faults = _counted(ended, lambda child: total((child.process.faults, child.process.reaped_faults)))
    read = _counted(ended, lambda child: child.details.read_bytes)
    written = _counted(ended, lambda child: child.details.written_bytes)
    return Gains(
        cpu_s=cpu_s,
        tree_cpu_s=total((cpu_s, _growth(then.reaped_s, now.reaped_s, counted_s))),
        faults=total((faults, _growth(then.reaped_faults, now.reaped_faults, counted_faults))),
        read_bytes=_growth(last.details.read_bytes, seen.details.read_bytes, read),
        written_bytes=_growth(last.details.written_bytes, seen.details.written_bytes, written),
        switches=_switches(last.details.switches, seen.details.switches),
    )


def _counted(ended: Sequence[Seen], of: Callable[[Seen], float | None]) -> float:
    return (total(of(child) for child in ended) or 0.0) if ended else 0.0


def _growth(before: float | None, now: float | None, counted: float = 0.0) -> float | None:
    # Never below nothing: a parent that did not wait gained nothing, and ticks are rounded.
    return None if before is None or now is None else max(0.0, now - before - counted)


def _switches(before: Mapping[int, int] | None, now: Mapping[int, int] | None) -> int | None:
    """By thread, so that one that ended takes nothing away and one that began counts in full."""
    if before is None or now is None:
        return None
    return sum(
        count - before.get(thread, 0) if count >= before.get(thread, 0) else count for thread, count in now.items()
    )
