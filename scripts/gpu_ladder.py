"""The GPU ladder: the same networks by PyTorch, by ONNX Runtime step by step, and by what `infer-opt tune` finds.

For each model and batch, everybody is measured in fresh processes whose rounds are interleaved and paired with stock
ONNX Runtime on CUDA, and held against the floor that follows from copies and matrix products measured in the same run.
Nothing exceeds `--minutes`; what was not reached is named; the result is written after every epoch, and `--go-on`
continues an earlier one on the same machine. scripts/gpu_session.md has the commands from a bare machine to a
committed result.

    python -m scripts.gpu_ladder                        # all of it, in nine minutes
    python -m scripts.gpu_ladder --models bert-base --batches 1,8 --minutes 4
    python -m scripts.gpu_ladder --device cpu --miniature --minutes 2 --out /tmp/ladder.json
"""

import argparse
import os
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Workers are fresh interpreters, which find this checkout by the same path.
for _folder in (str(ROOT), str(ROOT / "src")):
    if _folder not in sys.path:
        sys.path.insert(0, _folder)
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([str(ROOT / "src"), str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])
)

import json  # noqa: E402

from benchmarks import record  # noqa: E402
from benchmarks.proof_table import put  # noqa: E402
from scripts.ladder import course as courses  # noqa: E402
from scripts.ladder import rungs, showing  # noqa: E402
from scripts.ladder.arena import MINIATURE, Effort  # noqa: E402
from scripts.ladder.course import Course, say  # noqa: E402
from scripts.ladder.networks import NETWORKS  # noqa: E402

from infer_opt.config import Provider  # noqa: E402
from infer_opt.errors import InferOptError, UnavailableError  # noqa: E402
from infer_opt.machine.describe import describe  # noqa: E402
from infer_opt.monitors.nvml import NvmlMonitor, gpus  # noqa: E402
from infer_opt.request import versions  # noqa: E402
from infer_opt.transforms.cache import ArtefactCache  # noqa: E402
from infer_opt.workers.process import run_task  # noqa: E402

