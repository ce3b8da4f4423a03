"""A whole profile of a model."""

from dataclasses import dataclass

from infer_opt.config import TrialConfig
from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.profiles.diagnoses import Diagnosis
from infer_opt.profiles.nodes import CallTimes, DeviceActivity, MemoryCourse, NodeTimes
from infer_opt.profiles.roofline import Roofline
from infer_opt.results import Note, Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where a model's time goes on this machine, how far that is from what the machine can do, and what would help.

    `nodes` are in the order of execution. `processes` fresh ones were profiled. `trace` is one steady call in Chrome's
    trace format (a list of events, JSON values), kept so that it can be written later.
    """

    subject: str
    config: TrialConfig
    runtime_version: str
    model: ModelFacts
    machine: MachineFacts
    call: CallTimes
    nodes: tuple[NodeTimes, ...]
    memory: MemoryCourse
    processes: int
    placement: Placement | None = None
    device: DeviceActivity | None = None
    roofline: Roofline | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    notes: tuple[Note, ...] = ()
    trace: tuple[dict[str, object], ...] = ()
