"""`infer-opt monitor --recordings` and `--replay`: what was kept of earlier sessions, listed and shown again."""

import time
from collections.abc import Iterator, Mapping, Sequence

from infer_opt.readings.catalogue import Unit
from infer_opt.readings.samples import Observation
from infer_opt.readings.summaries import Tallies
from infer_opt.readings.texts import text_of
from infer_opt.reports.monitor import Session
from infer_opt.reports.quantities import elapsed
from infer_opt.store.recordings import Recording, StoredRecording

FASTEST_S = 0.05  # between two samples on the screen


class Replay:
    """A recording in place of a machine: it gives one observation after the other, as a session of the monitor does."""

    def __init__(self, recording: Recording, *, speed: float = 1.0) -> None:
        """Arguments:
        speed: how much faster than it was the screen is to show it.
        """
        self._recording = recording
        self._waiting = recording.observations()
        self._tallies, self._seen = Tallies(), 0
        self._first_s: float | None = None
        self._last_s = 0.0
        self.interval_s = max(FASTEST_S, recording.interval_s / speed)

    @property
    def title(self) -> str:
        """What was watched, and that this is a replay."""
        return f"replay {self._recording.id} · {self._recording.about.get('title', '')}"

    @property
    def recording(self) -> str | None:
        """None: a replay is not recorded."""
        return None

    @property
    def gpu_names(self) -> Mapping[str, str]:
        """None are known: the devices may be another machine's."""
        return {}

    def next(self) -> Observation | None:
        """The next observation; None after the last.

        Raises:
            StorageError: the recording is damaged from here on.
        """
        observation = next(self._waiting, None)
        if observation is not None:
            sample = observation.sample
            self._first_s = sample.at_s if self._first_s is None else self._first_s
            self._last_s, self._seen = sample.at_s, self._seen + 1
            self._tallies.add(sample)
        return observation

    def observations(self) -> Iterator[Observation]:
        """All that are left, without waiting."""
        while (observation := self.next()) is not None:
            yield observation

    def stop(self, pid: int) -> str:
        """Nothing: what a recording shows is over."""
        return f"process {pid} is one of a recording: it is not ended"

    def session(self) -> Session:
        """What there was to be seen in the part that was shown."""
        about, summary = self._recording.about, self._recording.summary
        cut_off = ("the recording was cut off: it ends where its process did",) if self._recording.was_cut_off else ()
        return Session(
            began_s=self._first_s or 0.0,
            ended_s=self._last_s,
            samples=self._seen,
            courses=self._tallies.courses(),
            findings=self._recording.findings,
            alerts=self._recording.alerts,
            notices=(*self._recording.notices, *cut_off),
            command=about.get("command"),
            exit_code=None if summary is None else summary.get("exit_code"),
        )


def listing(found: Sequence[StoredRecording]) -> str:
    """One line a recording, the newest first."""
    from tabulate import tabulate

    if not found:
        return "No session is recorded yet: infer-opt monitor --record keeps one."
    rows = [
        [
            one.id,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(one.started_ms / 1000)),
            elapsed((one.saved_ms - one.started_ms) / 1000),
            one.samples,
            text_of(one.size_bytes, Unit.BYTES),
            one.state.value,
            one.about.get("title", ""),
        ]
        for one in found
    ]
    return tabulate(rows, headers=["id", "began", "length", "samples", "size", "state", "of"], tablefmt="simple")