NAME = "gpu_ladder"
MARKS = ("<!-- gpu ladder -->", "<!-- /gpu ladder -->")
BATCHES = (1, 64, 8)  # in the order of their worth: a latency, a throughput, and what lies between
METHOD = """
    Each contestant in a fresh process in every epoch, host arrays in and host arrays out, rounds in random order
    paired with stock ONNX Runtime in the same round, all others stopped meanwhile. Intervals are Student's t over
    processes, on the log scale; agreement is the cosine of the worst output on the worst input with stock's outputs.
    The floor is the largest of three times: products at the best rate of that precision, weights read once at the
    best rate of a copy, inputs and outputs over the bus, all measured in the same run.
"""


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    found = argparse.ArgumentParser(
        prog=f"python -m scripts.{NAME}", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [network.name for network in NETWORKS]
    found.add_argument("--models", default=",".join(names), help=f"which, of {', '.join(names)} (default all)")
    found.add_argument("--batches", default=",".join(map(str, BATCHES)), help="items a call (default 1,64,8)")
    found.add_argument("--minutes", type=float, default=9.0, help="wall time of the whole call (default 9)")
    found.add_argument("--epochs", type=int, default=3, help="fresh processes of each contestant (default 3)")
    found.add_argument("--tune", type=float, default=120.0, help="seconds a tuning may take (120); 0 leaves it out")
    found.add_argument("--device", choices=[one.value for one in Provider], default=Provider.CUDA.value)
    found.add_argument("--miniature", action="store_true", help="tiny networks and few rounds, to try the ladder")
    found.add_argument("--go-on", action="store_true", help="keep what the result file holds, and measure the rest")
    found.add_argument("--only-table", action="store_true", help="measure nothing: show what the result file holds")
    found.add_argument("--out", type=Path, default=record.RESULTS / f"{NAME}.json", help="file to write the result to")
    found.add_argument("--table", type=Path, help=f"file to put the table into, between {MARKS[0]} and {MARKS[1]}")
    found.add_argument("--commit", help="the commit that is measured, where there is no git to ask")
    found.add_argument("--seed", type=int, default=0, help="seed of random orders (default 0)")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ladder; 0 when everything that was asked for was measured or has its reason, 1 when time was short."""
    begin = time.monotonic()
    options = parser().parse_args(argv)
    if options.only_table:
        results = _document(options.out)["results"]
        return report(all_rows(results["rungs"], results["ceilings"], results["reasons"]), results["ceilings"], options)
    networks = _chosen(options.models)
    batches = [int(part) for part in options.batches.split(",")]
    provider = Provider(options.device)
    kept = begun(options, list(sys.argv[1:] if argv is None else argv))
    device = _device(provider)
    try:
        with tempfile.TemporaryDirectory(prefix="ladder-") as name, ArtefactCache(Path(name) / "artefacts") as cache:
            course = Course(
                provider=provider,
                machine=describe(gpus=gpus(), versions=versions()),
                device=device,
                folder=Path(name),
                cache=cache,
                generator=random.Random(options.seed),
                effort=MINIATURE if options.miniature else Effort(),
                total_s=60 * options.minutes,
                ends_s=begin + 60 * options.minutes,
                keep=lambda: write(course, kept, options),
                miniature=options.miniature,
                epochs=options.epochs,
                tune_s=options.tune,
            )
            if options.go_on:
                course.found |= earlier(options, course)
            reason = _why_not(provider)
            if reason is not None:
                say(f"the ladder needs {provider}: {reason}")
                return UnavailableError.exit_code
            courses.run(course, networks, batches)
            return report(all_rows(course.found, course.ceilings, course.reasons), course.ceilings, options)
    finally:
        if device is not None:
            device.close()


def _chosen(text: str) -> list[str]:
    known = [network.name for network in NETWORKS]
    asked = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [name for name in asked if name not in known]
    if unknown or not asked:
        raise SystemExit(f"there is no model {', '.join(unknown) or 'asked for'}; choose from {', '.join(known)}")
    return [name for name in known if name in asked]


def _device(provider: Provider) -> NvmlMonitor | None:
    """The GPU's readings; CUDA works without them."""
    if provider is not Provider.CUDA:
        return None
    try:
        return NvmlMonitor(detailed=False)
    except UnavailableError as error:
        say(f"no memory, power and clocks: {error.what}")
        return None


def _why_not(provider: Provider) -> str | None:
    """Why ONNX Runtime cannot run there; asked in a process of its own."""
    try:
        found = run_task("infer_opt.preparing:ask_runtime", "onnx", timeout_s=60.0)
    except InferOptError as error:
        return error.what
    reason: str | None = found.why_not[provider]
    return reason


def begun(options: argparse.Namespace, argv: Sequence[str]) -> record.Record:
    """The machine and its load, before anything is measured."""
    found = record.begin(NAME, argv)
    found.command = shlex.join(["python", "-m", f"scripts.{NAME}", *argv])
    found.commit = options.commit or found.commit
    return found


def all_rows(
    found: Mapping[str, rungs.Rung], ceilings: Mapping[str, Any], reasons: Mapping[str, str]
) -> list[rungs.Row]:
    """Every contestant of every rung."""
    return [row for rung in found.values() for row in rungs.rows(rung, ceilings, reasons)]


def write(course: Course, kept: record.Record, options: argparse.Namespace) -> None:
    """What there is so far, by rename: whoever is killed has lost one epoch at the most."""
    rows = all_rows(course.found, course.ceilings, course.reasons)
    kept.write(
        options.out,
        method=METHOD,
        targets=(),
        results={
            "device": course.provider.value,
            "miniature": course.miniature,
            "ceilings": course.ceilings,
            "reasons": course.reasons,
            "rungs": course.found,
            "rows": [asdict(row) for row in rows],
            "not_reached": showing.reasons(rows),
        },
        samples={},
        is_complete=not short(rows),
    )


def short(rows: Sequence[rungs.Row]) -> list[rungs.Row]:
    """What the time was too short for."""
    return [row for row in rows if (row.reason is None and not row.processes) or row.reason == rungs.NOT_REACHED]


def earlier(options: argparse.Namespace, course: Course) -> dict[str, Any]:
    """The rungs of an earlier result on this very machine.

    Raises:
        SystemExit: there is none, or it is of another machine or of other networks.
    """
    document = _document(options.out)
    here, there = course.machine.fingerprint, document["machine"]["fingerprint"]
    results = document["results"]
    if (here, course.provider.value, course.miniature) != (there, results["device"], results["miniature"]):
        raise SystemExit(f"{options.out} was measured on another machine, device or size: nothing to go on with")
    found: dict[str, Any] = results["rungs"]
    return found


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise SystemExit(f"there is no earlier result at {path}")
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def report(rows: Sequence[rungs.Row], ceilings: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Print the table, its ceilings and what is missing; put it into the documentation where that is asked for."""
    print(showing.table([row for row in rows if row.processes]))
    print(f"\n{showing.ceilings_line(ceilings)}")
    for line in showing.reasons(rows):
        print(f"not measured: {line}")
    print(f"The result lies in {options.out}")
    if options.table is not None:
        text = [showing.table([row for row in rows if row.processes], form="github"), ""]
        put(options.table, "\n".join([*text, showing.ceilings_line(ceilings)]), marks=MARKS)
    return 1 if short(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
