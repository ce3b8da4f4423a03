"""What the harness adds to a run: `benchmarks.harness_overhead` in short, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live.stand import Experiment, Observation, Stand
from benchmarks.record import ROOT, Target

TURNS, QUICK_TURNS = 500, 150
KEPT = ("name", "unit", "measured", "high", "at_most", "at_least")
LAST_LINES = 2


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """One run of the program; its targets, or what it said when it gave none."""
    stand.show("what the harness adds to a run")
    path = stand.folder / "harness_overhead.json"
    command = [sys.executable, "-m", "benchmarks.harness_overhead", "--result", str(path)]
    command += [
        "--turns",
        str(QUICK_TURNS if stand.is_quick else TURNS),
        "--seed",
        str(stand.generator.getrandbits(31)),
    ]
    # Exit code 1 means a missed target, which is for `judge` to say.
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not path.is_file():
        yield {"targets": [], "error": " ".join(finished.stderr.strip().splitlines()[-LAST_LINES:])}
        return
    yield {"targets": json.loads(path.read_text())["targets"], "error": None}


def judge(found: Sequence[Observation]) -> Findings:
    """One line for each session and shape of block."""
    lines = [
        Evidence(
            row=11,
            tier=Tier.LIVE,
            setting="paired with a bare loop",
            target=Target(**{name: target[name] for name in KEPT}),
        )
        for one in found
        for target in one["targets"]
    ]
    errors = [one["error"] for one in found if one["error"] is not None]
    if errors:
        target = Target(name="added to a run", unit="ns a run", measured=None, at_most=1000.0)
        lines.append(
            Evidence(row=11, tier=Tier.LIVE, setting="paired with a bare loop", target=target, cause=errors[0])
        )
    return Findings(evidence=lines)


EXPERIMENT = Experiment(run=run, judge=judge)
