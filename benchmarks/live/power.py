"""Known slow-downs, injected as a busy-wait into every run: are they found, in how long, and with the right sign?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live import counted
from benchmarks.live.pairs import Contest, compare, is_wrong, models_of
from benchmarks.live.slowing import slowed_by, slowing
from benchmarks.live.stand import FAST, SLOW, Experiment, Observation, Stand, repeat

from infer_opt.results import Verdict

MODELS = (FAST, SLOW)
MOST_NOISE = 0.06  # of a round: the promise speaks of machines up to here


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A slow-down of `share` is found within `limit_s` seconds in `rate` of all cases; a rate of 0 promises nothing."""

    share: float
    limit_s: float
    rate: float


# 2 % is close to the margin of 1 % that a claim must clear.
PROMISES = (
    Promise(share=0.10, limit_s=15.0, rate=0.99),
    Promise(share=0.05, limit_s=30.0, rate=0.95),
    Promise(share=0.03, limit_s=60.0, rate=0.90),
    Promise(share=0.02, limit_s=60.0, rate=0.0),
)


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """One comparison of each slow-down, the larger ones first, again and again. None is cut short: that is a miss."""
    for name in MODELS:
        stand.ready(name)
    for number in repeat(stand, 60.0):
        name = MODELS[number % len(MODELS)]
        ready = stand.ready(name)
        for promise in PROMISES:
            if not stand.time.fits(promise.limit_s / 2):
                continue
            found = compare(
                ready,
                slowed_by(ready.stock, promise.share),
                contest=Contest(limit_s=promise.limit_s),
                generator=stand.generator,
                artefact=stand.copy(name),
                rig=slowing(ready.rig),
            )
            stand.show(f"{name} slowed by {promise.share:.0%}: {found['verdict']} after {found['seconds']:.0f} s")
            yield {"model": name, "share": promise.share} | found


def judge(found: Sequence[Observation]) -> Findings:
    """How many of each slow-down were found in time, and how many of all had the wrong sign."""
    lines = [of_promise(promise, [one for one in found if one["share"] == promise.share]) for promise in PROMISES]
    wrong = sum(is_wrong(one, one["share"]) for one in found)
    sign = Evidence(
        row=4,
        tier=Tier.LIVE,
        setting=f"all injected slow-downs, {models_of(found)}",
        target=counted.seldom("wrong sign", wrong, len(found), rate=0.0),
    )
    return Findings(evidence=(*lines, sign), results={"by_slowdown": summary(found)})


def of_promise(promise: Promise, found: Sequence[Observation]) -> Evidence:
    """The line of one slow-down. Those in worse surroundings than the promise speaks of are named, not counted."""
    quiet = [one for one in found if is_quiet(one)]
    hits = sum(one["verdict"] == Verdict.SLOWER for one in quiet)
    said = counted.counts(one["verdict"] for one in found)
    cause = "" if found else "there was no time for it"
    if len(quiet) < len(found):
        cause = f"{len(found) - len(quiet)} of {len(found)} do not count: disturbed, or round noise above "
        cause += f"{MOST_NOISE:.0%}"
    return Evidence(
        row=4,
        tier=Tier.LIVE,
        setting=f"busy-wait of {promise.share:.0%}, {models_of(found)}: {said}"
        if found
        else f"busy-wait of {promise.share:.0%}",
        target=counted.often(f"found within {promise.limit_s:.0f} s", hits, len(quiet), rate=promise.rate),
        cause=cause,
    )


def is_quiet(one: Observation) -> bool:
    """Whether the promise speaks of it: little noise within an epoch, and surroundings that the tool could bear."""
    noise = one["round_noise"]
    return noise is not None and noise <= MOST_NOISE and one["verdict"] != Verdict.TOO_NOISY


def summary(found: Sequence[Observation]) -> list[dict[str, object]]:
    """For each slow-down: verdicts, and how long an answer took."""
    rows = []
    for promise in PROMISES:
        of_share = [one for one in found if one["share"] == promise.share]
        row = {"share": promise.share, "verdicts": counted.counts(one["verdict"] for one in of_share)}
        rows.append(row | {"seconds": [one["seconds"] for one in of_share]})
    return rows


EXPERIMENT = Experiment(run=run, judge=judge)
