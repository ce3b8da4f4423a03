"""Whether `infer-opt tune --budget 60s` ends within 66 s, start of the process to its end. Also after a Ctrl-C.

Each model is tuned once to its end and once interrupted: the interrupted call gets one SIGINT after a part of its
budget, and must end with an answer and a whole bundle. Cache and store are empty at the start of each call.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import calls, record
from benchmarks.calls import Finished, Model
from benchmarks.record import Target

from infer_opt.presets import parse_duration

NAME = "budget"
OVERRUN = 1.1  # a budget bounds the whole call within a tenth


class Interrupt:
    """Sends one SIGINT to a process that is `after_s` old, and notes when."""

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s
        self.sent_s: float | None = None

    def __call__(self, pid: int, elapsed_s: float) -> None:
        if self.sent_s is None and elapsed_s >= self.after_s:
            self.sent_s = elapsed_s
            os.kill(pid, signal.SIGINT)


def tune(model: Model, options: argparse.Namespace, *, interrupt: Interrupt | None) -> dict[str, Any]:
    """One tuning as a whole process: how long it took, and what it left."""
    with calls.private_state() as (folder, environment):
        out = folder / "bundle"
        arguments = ["tune", *model.arguments, "--budget", options.budget, "--preset", options.preset]
        arguments += ["--seed", str(options.seed), "--format", "json", "--out", str(out)]
        finished = calls.call(arguments, environment=environment, program=options.program, tick=interrupt)
        return outcome(model, finished, has_bundle=(out / "bundle.json").is_file(), interrupt=interrupt)


def outcome(model: Model, finished: Finished, *, has_bundle: bool, interrupt: Interrupt | None) -> dict[str, Any]:
    """What is kept of one call."""
    document = finished.document if finished.exit_code == 0 else {}
    sent_s = None if interrupt is None else interrupt.sent_s
    return {
        "model": model.name,
        "is_interrupted": interrupt is not None,
        "interrupted_after_s": sent_s,
        "wall_s": round(finished.wall_s, 3),
        "ended_after_interrupt_s": None if sent_s is None else round(finished.wall_s - sent_s, 3),
        "exit_code": finished.exit_code,
        "error": finished.error if finished.exit_code else None,
        "has_bundle": has_bundle,
        "verdict": document.get("verdict"),
        "trials": len(document.get("trials", ())),
        "epochs": len((document.get("comparison") or {}).get("epochs", ())),
    }


def targets_of(outcomes: Sequence[dict[str, Any]], budget_s: float) -> list[Target]:
    """The slowest call against the limit, and every call with an answer and a bundle."""
    return [
        Target(
            name=f"slowest tune --budget {budget_s:g}s",
            unit="s",
            measured=max(float(found["wall_s"]) for found in outcomes),
            at_most=budget_s * OVERRUN,
        ),
        Target(
            name="calls that ended with an answer and a bundle",
            unit=f"of {len(outcomes)}",
            measured=float(sum(found["exit_code"] == 0 and found["has_bundle"] for found in outcomes)),
            at_least=float(len(outcomes)),
        ),
    ]


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--models", nargs="+", default=list(calls.SHIPPED), help="names in models/, or paths")
    parser.add_argument("--budget", default="60s", help="of each tuning (default 60s)")
    parser.add_argument("--preset", default="default", help="of each tuning (default: default)")
    parser.add_argument("--interrupt-after", default="20s", help="when the second call is interrupted (default 20s)")
    parser.add_argument("--program", type=Path, default=calls.INFER_OPT, help="the infer-opt to time")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    outcomes = []
    for model in calls.models(options.models):
        for interrupt in (None, Interrupt(parse_duration(options.interrupt_after))):
            print(f"tuning {model.name}{'' if interrupt is None else ', to be interrupted'}", file=sys.stderr)
            outcomes.append(tune(model, options, interrupt=interrupt))
    targets = targets_of(outcomes, parse_duration(options.budget))
    begun.write(options.result, method=__doc__ or "", targets=targets, results={"calls": outcomes}, samples={})
    headings = ["model", "interrupted after s", "whole call, s", "after interrupt, s", "exit", "verdict", "bundle"]
    return record.report(headings, [row(found) for found in outcomes], targets, options.result)


def row(found: dict[str, Any]) -> list[object]:
    names = ("interrupted_after_s", "wall_s", "ended_after_interrupt_s", "exit_code", "verdict", "has_bundle")
    return [found["model"], *(found[name] for name in names)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
