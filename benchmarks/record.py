"""What a published number comes with: its target, the machine, the command and the raw samples; in one JSON file."""

import argparse
import datetime
import json
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from infer_opt.machine.describe import describe
from infer_opt.monitors.nvml import gpus
from infer_opt.reports.documents import machine_document, to_json
from infer_opt.request import versions
from infer_opt.results import Estimate
from infer_opt.stats.intervals import exp_ratio, hodges_lehmann_interval
from infer_opt.stats.tails import quantile

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A promise, and what was measured. `high` is the upper end of its 95 % interval, where it has one.

    `at_most` and `at_least` are the limits; one of them is None.
    """

    name: str
    unit: str
    measured: float | None
    high: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether it was kept, by the interval's end where there is one; None when nothing was measured."""
        worst = self.high if self.high is not None else self.measured
        if self.measured is None or worst is None:
            return None
        if self.at_most is not None:
            return worst <= self.at_most
        return self.at_least is not None and self.measured >= self.at_least

    @property
    def sentence(self) -> str:
        """`MET: harness, added to a run: 85.3 ns, at most 1,000`."""
        word = {True: "MET", False: "MISSED", None: "NOT MEASURED"}[self.is_met]
        measured = "nothing" if self.measured is None else f"{self.measured:,.4g}"
        measured += "" if self.high is None else f" (up to {self.high:,.4g})"
        limit = f"at most {self.at_most:,.4g}" if self.at_most is not None else f"at least {self.at_least:,.4g}"
        return f"{word}: {self.name}: {measured} {self.unit}, {limit}"


@dataclass(slots=True, kw_only=True)
class Record:
    """One run of one benchmark program, from `begin` to `write`."""

    name: str
    command: str
    machine: Mapping[str, Any]
    began: str
    commit: str | None
    load_average: tuple[float, ...]

    def write(
        self, path: Path, *, method: str, targets: Sequence[Target], results: Mapping[str, Any],
        samples: Mapping[str, Any], is_complete: bool = True,
    ) -> None:  # fmt: skip
        """Put the whole result at `path` by rename: what was there stays until the new one is whole."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "benchmark": self.name,
            "command": self.command,
            "began": self.began,
            "ended": _now(),
            "is_complete": is_complete,
            "commit": self.commit,
            "method": " ".join(method.split()),
            "targets": [asdict(target) | {"is_met": target.is_met} for target in targets],
            "results": results,
            "samples": samples,
            "machine": self.machine,
            "load_average_before": self.load_average,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(compact(json.loads(to_json(document))) + "\n")
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)


def begin(name: str, argv: Sequence[str]) -> Record:
    """Note the machine and the load on it before anything is measured."""
    facts = describe(gpus=gpus(), versions={**versions(), "python": platform.python_version()})
    return Record(
        name=name,
        command=shlex.join(["python", "-m", f"benchmarks.{name}", *argv]),
        machine={**machine_document(facts), "kernel": platform.release()},
        began=_now(),
        commit=_commit(),
        load_average=tuple(round(value, 2) for value in os.getloadavg()),
    )


def parser(name: str, documentation: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes: where its result goes, and its seed."""
    found = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=documentation,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--result", type=Path, default=RESULTS / f"{name}.json", help="file to write the result to")
    found.add_argument("--seed", type=int, default=0, help="seed of random orders (default 0)")
    return found


def report(headings: Sequence[str], rows: Sequence[Sequence[object]], targets: Sequence[Target], path: Path) -> int:
    """Print the table, the targets and where the result lies. Gives the exit code: 1 when a target was not met."""
    print(tabulate([list(map(_shown, row)) for row in rows], headings, tablefmt="simple", disable_numparse=True))
    print()
    for target in targets:
        print(target.sentence)
    print(f"\nWritten to {path}")
    return 0 if all(target.is_met for target in targets) else 1


def median(values: Sequence[int]) -> Estimate:
    """The median with its 95 % band; the band is the whole range where there are too few values for one."""
    found = quantile([[(value,) for value in values]], 0.5)
    low, high = found.low_ns, found.high_ns
    return Estimate(
        value=float(found.value_ns or 0.0),
        low=float(min(values)) if low is None else low,
        high=float(max(values)) if high is None else high,
    )


def difference(values: Sequence[float]) -> Estimate:
    """The centre of paired differences with its 95 % interval; the whole range where there are too few for one."""
    found = hodges_lehmann_interval(values)
    return Estimate(value=found.value, low=max(found.low, min(values)), high=min(found.high, max(values)))


def ratio(log_values: Sequence[float]) -> Estimate:
    """The centre of paired ln ratios as a ratio, with its 95 % interval."""
    logs = difference(log_values)
    return Estimate(value=exp_ratio(logs.value), low=exp_ratio(logs.low), high=exp_ratio(logs.high))


def compact(value: Any, indent: str = "") -> str:
    """JSON with a list of plain values on one line: thousands of raw samples stay readable, and so do diffs."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{json.dumps(key)}: {compact(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n" + ",\n".join(inner + compact(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _shown(cell: object) -> str:
    return f"{cell:,.4g}" if isinstance(cell, float) else "n/a" if cell is None else str(cell)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _commit() -> str | None:
    """The commit that was measured, with `+` when files differ from it; None outside of a checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    head = subprocess.run([git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    changes = subprocess.run(
        [git, "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return head.stdout.strip() + "+" * bool(changes.stdout.strip()) if head.returncode == 0 else None
