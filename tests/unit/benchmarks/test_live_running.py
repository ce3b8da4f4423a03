"""The live experiments themselves, over fake workers, and what slows a contender down. One real worker is started."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from benchmarks import calls
from benchmarks.calls import Finished
from benchmarks.live import equals, extra_nodes, hostile, position, power, remeasured
from benchmarks.live import whole_tunes as tunes
from benchmarks.live.neighbour import STRETCH_S, stretch_s
from benchmarks.live.pairs import SUBJECT
from benchmarks.live.slowed import SLOWED, SlowedSession
from benchmarks.live.slowing import INSTALL, slowed_by
from benchmarks.live.stand import Ready, Stand

from fakes import FakeClock, FakeSession, World, make_rig, make_setup
from infer_opt.budget import Budget
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.protocols import Session
from infer_opt.workers.messages import Call
from infer_opt.workers.process import WorkerProcess


class FakeCalls:
    """Answers `tune` with a speed-up of 2, and `bench` with 1.9; remembers what was called."""

    def __init__(self, verdict: str = "faster") -> None:
        self.verdict = verdict
        self.called: list[list[str]] = []

    def __call__(self, arguments: Sequence[str], *, environment: Mapping[str, str]) -> Finished:
        self.called.append(list(arguments))
        estimate = 2.0 if arguments[0] == "tune" else 1.9
        speedup = {"estimate": estimate, "low": 1.8, "high": 2.1, "remeasure_low": 1.8, "remeasure_high": 2.2}
        document: dict[str, Any] = {
            "verdict": self.verdict,
            "reason": "r",
            "winner": {"label": "w"},
            "speedup": speedup,
        }
        document |= {"comparison": {"epochs": [-0.7] * 4}, "claim_holds": True}
        return Finished(arguments=tuple(arguments), exit_code=0, wall_s=1.0, output=json.dumps(document), error="")


def a_stand(tmp_path: Path) -> Stand:
    nothing_left = Budget(total_s=0.0)
    return Stand(folder=tmp_path, environment={}, generator=random.Random(0), show=lambda text: None, time=nothing_left)


def test_what_was_tuned_first_is_measured_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCalls()
    monkeypatch.setattr(calls, "call", fake)
    stand = a_stand(tmp_path)

    first = list(remeasured.run(stand, ()))
    later = list(remeasured.run(stand, first))

    assert [one["kind"] for one in first] == ["tune", "tune"]
    assert [(one["kind"], one["model"]) for one in later] == [("bench", "digits_cnn")]
    assert fake.called[2][1] == fake.called[0][fake.called[0].index("--out") + 1]
    inside, side = remeasured.judge([*first, *later * 4]).evidence
    assert (inside.target.measured, side.target.measured) == (4.0, 4.0)


def test_what_claims_nothing_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "call", FakeCalls("no-faster"))
    stand = a_stand(tmp_path)

    first = list(remeasured.run(stand, ()))

    assert list(remeasured.run(stand, first)) == []


# The experiments themselves, over workers that are fake.


def ready_in(world: World) -> Ready:
    setup = make_setup(make_rig(world))
    return Ready(setup=setup, stock=TrialConfig(), setup_s=0.5, round_s=0.05)


def a_stand_over(world: World, tmp_path: Path) -> Stand:
    stand = a_stand(tmp_path)
    stand.known = dict.fromkeys(("digits_cnn", "sequence_lstm", "policy_mlp"), ready_in(world))
    return stand


def test_a_copy_is_held_against_stock_in_processes_of_its_own(tmp_path: Path) -> None:
    world = World(seed=1, noise=0.01, process_effect=0.001)

    (found,) = equals.run(a_stand_over(world, tmp_path), ())

    opened = [worker for worker in world.workers if worker.name.startswith(SUBJECT)]
    assert found["verdict"] in ("equivalent", "inconclusive")
    assert len(opened) == len(found["epochs"]) >= 4
    assert {cast(Any, worker.asked[0]).artefact.name for worker in opened} == {"copy-digits_cnn.onnx"}
    assert json.loads(json.dumps(found)) == found


def test_orders_and_values_of_rounds_are_kept_as_they_were(tmp_path: Path) -> None:
    (found,) = position.run(a_stand_over(World(seed=1, noise=0.01), tmp_path), ())

    assert len(found["orders"]) == len(found["values"]) == position.ROUNDS
    assert len({tuple(order) for order in found["orders"]}) == 6


def test_a_whole_tune_over_equals_names_no_winner(tmp_path: Path) -> None:
    world = World(seed=1, noise=0.03, process_effect=0.01)

    (found,) = tunes.run(a_stand_over(world, tmp_path), ())

    assert found["verdict"] == "no-faster"
    assert found["trials_that_ran"] == tunes.CONFIGURATIONS
    assert found["best_of_the_screen_log"] < 0.0  # luck alone


def test_a_whole_tune_names_a_winner_that_is_one(tmp_path: Path) -> None:
    quick = tunes.equals(TrialConfig(), tunes.CONFIGURATIONS)[6]
    world = World(seed=1, noise=0.03, process_effect=0.01, latency_ns={quick: 800_000.0})

    (found,) = tunes.run(a_stand_over(world, tmp_path), ())

    assert found["verdict"] == "faster"
    assert len(found["epochs"]) >= 4


# What slows down.


@pytest.mark.parametrize("share", [0.02, 0.10])
def test_a_slowed_run_takes_its_share_longer_and_answers_the_same(share: float) -> None:
    clock = FakeClock(reading_ns=50)
    session = FakeSession(clock, [1_000_000])
    plain = session.run({})
    begin = clock.now_ns

    answer = SlowedSession(cast(Session, session), share, clock).run({})

    assert answer == plain
    assert clock.now_ns - begin == pytest.approx(1_000_000 * (1 + share), rel=0.001)


def test_a_worker_that_was_told_knows_the_slowed_runtimes() -> None:
    config = slowed_by(TrialConfig(), 0.05)
    with WorkerProcess(random.Random(0)) as worker:
        worker.ask(Call(target=INSTALL), timeout_s=60)
        version = worker.ask(Call(target="infer_opt.preparing:ask_runtime", arguments=(config.runtime,)), timeout_s=60)

    assert config.options == SessionOptions()
    assert version.version


def test_every_promised_slow_down_can_be_made() -> None:
    assert {promise.share for promise in power.PROMISES} == set(SLOWED)
    assert hostile.SLOWDOWN in SLOWED


def test_a_neighbour_works_and_rests_in_stretches_of_random_length() -> None:
    generator = random.Random(0)
    lengths = [stretch_s(generator) for _ in range(200)]

    assert np.mean(lengths) == pytest.approx(STRETCH_S, rel=0.1)
    assert max(lengths) - min(lengths) > 0.5 * STRETCH_S


def test_more_nodes_do_their_work_behind_the_first_output(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, load, save
    from onnx.reference import ReferenceEvaluator
    from scipy.special import erf

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one", [x], [y])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "one.onnx")

    extra_nodes.with_more_nodes(tmp_path / "one.onnx", tmp_path / "more.onnx", count=2)

    longer = load(tmp_path / "more.onnx")
    values = np.array([-1.0, 0.5, 2.0], dtype=np.float32)
    (answer,) = ReferenceEvaluator(longer).run(None, {"x": values})
    assert [node.op_type for node in longer.graph.node] == ["Relu", "Erf", "Erf"]
    assert answer == pytest.approx(erf(erf(np.maximum(values, 0.0))), abs=1e-5)
