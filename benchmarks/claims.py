"""Whether a bundle's claim is found again. Target: at least 9 of 10 re-measurements inside the printed interval.

Each model is tuned once. The report prints a speed-up and a re-measure interval: where an equal measurement, made
again, falls 95 % of the time. Then `infer-opt bench BUNDLE` measures the bundle against its own stock model, again and
again, each time in a process of its own with another seed, which starts fresh workers of its own. What is kept of each
is the speed-up that it found, and whether that lies inside the printed interval. A call that gives no answer counts as
not inside.

Where nothing was proven faster the bundle is the stock model, and there is no claim to check: that is recorded as such.
"""

import argparse
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import calls, record
from benchmarks.calls import Finished, Model
from benchmarks.record import Record, Target

NAME = "claims"
SHARE_INSIDE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a tuning printed. The numbers are None where it compared nothing; only `faster` claims something."""

    verdict: str
    reason: str
    winner: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    remeasure_low: float | None = None
    remeasure_high: float | None = None
    epochs: int = 0
    wall_s: float = 0.0

    @property
    def is_one(self) -> bool:
        """Whether there is anything to check."""
        return self.verdict == "faster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One independent re-measurement. `estimate` is None where it gave no answer; `error` says why."""

    estimate: float | None
    is_inside: bool
    low: float | None = None
    high: float | None = None
    verdict: str | None = None
    claim_holds: bool | None = None
    epochs: int = 0
    wall_s: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A model, its claim, and what became of it. `error` is set where the tuning itself failed."""

    model: str
    claim: Claim | None
    repeats: tuple[Repeat, ...] = field(default=())
    error: str | None = None

    @property
    def inside(self) -> int:
        """Re-measurements inside the printed interval."""
        return sum(repeat.is_inside for repeat in self.repeats)

    @property
    def optimism(self) -> float | None:
        """Mean of ln(printed / re-measured): above 0, the printed speed-up was too good."""
        found = [repeat.estimate for repeat in self.repeats if repeat.estimate is not None]
        if self.claim is None or self.claim.estimate is None or not found:
            return None
        return math.log(self.claim.estimate) - sum(map(math.log, found)) / len(found)

    @property
    def target(self) -> Target | None:
        """The promise, where there was a claim or the tuning failed; None where there is nothing to check."""
        if self.claim is not None and not self.claim.is_one:
            return None
        return Target(
            name=f"{self.model}: re-measured inside the printed interval",
            unit=f"of {len(self.repeats)}",
            measured=float(self.inside) if self.repeats else None,
            at_least=float(math.ceil(SHARE_INSIDE * len(self.repeats) - 1e-9)),
        )


def claim_of(finished: Finished) -> Claim:
    """What `tune --format json` said."""
    document = finished.document
    speedup: Mapping[str, float | None] = document["speedup"] or {}
    return Claim(
        verdict=document["verdict"],
        reason=document["reason"],
        winner=document["winner"]["label"],
        epochs=len((document["comparison"] or {}).get("epochs", ())),
        wall_s=round(finished.wall_s, 2),
        **{name: speedup.get(name) for name in ("estimate", "low", "high", "remeasure_low", "remeasure_high")},
    )


def repeat_of(finished: Finished, claim: Claim) -> Repeat:
    """What `bench BUNDLE --format json` said, beside the claim."""
    if finished.exit_code != 0:
        return Repeat(estimate=None, is_inside=False, wall_s=round(finished.wall_s, 2), error=finished.error)
    document = finished.document
    speedup = document["speedup"] or {}
    estimate, low, high = (speedup.get(name) for name in ("estimate", "low", "high"))
    return Repeat(
        estimate=estimate,
        is_inside=_is_inside(estimate, claim),
        low=low,
        high=high,
        verdict=document["verdict"],
        claim_holds=document["claim_holds"],
        epochs=len((document["comparison"] or {}).get("epochs", ())),
        wall_s=round(finished.wall_s, 2),
        error=None if estimate is not None else "it compared nothing",
    )


def _is_inside(estimate: float | None, claim: Claim) -> bool:
    if estimate is None or claim.remeasure_low is None:
        return False
    # An open upper end is null in JSON: then anything above the lower one is inside.
    return claim.remeasure_low <= estimate <= (math.inf if claim.remeasure_high is None else claim.remeasure_high)


def check(model: Model, options: argparse.Namespace) -> Checked:
    """Tune, then measure again and again."""
    with calls.private_state() as (folder, environment):
        out = folder / model.name
        tune = ["tune", *model.arguments, "--budget", options.budget, "--preset", options.preset]
        tune += shlex.split(options.tune_options)
        tune += ["--seed", str(options.seed), "--format", "json", "--keep-default", "--out", str(out)]
        print(f"{model.name}: tuning for {options.budget}", file=sys.stderr)
        finished = calls.call(tune, environment=environment, program=options.program)
        if finished.exit_code != 0:
            return Checked(model=model.name, claim=None, error=finished.error)
        claim = claim_of(finished)
        repeats = []
        for number in range(1, 1 + options.repeats * claim.is_one):
            print(f"{model.name}: measuring again, {number} of {options.repeats}", file=sys.stderr)
            bench = ["bench", str(out), *_inputs(model, out), "--budget", options.bench_budget]
            bench += ["--seed", str(options.seed + number), "--format", "json"]
            repeats.append(repeat_of(calls.call(bench, environment=environment, program=options.program), claim))
        return Checked(model=model.name, claim=claim, repeats=tuple(repeats))


def _inputs(model: Model, bundle: Path) -> list[str]:
    """The model's inputs, where the bundle is too small to bring its own."""
    return [] if (bundle / "samples.npz").is_file() else model.arguments[1:]


