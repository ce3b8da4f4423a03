"""How long `infer-opt --help` takes, from starting the process to its end. Target: 150 ms at most.

Three commands take turns in random order, after one uncounted turn that fills caches: `infer-opt --help`, and for
comparison `python -c pass` (what no Python program can avoid) and `python -c 'import click'` (what any program with
this command-line library costs). Medians with 95 % bands; ratios are paired by turns.
"""

import math
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import calls, record
from benchmarks.record import Target

NAME = "help_time"
LIMIT_MS = 150.0
HELP = "infer-opt --help"
MS = 1e6


def commands(program: Path) -> dict[str, list[str]]:
    """What takes turns, and how it is started."""
    return {
        HELP: [str(program), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
    }


def take_turns(started: Mapping[str, Sequence[str]], *, turns: int, generator: random.Random) -> dict[str, list[int]]:
    """Whole-process wall times in ns, in step; the first turn is not counted."""
    times: dict[str, list[int]] = {name: [] for name in started}
    for turn in range(turns + 1):
        order = list(started)
        generator.shuffle(order)
        for name in order:
            begin = time.perf_counter_ns()
            subprocess.run(started[name], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True)
            if turn:
                times[name].append(time.perf_counter_ns() - begin)
    return times


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--turns", type=int, default=20, help="runs of each command (default 20)")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    times = take_turns(commands(calls.INFER_OPT), turns=options.turns, generator=random.Random(options.seed))
    medians = {name: record.median(values) for name, values in times.items()}
    ratios = {
        name: record.ratio([math.log(ours / other) for ours, other in zip(times[HELP], values, strict=True)])
        for name, values in times.items()
    }
    ours = medians[HELP]
    targets = [Target(name=HELP, unit="ms", measured=ours.value / MS, high=ours.high / MS, at_most=LIMIT_MS)]
    begun.write(
        options.result,
        method=__doc__ or "",
        targets=targets,
        results={
            name: {"turns": len(times[name]), "median_ns": medians[name], "help_over_this": ratios[name]}
            for name in times
        },
        samples={f"{name}, ns": values for name, values in times.items()},
    )
    rows = [
        [
            name,
            medians[name].value / MS,
            f"{medians[name].low / MS:.1f} to {medians[name].high / MS:.1f}",
            f"{ratios[name].value:.2f} [{ratios[name].low:.2f} to {ratios[name].high:.2f}]",
        ]
        for name in times
    ]
    headings = ["command", "median ms", "95 %", "infer-opt --help over this"]
    return record.report(headings, rows, targets, options.result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
