"""One line of the table of proof: which promise of the measurement, how it was tried, what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from benchmarks.record import Target


class Tier(StrEnum):
    """How a promise is tried: on simulated noise, on recorded traces of processes, or live on this machine."""

    SIMULATED = "simulated"
    REPLAYED = "replayed"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`row` is that of the contract's table of tests, 1 to 12; `setting` says under what noise, model or load.

    `cause` explains a target that was missed, or not measured.
    """

    row: int
    tier: Tier
    setting: str
    target: Target
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one part of the proof gives: its lines of the table, and the figures behind them as plain JSON types."""

    evidence: Sequence[Evidence]
    results: Mapping[str, Any] = field(default_factory=dict)
