"""What the user asked for, and what tells one request from another."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infer_opt.config import Distribution, Objective, Provider
from infer_opt.errors import ConfigError
from infer_opt.rig import Limits, Rig

VERSIONED = (
    "infer-opt", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "onnx", "onnxslim", "onnxscript", "numpy",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for. `providers` is empty for every one that works here.

    `ready_feeds` stand in for `inputs` where a bundle brings batched inputs of its own. `dims` give a dimension one
    size, `distributions` several with their shares of the calls.
    """

    model: Path
    inputs: Path | None = None
    ready_feeds: Path | None = None
    dims: Mapping[str, int] = dataclasses.field(default_factory=dict)
    batches: tuple[int, ...] = ()
    objective: Objective = Objective.LATENCY
    limits: Limits = dataclasses.field(default_factory=Limits)
    providers: tuple[Provider, ...] = ()
    fallback: Provider | None = None
    custom_ops: tuple[str, ...] = ()
    seed: int = 0
    runtime: str = "onnx"
    distributions: Mapping[str, Distribution] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.objective is not Objective.THROUGHPUT and len(self.batches) > 1:
            raise ConfigError(
                f"{self.objective} is that of one batch size, got {', '.join(map(str, self.batches))}",
                hint="add --objective throughput to choose among batch sizes, or name one",
            )
        if any(batch < 1 for batch in self.batches):
            raise ConfigError(f"a batch must be 1 or more, got {min(self.batches)}", hint="such as --batch 1,8")
        if self.limits.evaluation is None and self.limits.max_drop != Limits().max_drop:
            raise ConfigError("--max-drop needs a metric to drop", hint="add --eval MODULE:FUNCTION")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types: what is kept with the results."""
        data = dataclasses.asdict(self)
        if not self.distributions:
            del data["distributions"]  # as before there was such a choice: keys stay what they were
        paths = {name: data[name] for name in ("model", "inputs", "ready_feeds")}
        return data | {name: None if path is None else str(path) for name, path in paths.items()}

    def key(self, rig: Rig, plan: Mapping[str, Any]) -> str:
        """Equal for requests that can go on where another was cut off: by content, on this machine, the same plan."""
        return _digest(self.to_dict() | _content(rig) | dict(plan))

    def subject(self, rig: Rig) -> str:
        """Equal for requests whose trials tell of each other: whatever was tried, and wherever the files lie."""
        elsewhere = {"model", "inputs", "ready_feeds", "seed", "fallback"}
        return _digest({name: value for name, value in self.to_dict().items() if name not in elsewhere} | _content(rig))


def _content(rig: Rig) -> dict[str, Any]:
    return {
        "model": rig.facts.content_hash,
        "calibration": rig.calibration_hash,
        "machine": rig.machine.fingerprint,
        "versions": versions(),
    }


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def versions() -> dict[str, str]:
    """Versions of what shapes a result."""
    found = {}
    for name in VERSIONED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
