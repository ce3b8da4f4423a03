"""Is a printed speed-up found again later? Tuned when the proof begins, measured again in its middle and at its end."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from benchmarks import calls
from benchmarks.calls import Model
from benchmarks.claims import Claim, Repeat, claim_of, repeat_of
from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live import counted
from benchmarks.live.stand import FAST, SLOW, Experiment, Observation, Stand, repeat

from infer_opt.results import Verdict

MODELS, QUICK_MODELS = (FAST, SLOW), (FAST,)
TUNE_S, BENCH_S, QUICK_BENCH_S = 60.0, 60.0, 40.0
LEAST_BENCH_S = 20.0
INSIDE, SAME_SIGN = 0.90, 0.99


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """The tunes at the first time; at later times what claims something is measured again, as often as fits."""
    tuned = [one for one in seen if one["kind"] == "tune"]
    if not tuned:
        for model in calls.models(QUICK_MODELS if stand.is_quick else MODELS):
            yield _tune(stand, model)
        return
    claiming = [one for one in tuned if one["claim"] is not None and one["claim"]["verdict"] == "faster"]
    for number in repeat(stand, BENCH_S) if claiming else ():
        one = claiming[number % len(claiming)]
        (model,) = calls.models([one["model"]])
        yield _measure_again(stand, model, one)


def _tune(stand: Stand, model: Model) -> Observation:
    stand.show(f"tuning {model.name}, to be measured again later")
    out = stand.folder / f"bundle-{model.name}"
    tune = ["tune", *model.arguments, "--preset", "quick", "--budget", f"{TUNE_S:.0f}s", "--keep-default"]
    tune += ["--seed", str(stand.generator.getrandbits(31)), "--format", "json", "--out", str(out)]
    finished = calls.call(tune, environment=stand.environment)
    claim = claim_of(finished) if finished.exit_code == 0 else None
    return {
        "kind": "tune",
        "model": model.name,
        "at_s": time.time(),
        "claim": None if claim is None else asdict(claim),
        "error": finished.error if claim is None else None,
    }


def _measure_again(stand: Stand, model: Model, tuned: Observation) -> Observation:
    after_s = time.time() - tuned["at_s"]
    stand.show(f"measuring {model.name} again, {after_s / 60:.0f} minutes later")
    out = stand.folder / f"bundle-{model.name}"
    inputs = [] if (out / "samples.npz").is_file() else model.arguments[1:]
    most_s = QUICK_BENCH_S if stand.is_quick else BENCH_S
    budget_s = max(LEAST_BENCH_S, min(most_s, stand.time.left_s))
    bench = ["bench", str(out), *inputs, "--budget", f"{budget_s:.0f}s"]
    bench += ["--seed", str(stand.generator.getrandbits(31)), "--format", "json"]
    found = repeat_of(calls.call(bench, environment=stand.environment), Claim(**tuned["claim"]))
    return {"kind": "bench", "model": model.name, "after_s": round(after_s, 1), "found": asdict(found)}


def judge(found: Sequence[Observation]) -> Findings:
    """Inside the printed interval, and on the same side of 1."""
    again = [(one, Repeat(**one["found"])) for one in found if one["kind"] == "bench"]
    answered = [repeat for _, repeat in again if repeat.estimate is not None]
    signs = sum(_is_same_sign(repeat) for repeat in answered)
    targets = (
        counted.often("inside the printed interval", sum(one.is_inside for _, one in again), len(again), rate=INSIDE),
        counted.often("on the same side of 1", signs, len(answered), rate=SAME_SIGN),
    )
    cause = "" if again else _why_not(found)
    setting = _setting([one for one, _ in again])
    return Findings(
        evidence=[Evidence(row=6, tier=Tier.LIVE, setting=setting, target=target, cause=cause) for target in targets]
    )


def _is_same_sign(repeat: Repeat) -> bool:
    """Whether a re-measurement of something proven faster is faster too."""
    return repeat.estimate is not None and repeat.estimate > 1.0 and repeat.verdict != Verdict.SLOWER


def _setting(again: Sequence[Observation]) -> str:
    if not again:
        return "measured again later"
    names = ", ".join(dict.fromkeys(one["model"] for one in again))
    minutes = [one["after_s"] / 60 for one in again]
    return f"tuned, then measured again {min(minutes):.0f} to {max(minutes):.0f} minutes later, {names}"


def _why_not(found: Sequence[Observation]) -> str:
    tuned = [one for one in found if one["kind"] == "tune"]
    if not tuned:
        return "nothing was tuned"
    said = [one["error"] or one["claim"]["verdict"] for one in tuned]
    return f"not measured again, or nothing to: {counted.counts(said)}"


EXPERIMENT = Experiment(run=run, judge=judge)
