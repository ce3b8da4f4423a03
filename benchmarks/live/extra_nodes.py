"""A real slow-down: the model with a few more nodes. What they cost is measured first, long and on its own."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import calls
from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live import counted
from benchmarks.live.pairs import Contest, compare, is_wrong
from benchmarks.live.stand import FASTEST, Experiment, Observation, Stand, repeat

from infer_opt.results import Estimate, Verdict
from infer_opt.stats.confirm import LOOKS
from infer_opt.stats.intervals import mean_interval

MODEL = FASTEST  # 20 microseconds a run: a node or two is a few per cent of it
NODES = 4
REFERENCE = Contest(limit_s=120.0, least=LOOKS[-2], most=LOOKS[-2])
QUICK_REFERENCE = Contest(limit_s=30.0, least=LOOKS[1], most=LOOKS[1])
CONTEST = Contest(limit_s=30.0)
FINDABLE, RATE = 0.05, 0.95  # a slow-down of at least so much is promised to be found within 30 s


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """The cost first, then the tool's own answers, which share no process with it."""
    ready = stand.ready(MODEL)
    path = stand.folder / f"{MODEL}-longer.onnx"
    with_more_nodes(calls.models([MODEL])[0].path, path, count=NODES)

    def once(contest: Contest) -> dict[str, Any]:
        return compare(ready, ready.stock, contest=contest, generator=stand.generator, artefact=path)

    reference = QUICK_REFERENCE if stand.is_quick else REFERENCE
    stand.show(f"what {NODES} more nodes cost {MODEL}: measuring for up to {reference.limit_s:.0f} s")
    yield {"kind": "reference", "model": MODEL} | once(reference)
    for _ in repeat(stand, CONTEST.limit_s):
        found = once(replace(CONTEST, limit_s=min(CONTEST.limit_s, max(stand.time.left_s, 1.0))))
        stand.show(f"{MODEL} with {NODES} more nodes: {found['verdict']} after {found['seconds']:.0f} s")
        yield {"kind": "pair", "model": MODEL} | found


def with_more_nodes(source: Path, path: Path, *, count: int) -> None:
    """Write the model of `source` with `count` more nodes behind its first output."""
    import onnx
    from onnx import helper

    model = onnx.load(source)
    graph = model.graph
    output = graph.output[0].name
    inner = f"{output}_before"
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == output:
                    names[index] = inner
    names = [inner, *(f"{output}_{number}" for number in range(count - 1)), output]
    # Erf: no optimiser drops or fuses a chain of them.
    graph.node.extend(helper.make_node("Erf", [names[at]], [names[at + 1]]) for at in range(count))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def cost_of(found: Sequence[Observation]) -> Estimate | None:
    """What the nodes cost, as ln(time / stock's time) with its 95 % interval; None without enough epochs."""
    epochs = [value for one in found if one["kind"] == "reference" for value in one["epochs"]]
    return mean_interval(epochs) if len(epochs) >= LOOKS[0] else None


def judge(found: Sequence[Observation]) -> Findings:
    """The tool's answers against the cost. A sign can be wrong only where the cost's own interval has one."""
    cost = cost_of(found)
    pairs = [one for one in found if one["kind"] == "pair"]
    if cost is None or cost.low <= 0.0:
        cause = "what the nodes cost could not be told from nothing" if cost else "the cost could not be measured"
        target = counted.seldom("wrong sign", 0, 0, rate=0.0)
        return Findings(evidence=(Evidence(row=4, tier=Tier.LIVE, setting=_setting(None), target=target, cause=cause),))
    said = counted.counts(one["verdict"] for one in pairs)
    setting = f"{_setting(cost)}: {said}"
    hits = sum(one["verdict"] == Verdict.SLOWER for one in pairs)
    rate = RATE if cost.low >= FINDABLE else 0.0
    lines = [
        counted.often("found within 30 s", hits, len(pairs), rate=rate),
        counted.seldom("wrong sign", sum(is_wrong(one, cost.low) for one in pairs), len(pairs), rate=0.0),
    ]
    evidence = [Evidence(row=4, tier=Tier.LIVE, setting=setting, target=target) for target in lines]
    return Findings(evidence=evidence, results={"cost_log": cost})


def _setting(cost: Estimate | None) -> str:
    named = f"{MODEL} with {NODES} more nodes"
    return named if cost is None else f"{named}, which cost {cost.value:.1%} ({cost.low:.1%} to {cost.high:.1%})"


EXPERIMENT = Experiment(run=run, judge=judge)
