"""The journal of a recording: one line of JSON a group, so that a recording that was cut off goes on where it was."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.grid_file import SECONDS, Floats, Grid, RecordedFailure

from infer_opt.config import TrialConfig
from infer_opt.errors import ConfigError
from infer_opt.results import FailureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One process of one configuration. `values` are ln(ns an item), None where a round was lost; the rest seconds."""

    values: tuple[float | None, ...]
    open_s: float
    warm_s: float
    round_s: float
    parity_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A configuration that left: the kind and the reason of its failure, and what it had cost in seconds."""

    kind: str
    reason: str
    cost_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What was live together. Traces, losses and build seconds go by the configuration's place in the space."""

    process: int
    traces: Mapping[int, Trace] = field(default_factory=dict)
    lost: Mapping[int, Lost] = field(default_factory=dict)
    builds: Mapping[int, float] = field(default_factory=dict)
    stock: tuple[float | None, ...] = ()
    clone: tuple[float | None, ...] = ()
    tried: int = 0
    discarded: int = 0
    cost_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Journal:
    """What is recorded so far. Mutable: each finished group is added to the file and here."""

    path: Path
    header: Mapping[str, Any]
    groups: list[Group]

    def add(self, group: Group) -> None:
        """Keep a finished group at once."""
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(group)) + "\n")
        self.groups.append(group)

    def seen(self, process: int) -> set[int]:
        """The configurations that are done with in this process, failed ones among them."""
        return {index for one in self.groups if one.process == process for index in (*one.traces, *one.lost)}

    @property
    def failed(self) -> dict[int, Lost]:
        """Those that failed in the first process: they are not measured again."""
        return {index: lost for one in self.groups if one.process == 0 for index, lost in one.lost.items()}

    @property
    def built(self) -> set[int]:
        """Configurations whose artefact's building was timed."""
        return {index for one in self.groups for index in one.builds}


def open_journal(path: Path, header: Mapping[str, Any]) -> Journal:
    """The journal at `path`, begun now or gone on with.

    `header["plan"]` is what must be equal for a recording to go on.

    Raises:
        ConfigError: it is of another plan.
    """
    lines = _whole_lines(path)
    if not lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(header) + "\n")
        return Journal(path=path, header=header, groups=[])
    known = json.loads(lines[0])
    wanted = json.loads(json.dumps(header["plan"]))
    different = [name for name in wanted if known["plan"].get(name) != wanted[name]]
    if different:
        raise ConfigError(
            f"{path} was begun with another {', '.join(different)}",
            hint="remove it to begin again, or ask for the same",
        )
    return Journal(path=path, header=known, groups=[_group(json.loads(line)) for line in lines[1:]])


def _whole_lines(path: Path) -> list[str]:
    """The lines that were written to their end; what a killed recording left half-written is cut off."""
    if not path.is_file():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return whole.splitlines()


def _group(data: dict[str, Any]) -> Group:
    return Group(
        **data
        | {
            "traces": {int(i): Trace(**one | {"values": tuple(one["values"])}) for i, one in data["traces"].items()},
            "lost": {int(i): Lost(**one) for i, one in data["lost"].items()},
            "builds": {int(i): seconds for i, seconds in data["builds"].items()},
            "stock": tuple(data["stock"]),
            "clone": tuple(data["clone"]),
        }
    )


def pack(journal: Journal, *, processes: int) -> Grid:
    """The first `processes` processes of a recording as a grid."""
    plan = journal.header["plan"]
    configs = tuple(TrialConfig.from_dict(data) for data in plan["configs"])
    groups = [one for one in journal.groups if one.process < processes and one.traces]
    values = np.full((len(configs), processes, plan["rounds"]), np.nan)
    seconds = {name: np.full((len(configs), processes), np.nan) for name in SECONDS}
    members = np.full((len(configs), processes), -1)
    parity_s = np.zeros(len(configs))
    for number, group in enumerate(groups):
        for index, trace in group.traces.items():
            place = index, group.process
            values[place] = _floats(trace.values)
            members[place] = number
            parity_s[index] = max(parity_s[index], trace.parity_s)
            for name in SECONDS:
                seconds[name][place] = getattr(trace, name)
    builds = {index: cost for group in journal.groups for index, cost in group.builds.items()}
    return Grid(
        model=journal.header["model"],
        stock_config=TrialConfig.from_dict(plan["stock"]),
        configs=configs,
        values=values,
        group=members,
        stock=np.array([_floats(group.stock) for group in groups]).reshape(-1, plan["rounds"]),
        clone=np.array([_floats(group.clone) for group in groups]).reshape(-1, plan["rounds"]),
        seconds=seconds,
        parity_s=parity_s,
        build_s={configs[index].recipe: cost for index, cost in sorted(builds.items(), reverse=True)},
        discarded=np.array([group.discarded for group in groups], dtype=np.intp),
        failures={
            index: RecordedFailure(kind=FailureKind(lost.kind), reason=lost.reason, cost_s=lost.cost_s)
            for index, lost in sorted(journal.failed.items())
        },
        cores=journal.header["cores"],
        about=dict(journal.header["about"]) | {"tried_rounds": sum(group.tried for group in groups)},
    )


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
