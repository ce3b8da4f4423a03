"""The proof: every promise of the measurement, tried on simulated noise, on recorded traces, and live on this machine.

Prints the table of tests with target and figure side by side. At most 60 minutes, with --quick at most 10. What is
finished is in the result at once: an interrupt or a kill loses nothing but what was under way.

The live experiments, by their names:

  remeasured   tuned at the very beginning; its bundle measured again in the middle and at the very end
  overhead     what the harness adds to a run
  aa           stock against stock, on a machine that does nothing else
  position     who is first in a round, against the others
  hostile      beside a neighbour that burns one core half of the time: equals, and a slow-down of 5 %
  power        slow-downs of 2, 3, 5 and 10 %, injected as a busy-wait into each run
  extra-nodes  a real slow-down: the model with a few more nodes
  tunes        whole tunes over configurations that are all the same
  quota        stock against stock in a control group of 1.5 cores

`simulated` and `replayed` are the two parts that need no quiet machine. Counts of few live cases are held to what luck
leaves of a promised rate: the limit is what a machine that just keeps the promise stays within in 95 of 100 such
series, and the interval of the true rate stands beside it.
"""

import argparse
import importlib
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import calls, proof_table, record
from benchmarks.evidence import Evidence, Findings
from benchmarks.live.stand import Experiment, Observation, Stand
from benchmarks.record import Record

from infer_opt.budget import Budget
from infer_opt.errors import ConfigError, InferOptError
from infer_opt.presets import parse_duration

NAME = "prove"
FULL_TIME, QUICK_TIME = "60m", "10m"
FULL_SCALE = 1.0  # of simulations and replays: what their own programs run
PROBE_SCALE = 0.01  # what is run first, to know how much fits into the time
WORTH_IT = 2.0  # a larger scale must be so much larger, or what there is stands
FILL = 0.9  # of the time that is left: how long a scale takes is not known exactly
WRITING_S = 5.0

