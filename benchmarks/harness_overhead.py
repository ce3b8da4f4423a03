"""What the harness adds to a run, over a bare loop `for feeds in inputs: run(feeds)`. Target: 1 microsecond at most.

Two sessions: one whose run does nothing, where all that is seen is the harness, and a real ONNX Runtime session of one
node on one thread. Each is timed in two shapes of block: one run a sample, which costs a pair of clock readings a run,
and the shape that a tuning plans for so short a run, where many runs share a pair. Bare loop and harness take turns in
random order, on the same inputs, 2 ms at a time (a fifth of a real block, so that what a block costs once weighs five
times as much a run as it does in a tuning). What is reported is the paired difference, ns a run:

  added to the number   mean of the latencies that the harness reports - bare time a run: how wrong a result is
  added to the time     wall time of the whole call of the harness a run - bare time a run: how much longer it takes

The cost of reading the clock is taken off as a worker does: the harness takes off one pair a sample, the bare loop the
one pair around it. Garbage collection is off in both, as it is in a worker's block.
"""

import gc
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import record
from benchmarks.record import Target

from infer_opt.config import SessionOptions
from infer_opt.measure import ClockCost, Plan, Runnable, clock_cost, measure_block, plan_block
from infer_opt.protocols import Feeds
from infer_opt.results import Estimate
from infer_opt.runtimes import open_runtime

NAME = "harness_overhead"
LIMIT_NS = 1000.0
WARM_UP_TURNS = 3
TURN_NS = 2_000_000  # short turns pair better: what disturbs the machine lasts longer than both sides of a pair


