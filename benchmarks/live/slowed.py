"""ONNX Runtime with each run made slower by a known share: a busy-wait of that share of the run's own time.

A worker learns of it by `install`, before it opens anything; no release of infer-opt knows these names.
"""

import time
from functools import partial
from pathlib import Path

from infer_opt.config import SessionOptions
from infer_opt.facts import TensorSpec
from infer_opt.measure import Clock
from infer_opt.protocols import Array, Feeds, Session
from infer_opt.results import Placement
from infer_opt.runtimes import RUNTIMES
from infer_opt.runtimes.onnx import OnnxRuntime


class SlowedSession:
    """A session whose runs take `share` longer: it spins, as a slower kernel would."""

    def __init__(self, session: Session, share: float, clock: Clock = time.perf_counter_ns) -> None:
        self._session = session
        self._share = share
        self._clock = clock

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What must be fed."""
        return self._session.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What comes back."""
        return self._session.outputs

    @property
    def placement(self) -> Placement | None:
        """Where the nodes went."""
        return self._session.placement

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """The session's own answer, late."""
        clock = self._clock
        begin = clock()
        answer = self._session.run(feeds)
        end = clock()
        until = end + (end - begin) * self._share
        while clock() < until:
            pass
        return answer

    def close(self) -> None:
        """Give back the session."""
        self._session.close()


class SlowedRuntime(OnnxRuntime):
    """ONNX Runtime, whose sessions are slower by `share`."""

    def __init__(self, share: float) -> None:
        self.share = share

    def open(self, artefact: Path, options: SessionOptions) -> SlowedSession:
        """The session, slowed."""
        return SlowedSession(super().open(artefact, options), self.share)


by_2 = partial(SlowedRuntime, 0.02)
by_3 = partial(SlowedRuntime, 0.03)
by_5 = partial(SlowedRuntime, 0.05)
by_10 = partial(SlowedRuntime, 0.10)

SLOWED = {0.02: "by_2", 0.03: "by_3", 0.05: "by_5", 0.10: "by_10"}  # share -> what opens it


def install() -> None:
    """Make this process know the slowed runtimes. Called in a worker, whose path holds this file's folder then."""
    RUNTIMES.update({f"slowed-{name}": (Path(__file__).stem, name) for name in SLOWED.values()})
