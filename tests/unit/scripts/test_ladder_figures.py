"""From epochs to the ladder's table: floors, intervals over processes, reasons."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from scripts.ladder import rungs, showing
from scripts.ladder.arena import Epoch, Seen
from scripts.ladder.contestants import CONTESTANTS, Source
from scripts.ladder.floors import floor_of
from scripts.ladder.work import Work

from infer_opt.config import Provider
from infer_opt.results import OutputParity, Parity
from infer_opt.rig import BASELINE, CLONE

WORK = Work(operations=2_000_000_000, weights=1_000_000, input_bytes=4000, output_bytes=8000)
CEILINGS = {
    "copy": [1e12, 2e12],
    "float32": [1e13],
    "tf32": [1e14],
    "float16": [2e14],
    "to_device": [1e10],
    "from_device": [2e10],
}
PARITY = Parity(
    score=0.9998,
    passed=True,
    samples=4,
    outputs=(OutputParity(name="y", cosine=0.9998, relative_l2=0.02, largest_difference=0.1),),
)


def epoch(**ratios: float) -> Epoch:
    """One epoch in which stock took a millisecond, and others that times their ratio."""
    seen = {
        name: Seen(log_ratio=math.log(ratio), latency_ns=1e6 * ratio, parity=PARITY, memory_bytes=500_000_000)
        for name, ratio in {BASELINE: 1.0, CLONE: 1.0, **ratios}.items()
    }
    return Epoch(seen=seen, lost={}, rounds=20, discarded=("gpu",), is_disturbed=False, cost_s=12.0)


def made(*epochs: Epoch) -> rungs.Rung:
    rung = rungs.new("policy", 8)
    rung["work"] = {"operations": 2e9, "weights": 1_000_000, "input_bytes": 4000, "output_bytes": 8000}
    for one in epochs:
        rungs.add(rung, one)
    return rung


def row(name: str, rung: rungs.Rung, reasons: dict[str, str] | None = None) -> rungs.Row:
    return {one.name: one for one in rungs.rows(rung, CEILINGS, reasons or {})}[name]


def floored(work: Work, precision: str, ceilings: Mapping[str, Any] = CEILINGS) -> tuple[int, str] | None:
    """The floor in whole ns, and what it comes from."""
    found = floor_of(work, precision, ceilings)
    return None if found is None else (round(found.floor_ns), found.bound)


def test_a_floor_is_the_largest_of_three_times_at_the_best_rates() -> None:
    light = Work(operations=1000, weights=1_000_000, input_bytes=0, output_bytes=0)
    sent = Work(operations=1000, weights=10, input_bytes=1_000_000, output_bytes=0)

    assert floored(WORK, "tf32") == (20_000, "compute")
    assert floored(WORK, "float16") == (10_000, "compute")
    assert floored(light, "float32") == (2_000, "memory")
    assert floored(light, "float16") == (1_000, "memory")
    assert floored(sent, "float16") == (100_000, "transfer")


def test_without_its_ceilings_there_is_no_floor() -> None:
    assert floored(WORK, "tf32", {"reason": "PyTorch is not there"}) is None
    assert floored(WORK, "tf32", {"copy": [1e12]}) is None
    # On a CPU there is no TF32: float32 is the ceiling then.
    assert floored(WORK, "tf32", {"copy": [1e12], "float32": [1e13]}) == (200_000, "compute")


def test_a_row_holds_intervals_over_processes_and_the_distance_to_the_floor() -> None:
    rung = made(epoch(**{"ort-graph": 0.50}), epoch(**{"ort-graph": 0.52}), epoch(**{"ort-graph": 0.51}))

    found, stock = row("ort-graph", rung), row(BASELINE, rung)

    assert found.processes == 3
    assert found.ratio is not None
    assert found.ratio.low < 1 / 0.51 < found.ratio.high
    assert found.ratio.value == pytest.approx(1 / 0.51, rel=0.01)
    assert found.share == pytest.approx(20_000 / 510_000, rel=0.01)
    assert (found.score, found.memory_bytes) == (0.9998, 500_000_000)
    assert stock.ratio is None
    assert stock.latency_ns is not None
    assert stock.latency_ns.value == pytest.approx(1e6)


def test_one_process_has_no_interval_in_the_table() -> None:
    text = showing.table([row("ort-graph", made(epoch(**{"ort-graph": 0.5})))])

    assert "0.5 [n/a]" in text
    assert "2 [n/a]" in text
    assert "0.99980" in text
    assert "500 MB" in text


def test_what_was_not_measured_says_why_once_for_all_places() -> None:
    rung, other = made(epoch()), rungs.new("lstm", 1)
    for one in (rung, other):
        one["lost"]["ort-graph"] = "ONNX Runtime cannot capture it"
    rows = [found for one in (rung, other) for found in rungs.rows(one, CEILINGS, {"torch-eager": "no PyTorch"})]

    lines = showing.reasons(rows)

    assert "+ CUDA graph: ONNX Runtime cannot capture it (policy 8, lstm 1)" in lines
    assert "PyTorch eager: no PyTorch (policy 8, lstm 1)" in lines
    assert "FP16: not reached in the time (policy 8, lstm 1)" in lines
    assert "ONNX Runtime, stock FP32: not reached in the time (lstm 1)" in lines


def test_epochs_are_plain_json_without_what_is_not_available() -> None:
    import json

    rung = made(epoch(**{"ort-graph": 0.5}))

    kept = json.loads(json.dumps(rung))

    assert kept["epochs"][0]["seen"]["ort-graph"] == {
        "log_ratio": math.log(0.5),
        "latency_ns": 5e5,
        "memory_bytes": 500_000_000,
        "score": 0.9998,
        "relative_l2": 0.02,
    }
    assert row("ort-graph", kept) == row("ort-graph", rung)


def test_contestants_have_names_of_their_own_and_configurations_that_exist() -> None:
    names = [one.name for one in CONTESTANTS]

    assert len(set(names)) == len(names)
    assert {BASELINE, CLONE, "torch-eager", "torch-compile", "tune", "tensorrt"} <= set(names)
    for one in CONTESTANTS:
        config = one.config(Provider.CUDA, 8)
        assert (config.batch, config.options.provider) == (8, Provider.CUDA)
        assert one.source is not Source.HALF or config.recipe.fp16
    stock, control = (next(one for one in CONTESTANTS if one.name == name) for name in (BASELINE, CLONE))
    assert stock.config(Provider.CUDA, 1) == control.config(Provider.CUDA, 1)