class Nothing:
    """A session whose run does nothing."""

    def __init__(self) -> None:
        self._answer: dict[str, Any] = {}

    def run(self, feeds: Feeds) -> dict[str, Any]:
        """The same empty answer."""
        return self._answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One session in one shape of block: ns a run of each turn, the three lists in step."""

    session: str
    shape: str
    plan: Plan
    bare_ns: tuple[float, ...]
    reported_ns: tuple[float, ...]
    whole_ns: tuple[float, ...]

    @property
    def to_number(self) -> Estimate:
        """What the harness adds to the number that it reports, ns a run."""
        return record.difference([a - b for a, b in zip(self.reported_ns, self.bare_ns, strict=True)])

    @property
    def to_time(self) -> Estimate:
        """What the harness adds to the time that the runs take, ns a run."""
        return record.difference([a - b for a, b in zip(self.whole_ns, self.bare_ns, strict=True)])

    @property
    def reported_ratio(self) -> Estimate:
        """Reported time over bare time."""
        return record.ratio([math.log(a / b) for a, b in zip(self.reported_ns, self.bare_ns, strict=True)])


def measure(
    name: str, session: Runnable, feeds: Sequence[Feeds], *, turns: int, generator: random.Random
) -> list[Case]:
    """Both shapes of block for one session."""
    cost = clock_cost()
    latency_ns = _bare_ns(session, [feeds[0]] * 2000, cost)
    together = plan_block(latency_ns, cost).runs_per_sample
    runs = max(3 * together, int(TURN_NS / latency_ns))
    shapes = {
        "one run a sample": Plan(lead_in_runs=0, timed_runs=runs),
        "as planned": Plan(lead_in_runs=0, timed_runs=runs // together, runs_per_sample=together),
    }
    return [
        _case(name, shape, session, feeds, plan=plan, turns=turns, generator=generator, cost=cost)
        for shape, plan in shapes.items()
    ]


def _case(
    name: str, shape: str, session: Runnable, feeds: Sequence[Feeds], *, plan: Plan, turns: int,
    generator: random.Random, cost: ClockCost,
) -> Case:  # fmt: skip
    count = plan.timed_runs * plan.runs_per_sample
    timed = [feeds[index % len(feeds)] for index in range(count)]
    bare: list[float] = []
    reported: list[float] = []
    whole: list[float] = []
    for turn in range(WARM_UP_TURNS + turns):
        found: dict[str, tuple[float, ...]] = {}
        sides = ["bare", "harness"]
        generator.shuffle(sides)
        for side in sides:
            if side == "bare":
                found[side] = (_bare_ns(session, timed, cost),)
            else:
                found[side] = _harness_ns(session, feeds, plan, cost)
        if turn >= WARM_UP_TURNS:
            bare.append(found["bare"][0])
            reported.append(found["harness"][0])
            whole.append(found["harness"][1])
    return Case(
        session=name,
        shape=shape,
        plan=plan,
        bare_ns=tuple(bare),
        reported_ns=tuple(reported),
        whole_ns=tuple(whole),
    )


def _bare_ns(session: Runnable, timed: Sequence[Feeds], cost: ClockCost) -> float:
    run = session.run
    gc.disable()
    try:
        begin = time.perf_counter_ns()
        for feed in timed:
            run(feed)
        return (time.perf_counter_ns() - begin - cost.call_ns) / len(timed)
    finally:
        gc.enable()


def _harness_ns(session: Runnable, feeds: Sequence[Feeds], plan: Plan, cost: ClockCost) -> tuple[float, float]:
    """What it reports, and what its call took, both in ns a run."""
    begin = time.perf_counter_ns()
    block = measure_block(session, feeds, plan=plan, clock_ns=cost.call_ns)
    whole_ns = time.perf_counter_ns() - begin - cost.call_ns
    count = plan.timed_runs * plan.runs_per_sample
    return sum(block.latency_ns) / len(block.latency_ns), whole_ns / count


def one_node_model(path: Path) -> None:
    """Write `y = Relu(x)` over 16 floats: as little work as a session can have."""
    from onnx import TensorProto, helper, save

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one_node", [x], [y])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--turns", type=int, default=500, help="pairs for each row (default 500)")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    generator = random.Random(options.seed)
    cost = clock_cost()
    cases = measure("nothing", Nothing(), [{} for _ in range(16)], turns=options.turns, generator=generator)
    numbers = np.random.default_rng(options.seed)
    feeds = [{"x": numbers.standard_normal((1, 16), dtype=np.float32)} for _ in range(16)]
    with tempfile.TemporaryDirectory() as folder:
        one_node_model(Path(folder) / "one_node.onnx")
        session = open_runtime("onnx").open(Path(folder) / "one_node.onnx", SessionOptions(intra_threads=1))
        cases += measure("one node", session, feeds, turns=options.turns, generator=generator)
        session.close()
    targets = [target for case in cases for target in targets_of(case)]
    begun.write(
        options.result,
        method=__doc__ or "",
        targets=targets,
        results={"clock_call_ns": cost.call_ns, "clock_resolution_ns": cost.resolution_ns, "cases": results(cases)},
        samples={f"{case.session}, {case.shape}": samples(case) for case in cases},
    )
    headings = ["session", "block", "bare ns", "to the number, ns", "95 %", "to the time, ns", "95 %", "reported/bare"]
    return record.report(headings, [row(case) for case in cases], targets, options.result)


def targets_of(case: Case) -> list[Target]:
    """The promise, for the number and for the time."""
    return [
        Target(
            name=f"{case.session}, {case.shape}: added to the {what}",
            unit="ns a run",
            measured=added.value,
            high=added.high,
            at_most=LIMIT_NS,
        )
        for what, added in (("number", case.to_number), ("time", case.to_time))
    ]


def results(cases: Sequence[Case]) -> list[dict[str, Any]]:
    return [
        {
            "session": case.session,
            "block": case.shape,
            "timed_samples": case.plan.timed_runs,
            "runs_per_sample": case.plan.runs_per_sample,
            "turns": len(case.bare_ns),
            "bare_ns": float(np.median(case.bare_ns)),
            "added_to_number_ns": case.to_number,
            "added_to_time_ns": case.to_time,
            "reported_over_bare": case.reported_ratio,
        }
        for case in cases
    ]


def samples(case: Case) -> dict[str, list[float]]:
    lists = {"bare_ns": case.bare_ns, "reported_ns": case.reported_ns, "whole_ns": case.whole_ns}
    return {name: [round(value, 1) for value in values] for name, values in lists.items()}


def row(case: Case) -> list[object]:
    number, whole = case.to_number, case.to_time
    return [
        case.session,
        case.shape,
        float(np.median(case.bare_ns)),
        number.value,
        f"{number.low:.1f} to {number.high:.1f}",
        whole.value,
        f"{whole.low:.1f} to {whole.high:.1f}",
        f"{case.reported_ratio.value:.3f}",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
