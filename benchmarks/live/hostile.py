"""Beside a neighbour that burns one core half of the time: stock against stock, and against a slow-down of 5 %.

The right answers are "too noisy", "inconclusive", or what is true. Every third comparison of equals is made blind, with
nothing discarded: it shows how far pairing and fresh processes carry alone. The tool never measures so, and it is not
judged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live import counted
from benchmarks.live.neighbour import neighbour
from benchmarks.live.pairs import Contest, compare, is_wrong, models_of, of_equals
from benchmarks.live.slowing import slowed_by, slowing
from benchmarks.live.stand import FAST, SLOW, Experiment, Observation, Stand, repeat

from infer_opt.workers.rounds import never_disturbed

MODELS = (FAST, SLOW)
KINDS = ("equal", "slowed", "blind")
SLOWDOWN = 0.05
CONTEST = Contest(limit_s=30.0, most=6)
RATE = 0.05


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """Equals, slowed ones and equals measured blind, in turn."""
    for name in MODELS:
        stand.ready(name)  # made ready in peace: what is tried is the comparison
    with neighbour(stand.generator.getrandbits(31)):
        for number in repeat(stand, CONTEST.limit_s / 2):
            kind, name = KINDS[number % len(KINDS)], MODELS[number // len(KINDS) % len(MODELS)]
            ready = stand.ready(name)
            rig = slowing(ready.rig)
            found = compare(
                ready,
                slowed_by(ready.stock, SLOWDOWN) if kind == "slowed" else ready.stock,
                contest=replace(CONTEST, limit_s=min(CONTEST.limit_s, max(stand.time.left_s, 1.0))),
                generator=stand.generator,
                artefact=stand.copy(name),
                rig=replace(rig, watch=never_disturbed) if kind == "blind" else rig,
            )
            stand.show(f"{kind}, beside a hostile neighbour, {name}: {found['verdict']}")
            yield {"kind": kind, "model": name} | found


def judge(found: Sequence[Observation]) -> Findings:
    """False verdicts over equals, and wrong ones over the slowed."""
    equal, slowed, blind = ([one for one in found if one["kind"] == kind] for kind in KINDS)
    setting = f"neighbour on one core half of the time, {models_of(found)}"
    verdicts = counted.counts(one["verdict"] for one in slowed)
    wrong = Evidence(
        row=3,
        tier=Tier.LIVE,
        setting=f"{setting}, slowed by {SLOWDOWN:.0%}: {verdicts}",
        target=counted.seldom("wrong sign", sum(is_wrong(one, SLOWDOWN) for one in slowed), len(slowed), rate=0.0),
    )
    return Findings(
        evidence=(of_equals(equal, row=3, setting=setting, rate=RATE), wrong),
        results={"blind_verdicts": counted.counts(one["verdict"] for one in blind)},
    )


EXPERIMENT = Experiment(run=run, judge=judge)
