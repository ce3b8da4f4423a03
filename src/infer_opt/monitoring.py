"""`infer-opt monitor`: look at the machine again and again, say what is seen, and tell what came of it at the end."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from infer_opt.alerts.alerting import Alerting
from infer_opt.anomalies.watcher import FINDING_NAMES, Watcher
from infer_opt.errors import AlertError, ConfigError, StorageError
from infer_opt.machine.cpu import cpu_model, logical_cores
from infer_opt.machine.memory import total_bytes
from infer_opt.monitors.sampler import Sampler
from infer_opt.monitors.watched import Watched
from infer_opt.readings.findings import AlertEvent, Finding
from infer_opt.readings.samples import Observation, Sample
from infer_opt.readings.summaries import Tallies
from infer_opt.reports.monitor import Session

if TYPE_CHECKING:
    from infer_opt.prometheus.endpoint import Endpoint
    from infer_opt.store.recorder import Recorder

FASTEST_S, SLOWEST_S = 0.05, 3600.0
MOST_KEPT = 1000  # findings, alerts and notices of a session that its summary can show
ROUNDING_S = 1e-6  # of sums of intervals
PATIENCE_S = 10.0  # for a command that was asked to end


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorRequest:
    """What to watch and what to do with it.

    `for_s` None goes on until it is interrupted, the command ends or the last of `pids` has ended. `everything` lists
    all processes, not the chosen ones alone. `record` keeps the session in the store.
    """

    interval_s: float = 1.0
    for_s: float | None = None
    pids: tuple[int, ...] = ()
    command: str | None = None
    everything: bool = False
    rules: Path | None = None
    record: bool = False
    store: str | None = None
    prometheus: int | None = None
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if not FASTEST_S <= self.interval_s <= SLOWEST_S:
            raise ConfigError(
                f"an interval of {self.interval_s:g} s is not between {FASTEST_S:g} s and {SLOWEST_S:g} s",
                hint="such as --interval 1s; 20 samples a second are the most",
            )
        if self.pids and self.command is not None:
            raise ConfigError("--pid and --command contradict each other", hint="choose one of them")


class Monitoring:
    """One session of the monitor: `next` looks, `rest` waits until it is time to look again, `session` sums up.

    Whoever shows a screen calls `next` by a timer of its own; one call at a time, from any thread.
    """

    def __init__(
        self,
        request: MonitorRequest,
        *,
        sampler: Callable[[], Sampler] = Sampler,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open everything that the request names, and take the sample that rates are counted from.

        Raises:
            ConfigError: a process that does not exist, or a rule that makes no sense.
            UnavailableError: the command cannot be started, or the port is taken.
            StorageError: the session cannot be recorded, or the log of alerts cannot be opened.
        """
        self.request, self.interval_s = request, request.interval_s
        self._clock, self._sleep = clock, sleep
        self._machine = short_name()
        self._tallies, self._watcher = Tallies(), Watcher()
        self._findings, self._alerts = deque[Finding](maxlen=MOST_KEPT), deque[AlertEvent](maxlen=MOST_KEPT)
        self._notices = deque[str](maxlen=MOST_KEPT)
        self._latest: Sample | None = None
        self._seen, self._is_interrupted = 0, False
        self._command: Watched | None = None
        self._recorder: Recorder | None = None
        self._endpoint: Endpoint | None = None
        with ExitStack() as stack:
            self._alerting = stack.enter_context(Alerting(request.rules, finding_names=FINDING_NAMES))
            self._sampler = sampler()
            stack.callback(self._sampler.close)
            self._serve(stack)
            self._record(stack)
            self._roots = self._chosen(stack)
            self._began_s, self._began = time.time(), self._clock()
            self._due = self._began
            self._end = float("inf") if request.for_s is None else self._began + request.for_s
            self._sampler.sample(self._roots, everything=request.everything)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str | None:
        """Where Prometheus finds the readings; None where nobody asked for that."""
        return None if self._endpoint is None else self._endpoint.url

    @property
    def recording(self) -> str | None:
        """The id of the recording that is made; None where none is."""
        return None if self._recorder is None else self._recorder.id

    @property
    def title(self) -> str:
        """The machine in a few words, and what is watched on it."""
        watched = " ".join((self.request.command or "").split()) or ", ".join(
            f"process {pid}" for pid in self.request.pids
        )
        return f"{self._machine} · {watched}" if watched else self._machine

    @property
    def ending(self) -> AlertError | None:
        """The error that says which alert ended the session; None where none did."""
        return self._alerting.error

    @property
    def gpu_names(self) -> Mapping[str, str]:
        """The name of each GPU by its instance; none where there is no GPU."""
        from infer_opt.monitors.nvml import gpus

        return {str(gpu.index): gpu.name for gpu in gpus()}

    def observations(self) -> Iterator[Observation]:
        """One after another, each when it is due, until the session is over."""
        while self.rest() and (observation := self.next()) is not None:
            yield observation

    def rest(self) -> bool:
        """Wait until the next sample is due; False where the session is over before."""
        # Late by more than an interval (a suspended machine, a slow driver): go on from now, do not catch up.
        self._due = max(self._due + self.interval_s, self._clock())
        while (left_s := min(self._due, self._end) - self._clock()) > 0 and not self.is_over():
            if self._command is None:
                self._sleep(left_s)
            else:
                self._command.wait(left_s)
        return self._due <= self._end + ROUNDING_S and not self.is_over()

    def next(self) -> Observation | None:
        """Look now; None when the session is over."""
        if self.is_over():
            return None
        sample = self._sampler.sample(self._roots, everything=self.request.everything, due_s=self._due)
        findings = self._watcher.see(sample)
        alerts = self._alerting.see(sample, findings)
        observation = Observation(
            sample=sample,
            findings=findings,
            alerts=alerts,
            notices=(*self._sampler.notices(), *self._alerting.notices()),
        )
        observation = self._kept(observation)
        self._seen += 1
        self._latest = sample
        self._tallies.add(sample)
        self._findings += findings
        self._alerts += alerts
        self._notices += observation.notices
        return observation

    def stop(self, pid: int) -> str:
        """Ask a process to end, and say in one sentence what came of it."""
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return f"process {pid} has ended already"
        except PermissionError:
            return f"process {pid} is not yours to end"
        return f"process {pid} was asked to end"

    def is_over(self) -> bool:
        """Whether there is nothing more to look at."""
        # The last sample is due when the time is up: half an interval later there is none to wait for.
        is_late = self._clock() - self._end > self.interval_s / 2
        if self._is_interrupted or is_late or self._alerting.exit_code is not None:
            return True
        if self._command is not None:
            return self._command.exit_code() is not None
        return bool(self._roots) and not any(_exists(pid) for pid in self._roots)

    def interrupt(self) -> None:
        """End after the sample at hand; a watched command is asked to end too."""
        self._is_interrupted = True
        if self._command is not None:
            self._command.forward()

    def finish(self) -> Session:
        """End the session, the recording with it, and the command if it runs still; what there was to be seen."""
        if self._command is not None:
            self._command.forward()
        code = None if self._command is None else self._command.wait(PATIENCE_S)
        session = Session(
            began_s=self._began_s,
            ended_s=time.time(),
            samples=self._seen,
            courses=self._tallies.courses(),
            findings=tuple(self._findings),
            alerts=tuple(self._alerts),
            notices=tuple(dict.fromkeys(self._notices)),
            command=self.request.command,
            exit_code=code,
            recording=self.recording,
        )
        if self._recorder is not None:
            said = self._recorder.finish({"samples": session.samples, "exit_code": session.exit_code})
            session = replace(session, notices=(*session.notices, *([] if said is None else [said])))
        return session

    def exit_code(self, session: Session) -> int:
        """What to leave with: that of the alert that ended the session, the watched command's, or 0."""
        return self._alerting.exit_code or session.exit_code or 0

    def _kept(self, observation: Observation) -> Observation:
        """The same, once it is in the recording; what the store has to say about that is among its notices."""
        if self._recorder is None:
            return observation
        try:
            said = self._recorder.add(observation)
        except StorageError as error:
            said = f"{error.what}; the session goes on, and the store is tried again"
        return observation if said is None else replace(observation, notices=(*observation.notices, said))

    def _serve(self, stack: ExitStack) -> None:
        if self.request.prometheus is None:
            return
        from infer_opt.prometheus.endpoint import serve

        self._endpoint = serve(
            self.request.prometheus,
            host=self.request.host,
            latest=lambda: self._latest,
            findings=self._watcher.open,
            alerts=self._alerting.firing,
        )
        stack.callback(self._endpoint.close)

    def _record(self, stack: ExitStack) -> None:
        if not self.request.record:
            return
        from infer_opt.store.database import Store
        from infer_opt.store.recorder import Recorder
        from infer_opt.store.recordings import prune

        store = stack.enter_context(Store.open(self.request.store))
        prune(store)
        about: dict[str, Any] = {"title": self.title, "command": self.request.command, "pids": list(self.request.pids)}
        self._recorder = Recorder.begin(store, about, interval_s=self.request.interval_s)

    def _chosen(self, stack: ExitStack) -> tuple[int, ...]:
        if self.request.command is not None:
            self._command = Watched(self.request.command)
            stack.callback(self._command.close)
            return (self._command.pid,)
        for pid in self.request.pids:
            if not _exists(pid):
                raise ConfigError(f"there is no process {pid}", hint="`ps -e` lists them")
        return self.request.pids


def short_name() -> str:
    """This machine in a few words: `AMD EPYC 9R14, 2 CPUs, 24 GiB`."""
    cpus, memory = logical_cores(), total_bytes()
    parts = [
        cpu_model(),
        f"{cpus} CPU{'s' * (cpus > 1)}",
        *([] if memory is None else [f"{memory / (1 << 30):.0f} GiB"]),
    ]
    return ", ".join(parts)


def _exists(pid: int) -> bool:
    """Whether a process is there and no zombie that only waits to be collected."""
    if pid < 1:
        return False
    try:
        return not Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].lstrip().startswith((b"Z", b"X"))
    except OSError:
        if Path("/proc/self").is_dir():
            return False
    import psutil

    return bool(psutil.pid_exists(pid))
