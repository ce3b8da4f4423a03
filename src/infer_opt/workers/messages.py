"""What the coordinating process asks of a worker, and what comes back. All of it crosses by pickle."""

from dataclasses import dataclass
from pathlib import Path

from infer_opt.config import SessionOptions
from infer_opt.facts import TensorSpec
from infer_opt.measure import WarmUpPlan
from infer_opt.recipes import Buckets
from infer_opt.results import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Open a session and run it once. `feeds` is a file of batched inputs, `timed` how many of them rotate.

    `instances` are so many sessions, each on cores of its own. Feeds of several `shapes` lie in turn, and the first of
    each is run once. `inputs` and `outputs` are those of the model as given, by whose dimensions `buckets` are filled.
    """

    runtime: str
    artefact: Path
    options: SessionOptions
    feeds: Path
    timed: int = 16
    instances: int = 1
    shapes: int = 1
    buckets: Buckets = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A cold start in ns, of all instances together, and where the nodes went; what the first call in each shape took.

    `is_pinned` is None for one instance, which is left to the scheduler.
    """

    open_ns: int
    first_run_ns: int
    placement: Placement | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runtime_version: str
    is_pinned: bool | None = None
    first_seen_ns: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Keep the outputs for the first `count` inputs in a file: what others are compared with. Answered with None."""

    path: Path
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Compare the outputs for the first `count` inputs with a recorded file. Answered with a Parity."""

    reference: Path
    tolerance: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckStale:
    """Do outputs change when inputs do, as the reference's do? Answered with a reason, or None when all is well."""

    reference: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """Call the user's metric, `module:function` or `file.py:function`. Answered with a float."""

    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """Warm up. Answered with a WarmUp."""

    plan: WarmUpPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One block, its length planned from what is known about the latency. Answered with a Block."""

    start: int
    after_stop: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run for a while, on rotating inputs. Answered with a Ran: what it uses meanwhile is read from outside."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """So many runs in so many seconds."""

    runs: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Call `module:function` with arguments: for work that may crash or fill memory. Answered with its result."""

    target: str
    arguments: tuple[object, ...] = ()
    keywords: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The answer when a command ended in an error that a user can meet."""

    error: Exception