# name -> module with `evidence(scale, seed) -> Findings`.
PARTS = {"simulated": "benchmarks.simulation", "replayed": "benchmarks.replay"}
# name -> module with an EXPERIMENT.
EXPERIMENTS = {
    "remeasured": "benchmarks.live.remeasured",
    "overhead": "benchmarks.live.overhead",
    "aa": "benchmarks.live.equals",
    "position": "benchmarks.live.position",
    "hostile": "benchmarks.live.hostile",
    "power": "benchmarks.live.power",
    "extra-nodes": "benchmarks.live.extra_nodes",
    "tunes": "benchmarks.live.whole_tunes",
    "quota": "benchmarks.live.quota",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of the proof. `share` is that of the time, against the shares of what is still to come.

    A step is not begun with less than `least_s` left. A name may come up again: it then goes on with what it has seen.
    """

    name: str
    share: float
    least_s: float = 5.0


# What is measured again later comes first, in the middle and last: as far apart as the time allows.
STEPS = (
    Step(name="remeasured", share=3, least_s=60),
    Step(name="simulated", share=8),
    Step(name="replayed", share=9),
    Step(name="overhead", share=1, least_s=20),
    Step(name="aa", share=10, least_s=20),
    Step(name="position", share=2),
    Step(name="hostile", share=6, least_s=30),
    Step(name="remeasured", share=3, least_s=40),
    Step(name="power", share=12, least_s=30),
    Step(name="extra-nodes", share=4, least_s=45),
    Step(name="tunes", share=10, least_s=80),
    Step(name="quota", share=3, least_s=30),
    Step(name="remeasured", share=3, least_s=40),
)


@dataclass(slots=True, kw_only=True)
class Proof:
    """What was found so far. Mutable by purpose: it grows, and is written each time that it does.

    `judges` and `seen` are those of the live experiments, `parts` what the others gave. `unrun` says why a part was not
    run, `failed` why one ended early.
    """

    begun: Record
    path: Path
    judges: dict[str, Experiment] = field(default_factory=dict)
    seen: dict[str, list[Observation]] = field(default_factory=dict)
    parts: dict[str, Findings] = field(default_factory=dict)
    unrun: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def findings(self) -> dict[str, Findings]:
        """Those of each part, by its name."""
        return self.parts | {name: one.judge(self.seen[name]) for name, one in self.judges.items()}

    @property
    def evidence(self) -> list[Evidence]:
        """All lines of the table."""
        return [line for one in self.findings.values() for line in one.evidence]

    def write(self, *, is_complete: bool) -> None:
        """Put all that there is into the result, by rename."""
        found = self.findings
        lines = [(name, line) for name, one in found.items() for line in one.evidence]
        self.begun.write(
            self.path,
            method=__doc__ or "",
            targets=[line.target for _, line in lines],
            results={
                "evidence": [
                    asdict(line) | {"part": name, "is_met": line.target.is_met, "test": proof_table.TESTS[line.row]}
                    for name, line in lines
                ],
                "not_run": self.unrun,
                "failed": self.failed,
                "figures": {name: one.results for name, one in found.items()},
            },
            samples=self.seen,
            is_complete=is_complete,
        )


def chosen(only: str | None) -> tuple[Step, ...]:
    """The steps that were asked for: all, or those of the names in `only`, which commas part.

    Raises:
        ConfigError: an unknown name.
    """
    if only is None:
        return STEPS
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in PARTS | EXPERIMENTS:
            raise ConfigError(f"there is no part {name!r}", hint=f"choose from {', '.join(PARTS | EXPERIMENTS)}")
    return tuple(step for step in STEPS if step.name in names)


def slices(steps: Sequence[Step], budget: Budget) -> Iterator[tuple[Step, float]]:
    """Each step with its part of what is left, in seconds: what one does not use is there for all that follow."""
    for index, step in enumerate(steps):
        weight = sum(other.share for other in steps[index:])
        yield step, max(0.0, budget.left_s - WRITING_S) * step.share / weight


def prove(proof: Proof, steps: Sequence[Step], stand: Stand, budget: Budget) -> None:
    """Take all steps, each within its time. A failed one is named and counts as missed; the others go on."""
    for step, time_s in slices(steps, budget):
        if not budget.fits(step.least_s):
            proof.unrun[step.name] = "there was no time for it, or for all of it"
            stand.show(f"{step.name}: no time is left for it")
            continue
        stand.show(f"{step.name}: up to {max(time_s, step.least_s):.0f} s")
        stand.time = Budget(total_s=time_s)
        try:
            if step.name in PARTS:
                proof.parts[step.name] = part(step.name, stand)
            else:
                experiment(step.name, proof, stand)
        except InferOptError as error:
            proof.failed[step.name] = error.what
            stand.show(f"{step.name} failed: {error.what}")
        proof.write(is_complete=False)


def part(name: str, stand: Stand) -> Findings:
    """What simulations or replays give, at about the largest scale that fits into the time, and at most their full one.

    Each try says how long the next takes. The first says too much, since some things cost the same at any scale.
    """
    evidence: Callable[..., Findings] = importlib.import_module(PARTS[name]).evidence
    seed = stand.generator.getrandbits(31)
    scale, larger = 0.0, PROBE_SCALE
    while larger >= WORTH_IT * scale:
        scale, before_s = larger, stand.time.elapsed_s
        stand.show(f"{name}: at {scale:.3f} of its full scale")
        found = evidence(scale=scale, seed=seed)
        took_s = max(stand.time.elapsed_s - before_s, 1e-3)
        larger = min(FULL_SCALE, FILL * scale * stand.time.left_s / took_s)
    return found if scale == FULL_SCALE else coarse(found, scale)


def coarse(found: Findings, scale: float) -> Findings:
    """The same, where each missed line says that it rests on few cases: their intervals are wide."""
    note = f"only {scale:.2g} of the full scale was run"
    lines = [
        replace(line, cause=f"{line.cause}; {note}" if line.cause else note) if line.target.is_met is False else line
        for line in found.evidence
    ]
    return replace(found, evidence=lines)


def experiment(name: str, proof: Proof, stand: Stand) -> None:
    """Run one live experiment, and keep each observation as it is made."""
    one: Experiment = importlib.import_module(EXPERIMENTS[name]).EXPERIMENT
    proof.judges[name] = one
    seen = proof.seen.setdefault(name, [])
    for observation in one.run(stand, tuple(seen)):
        seen.append(observation)
        proof.write(is_complete=False)


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    try:
        steps = chosen(options.only)
        total_s = parse_duration(options.time or (QUICK_TIME if options.quick else FULL_TIME))
    except ConfigError as error:
        print(f"{error.what}; {error.hint}", file=sys.stderr)
        return error.exit_code
    budget = Budget(total_s=total_s)
    proof = Proof(begun=record.begin(NAME, argv), path=options.result)
    proof.unrun = {name: "not asked for" for name in PARTS | EXPERIMENTS if name not in {step.name for step in steps}}
    was_interrupted = False
    with calls.private_state() as (folder, environment):
        stand = Stand(
            folder=folder,
            environment=environment,
            generator=random.Random(options.seed),
            show=lambda text: print(f"[{budget.elapsed_s / 60:4.1f} min] {text}", file=sys.stderr, flush=True),
            is_quick=options.quick,
        )
        try:
            prove(proof, steps, stand, budget)
        except KeyboardInterrupt:
            was_interrupted = True
    proof.write(is_complete=not was_interrupted)
    if options.table is not None:
        machine: dict[str, Any] = dict(proof.begun.machine)
        proof_table.put(options.table, proof_table.markdown(proof.evidence, machine, proof.begun.began))
    return report(proof, was_interrupted=was_interrupted)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--quick", action="store_true", help="fewer cases of everything, in at most 10 minutes")
    parser.add_argument("--only", metavar="NAME,...", help="these parts alone")
    parser.add_argument("--time", metavar="60m", help=f"all of it, at most (default {FULL_TIME}, quick {QUICK_TIME})")
    parser.add_argument("--table", type=Path, metavar="FILE.md", help="put the table between the marks of this file")
    return parser.parse_args(argv)


def report(proof: Proof, *, was_interrupted: bool) -> int:
    """Print the table, what was not run and where the result lies. Gives the exit code: 1 when something was missed."""
    evidence = proof.evidence
    print(proof_table.terminal(evidence))
    for name, why in proof.unrun.items():
        print(f"Not run: {name} ({why})")
    for name, why in proof.failed.items():
        print(f"Failed: {name} ({why})")
    missed = [line for line in evidence if line.target.is_met is False]
    print(f"\n{len(missed)} of {len(evidence)} targets were missed. Written to {proof.path}")
    return 1 if missed or proof.failed or was_interrupted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
