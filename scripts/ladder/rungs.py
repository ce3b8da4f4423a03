"""What is known of each rung, as plain JSON that a later call goes on from, and the rows that it makes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scripts.ladder.arena import Epoch, Seen
from scripts.ladder.contestants import CONTESTANTS, Contestant
from scripts.ladder.floors import Floor, floor_of
from scripts.ladder.work import Work

from infer_opt.results import Estimate
from infer_opt.rig import BASELINE
from infer_opt.stats.intervals import median_interval

Rung = dict[str, Any]
NOT_REACHED = "not reached in the time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One contestant of one rung. `ratio` is its speed over the baseline's; intervals are over fresh processes.

    `share` is the floor over the time, 1 at the floor. `reason` says why there is nothing, or what is missing.
    """

    network: str
    batch: int
    name: str
    title: str
    processes: int = 0
    latency_ns: Estimate | None = None
    ratio: Estimate | None = None
    score: float | None = None
    memory_bytes: int | None = None
    power_watts: float | None = None
    energy_joules: float | None = None
    floor: Floor | None = None
    share: float | None = None
    reason: str | None = None


def new(network: str, batch: int) -> Rung:
    """A rung of which nothing is known."""
    return {"network": network, "batch": batch, "work": None, "epochs": [], "lost": {}, "configurations": {}}


def key_of(rung: Mapping[str, Any]) -> str:
    """`resnet50 at batch 8`."""
    return f"{rung['network']} at batch {rung['batch']}"


def add(rung: Rung, epoch: Epoch) -> None:
    """Keep one epoch, and who was lost in it."""
    seen = {name: _kept(one) for name, one in epoch.seen.items()}
    rung["lost"] |= dict(epoch.lost)
    rung["epochs"].append(
        {
            "seen": seen,
            "rounds": epoch.rounds,
            "discarded": list(epoch.discarded),
            "is_disturbed": epoch.is_disturbed,
            "cost_s": round(epoch.cost_s, 1),
            "marks": {name: list(values) for name, values in epoch.marks.items()},
        }
    )


def _kept(one: Seen) -> dict[str, Any]:
    found = asdict(one)
    parity = found.pop("parity")
    if one.parity is not None:
        found["score"] = one.parity.score
        found["relative_l2"] = max((o["relative_l2"] or 0.0 for o in parity["outputs"]), default=None)
    return {name: value for name, value in found.items() if value not in (None, (), [])}


def processes(rung: Mapping[str, Any], name: str) -> int:
    """In how many epochs a contestant was measured."""
    return sum(name in epoch["seen"] for epoch in rung["epochs"])


def rows(rung: Mapping[str, Any], ceilings: Mapping[str, Any], reasons: Mapping[str, str]) -> list[Row]:
    """A row for each contestant, in the ladder's order. `reasons` say why some of them are nowhere."""
    return [_row(rung, one, ceilings, reasons) for one in CONTESTANTS]


def _row(rung: Mapping[str, Any], one: Contestant, ceilings: Mapping[str, Any], reasons: Mapping[str, str]) -> Row:
    seen = [epoch["seen"][one.name] for epoch in rung["epochs"] if one.name in epoch["seen"]]
    title = one.title + (f": {label}" if (label := rung["configurations"].get(one.name)) else "")
    blank = Row(network=rung["network"], batch=rung["batch"], name=one.name, title=title)
    reason = rung["lost"].get(one.name) or reasons.get(one.name)
    if not seen:
        return _told(blank, reason or NOT_REACHED)
    latency = median_interval([math.log(entry["latency_ns"]) for entry in seen])
    floor = None if rung["work"] is None else floor_of(Work(**rung["work"]), one.precision, ceilings)
    first: dict[str, Any] = next((entry for entry in seen if "score" in entry), {})
    return Row(
        network=blank.network,
        batch=blank.batch,
        name=one.name,
        title=title,
        processes=len(seen),
        latency_ns=latency,
        ratio=None if one.name == BASELINE else _ratio([entry["log_ratio"] for entry in seen]),
        score=first.get("score"),
        memory_bytes=first.get("memory_bytes"),
        power_watts=first.get("power_watts"),
        energy_joules=first.get("energy_joules"),
        floor=floor,
        share=None if floor is None else floor.floor_ns / latency.value,
        reason=reason,
    )


def _told(row: Row, reason: str) -> Row:
    return Row(network=row.network, batch=row.batch, name=row.name, title=row.title, reason=reason)


def _ratio(log_ratios: Sequence[float]) -> Estimate:
    """The baseline's time over the contestant's: above 1 is faster."""
    return median_interval([-value for value in log_ratios])
