"""Processes: a table of them, and what the chosen ones use together.

Chosen are the processes that the user asked for (roots) and all that descend from them. A process is known by its
number and its start, so a number that is used again is another process. A child stays chosen when its parent ends.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infer_opt.monitors.counters import total
from infer_opt.monitors.files import elsewhere
from infer_opt.monitors.process_files import Details, Identity, Process, ProcessFiles, ProcessSource
from infer_opt.monitors.process_gains import NOBODY, Gains, Seen, gains
from infer_opt.readings.catalogue import key_of
from infer_opt.readings.samples import ProcessReading

TURNS = 8  # reads after which every process that is of no interest was looked at again
NO_DETAILS = Details()
SETTLED_S = 1.0  # at this age a process has started the program that it was made for


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """An identity, and of whom and when it was read."""

    name: str
    start_s: float
    started_s: float
    is_settled: bool
    identity: Identity


class ProcessTable:
    """All processes, or the chosen ones, one read after the other.

    Arguments:
        source: where processes are read; /proc, or what the system has instead, when left out.
        clock: monotonic, for rates.
        time_of_day: Unix time, for when a process was started.
    """

    def __init__(
        self,
        source: ProcessSource | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self._source = _own_source() if source is None else source
        self._clock, self._time_of_day = clock, time_of_day
        # Root -> start of the process that it was when it was first asked for; None where there was none.
        self._bound: dict[int, float | None] = {}
        self._everything = False
        self._seen: dict[int, Seen] = {}
        self._gains: dict[int, Gains] = {}
        self._known: dict[int, _Known] = {}
        self._of_no_interest: set[int] = set()
        self._turn = 0
        self._before_s: float | None = None  # by the clock
        self._since_s = float("inf")  # the same moment on the source's scale
        self._passed_s = 0.0

    def read(self, roots: Sequence[int], *, everything: bool) -> tuple[ProcessReading, ...]:
        """The processes now, by number: all of them, or only the chosen ones. Threads of the kernel are left out.

        Rates are None for a process that was not there in the read before, and what was read and written is asked of
        the chosen ones alone.

        Raises:
            OSError: processes cannot be listed.
        """
        now_s, since_s = self._clock(), self._source.now_s()
        found = self._scan(tuple(dict.fromkeys(roots)), everything=everything)
        roots_of = self._choose(found)
        seen = {
            pid: self._look(found[pid], roots_of[pid])
            for pid in sorted(found)
            if not found[pid].is_kernel and (everything or roots_of[pid])
        }
        self._gains = gains(self._seen, seen, since_s=self._since_s)
        self._passed_s = 0.0 if self._before_s is None else now_s - self._before_s
        self._seen, self._before_s, self._since_s = seen, now_s, since_s
        self._of_no_interest = (self._of_no_interest | found.keys()) - seen.keys() - self._bound.keys()
        self._known = {pid: self._identify(each.process, since_s) for pid, each in seen.items()}
        return tuple(self._reading(pid, each) for pid, each in seen.items())

    def chosen(self) -> tuple[int, ...]:
        """The chosen processes of the last read that are alive."""
        return tuple(pid for pid, seen in self._seen.items() if seen.roots and seen.process.is_alive)

    def gone(self) -> tuple[int, ...]:
        """Roots that have ended, by the last read; what descends from them may be alive."""
        alive = {pid for pid in self.chosen() if self._is_root(self._seen[pid].process)}
        return tuple(root for root in self._bound if root not in alive)

    def ended(self) -> tuple[int, ...]:
        """Roots that have ended with all that descended from them, by the last read."""
        alive = {root for pid in self.chosen() for root in self._seen[pid].roots}
        return tuple(root for root in self._bound if root not in alive)

    def sums(self) -> dict[str, float | None]:
        """What the chosen processes of the last read use together, and each root's tree where there are several.

        What may not be asked of a process (somebody else's) is left out of the sum.
        """
        chosen = [(seen, self._gains[pid]) for pid, seen in self._seen.items() if seen.roots]
        readings = self._sum(None, chosen)
        for root in self._bound if len(self._bound) > 1 else ():
            readings |= self._sum(root, [(seen, gained) for seen, gained in chosen if root in seen.roots])
        return readings

    def _scan(self, roots: tuple[int, ...], *, everything: bool) -> dict[int, Process]:
        """Everybody of interest, and in turn those who were of none: their number may be somebody else's now."""
        if roots != tuple(self._bound) or everything != self._everything:
            self._of_no_interest, self._everything = set(), everything
        self._turn += 1
        present = self._source.pids()
        self._of_no_interest.intersection_update(present)
        found: dict[int, Process] = {}
        for pid in present:
            if pid in self._of_no_interest and (pid + self._turn) % TURNS:
                continue
            process = self._source.process(pid)
            if process is not None:
                found[pid] = process
        self._bound = {
            root: self._bound[root] if root in self._bound else found[root].start_s if root in found else None
            for root in roots
        }
        return found

    def _choose(self, found: Mapping[int, Process]) -> dict[int, frozenset[int]]:
        """The roots that each process descends from, itself among them."""
        if not self._bound:
            return dict.fromkeys(found, NOBODY)
        roots_of: dict[int, frozenset[int]] = {}
        for pid in found:
            above, climbed = pid, []
            while above in found and above not in roots_of:
                climbed.append(above)
                roots_of[above] = NOBODY  # ends the climb, should parents ever go in a circle
                above = found[above].parent_pid
            roots = roots_of.get(above, NOBODY)
            for below in reversed(climbed):
                roots = roots_of[below] = roots | self._own_roots(found[below])
        return roots_of

    def _own_roots(self, process: Process) -> frozenset[int]:
        """The roots that a process has whoever its parent is now: itself, and those above before its parent ended."""
        own = frozenset({process.pid}) if self._is_root(process) else NOBODY
        last = self._seen_before(process)
        return own if last is None else own | (last.roots & self._bound.keys())

    def _is_root(self, process: Process) -> bool:
        return self._bound.get(process.pid) == process.start_s

    def _seen_before(self, process: Process) -> Seen | None:
        last = self._seen.get(process.pid)
        return last if last is not None and last.process.start_s == process.start_s else None

    def _look(self, process: Process, roots: frozenset[int]) -> Seen:
        if not roots:
            return Seen(process=process, details=NO_DETAILS)
        details, last = self._source.details(process), self._seen_before(process)
        if last is not None and not process.is_alive and details.read_bytes is None:
            details = last.details  # what it was seen to have used before it ended
        return Seen(process=process, details=details, roots=roots)

    def _identify(self, process: Process, now_s: float) -> _Known:
        """Command line and user: read once, and again while the process may yet become another program."""
        known = self._known.get(process.pid)
        if known is not None and known.start_s != process.start_s:
            known = None
        if known is not None and ((known.is_settled and known.name == process.name) or not process.is_alive):
            return known
        return _Known(
            name=process.name,
            start_s=process.start_s,
            started_s=self._time_of_day() - now_s + process.start_s if known is None else known.started_s,
            is_settled=now_s - process.start_s >= SETTLED_S,
            identity=self._source.identity(process.pid),
        )

    def _reading(self, pid: int, seen: Seen) -> ProcessReading:
        process, known, gained = seen.process, self._known[pid], self._gains[pid]
        return ProcessReading(
            pid=pid,
            name=process.name,
            parent_pid=process.parent_pid,
            command=known.identity.command,
            user=known.identity.user,
            state=process.state,
            started_s=known.started_s,
            cpu_cores=self._rate(gained.cpu_s),
            rss_bytes=process.rss_bytes,
            threads=process.threads,
            read_bytes_per_second=self._rate(gained.read_bytes),
            written_bytes_per_second=self._rate(gained.written_bytes),
            is_chosen=bool(seen.roots),
        )

    def _rate(self, gained: float | None) -> float | None:
        return None if gained is None or self._passed_s <= 0 else gained / self._passed_s

    def _sum(self, root: int | None, chosen: Sequence[tuple[Seen, Gains]]) -> dict[str, float | None]:
        alive = [seen for seen, _ in chosen if seen.process.is_alive]
        used = [gained for _, gained in chosen]
        sums = {
            "count": len(alive) if self._bound else None,  # None: nobody was asked for
            "cpu_cores": self._rate(total(gained.tree_cpu_s for gained in used)),
            "rss_bytes": total(seen.process.rss_bytes for seen in alive),
            "threads": total(seen.process.threads for seen in alive),
            "read_bytes_per_second": self._rate(total(gained.read_bytes for gained in used)),
            "written_bytes_per_second": self._rate(total(gained.written_bytes for gained in used)),
            "involuntary_switches_per_second": self._rate(total(gained.switches for gained in used)),
            "major_faults_per_second": self._rate(total(gained.faults for gained in used)),
            "open_files": total(seen.details.open_files for seen in alive),
        }
        return {key_of("process", name, root): value for name, value in sums.items()}


class ProcessMonitor:
    """Readings of the family `process`: of the given processes and all that descend from them.

    With several, each has an instance by its number as well, for its own tree. `table` holds the processes themselves.
    """

    name = "process"

    def __init__(self, table: ProcessTable | None = None) -> None:
        self.table = ProcessTable() if table is None else table

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings, now. Once nobody is left, `count` is 0 and all else None.

        Raises:
            OSError: processes cannot be listed.
        """
        self.table.read(pids, everything=False)
        return self.table.sums()

    def close(self) -> None:
        """Nothing is held open."""


def _own_source() -> ProcessSource:
    psutil = elsewhere(Path("/"))
    if psutil is None:
        return ProcessFiles()
    from infer_opt.monitors.process_elsewhere import PsutilProcesses

    return PsutilProcesses(psutil)
