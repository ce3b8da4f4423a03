"""A/A: stock against stock, on a machine that does nothing else. Whatever difference is found is false."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live import counted
from benchmarks.live.pairs import NO_ANSWER, Contest, compare, is_false_without_margin, models_of, of_equals
from benchmarks.live.stand import FAST, FASTEST, SLOW, Experiment, Observation, Stand, repeat

from infer_opt.results import Verdict

MODELS = (FAST, SLOW, FASTEST)
CONTEST = Contest(limit_s=30.0, most=6)  # many short ones: most false verdicts come at the first looks
RATE, RATE_WITHOUT_MARGIN = 0.01, 0.05


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """Comparisons with a copy of the model, one model after another."""
    for number in repeat(stand, CONTEST.limit_s / 2):
        name = MODELS[number % len(MODELS)]
        ready = stand.ready(name)
        contest = replace(CONTEST, limit_s=min(CONTEST.limit_s, max(stand.time.left_s, 1.0)))
        found = compare(ready, ready.stock, contest=contest, generator=stand.generator, artefact=stand.copy(name))
        stand.show(f"A/A of {name}: {found['verdict']}")
        yield {"model": name} | found


def judge(found: Sequence[Observation]) -> Findings:
    """False verdicts as the tool gives them, and what the same epochs say with no margin to clear.

    Where it was too noisy for an answer nothing could be false: such a comparison proves nothing here.
    """
    answered = [one for one in found if one["verdict"] not in (Verdict.TOO_NOISY, NO_ANSWER)]
    unanswered = len(found) - len(answered)
    cause = f"{unanswered} of {len(found)} gave no answer, being too noisy, and do not count" if unanswered else ""
    setting = f"A/A, idle machine, {models_of(found)}"
    bare = sum(is_false_without_margin(one["epochs"]) for one in answered)
    without = Evidence(
        row=1,
        tier=Tier.LIVE,
        setting=f"{setting}, no margin",
        target=counted.seldom("false verdicts over equals", bare, len(answered), rate=RATE_WITHOUT_MARGIN),
        cause=cause,
    )
    return Findings(evidence=(without, of_equals(answered, row=1, setting=setting, rate=RATE, cause=cause)))


EXPERIMENT = Experiment(run=run, judge=judge)