def keep(begun: Record, path: Path, found: Sequence[Checked], *, is_complete: bool) -> None:
    """Write what there is so far: an hour's work is not lost with the last model."""
    begun.write(
        path,
        method=__doc__ or "",
        targets=targets_of(found),
        results={one.model: result(one) for one in found},
        samples={one.model: [asdict(repeat) for repeat in one.repeats] for one in found},
        is_complete=is_complete,
    )


def targets_of(found: Sequence[Checked]) -> list[Target]:
    """One promise for each model that claims something."""
    return [target for target in (one.target for one in found) if target is not None]


def result(one: Checked) -> dict[str, Any]:
    """The summary of one model."""
    return {
        "claim": None if one.claim is None else asdict(one.claim),
        "error": one.error,
        "has_claim": one.claim is not None and one.claim.is_one,
        "repeats": len(one.repeats),
        "inside": one.inside,
        "without_answer": sum(repeat.estimate is None for repeat in one.repeats),
        "printed_over_remeasured_log": one.optimism,
    }


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--models", nargs="+", default=list(calls.SHIPPED), help="names in models/, or paths")
    parser.add_argument("--large", action="store_true", help="also MiniLM and ResNet-50 from models/large")
    parser.add_argument("--repeats", type=int, default=10, help="re-measurements of each claim (default 10)")
    parser.add_argument("--budget", default="120s", help="of each tuning (default 120s)")
    parser.add_argument("--bench-budget", default="60s", help="of each re-measurement (default 60s)")
    parser.add_argument("--tune-options", default="", metavar="'--min-parity 0.9'", help="more options of each tuning")
    parser.add_argument("--preset", default="default", help="of each tuning (default: default)")
    parser.add_argument("--program", type=Path, default=calls.INFER_OPT, help="the infer-opt to check")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    found: list[Checked] = []
    chosen = calls.models([*options.models, *(calls.LARGE if options.large else ())])
    for model in chosen:
        found.append(check(model, options))
        keep(begun, options.result, found, is_complete=len(found) == len(chosen))
    headings = ["model", "verdict", "winner", "printed", "re-measure interval", "found again", "inside", "ln optimism"]
    return record.report(headings, [row(one) for one in found], targets_of(found), options.result)


def row(one: Checked) -> list[object]:
    if one.claim is None:
        return [one.model, "failed", one.error, None, None, None, None, None]
    if not one.claim.is_one:
        return [one.model, one.claim.verdict, one.claim.winner, None, None, None, "nothing to check", None]
    again = [repeat.estimate for repeat in one.repeats if repeat.estimate is not None]
    return [
        one.model,
        one.claim.verdict,
        one.claim.winner,
        one.claim.estimate,
        f"{_number(one.claim.remeasure_low)} to {_number(one.claim.remeasure_high)}",
        f"{min(again):.4g} to {max(again):.4g}" if again else None,
        f"{one.inside} of {len(one.repeats)}",
        one.optimism,
    ]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
