"""Stock as everything is compared with it: live, stopped, its outputs on record."""

import random
from pathlib import Path
from typing import Any

import pytest

from fakes import MS, World, make_rig
from infer_opt.config import TrialConfig
from infer_opt.errors import InferOptError, ModelError, StorageError
from infer_opt.results import OutputParity, Parity
from infer_opt.rig import Limits
from infer_opt.trials import Stock, run_stock
from infer_opt.workers.messages import Check, Evaluate, Measure, Open, Record, Warm
from infer_opt.workers.process import WorkerError
from made_trials import STOCK, opened


def stock_of(world: World, **changes: Any) -> Stock:
    return run_stock(make_rig(world, **changes), STOCK, random.Random(0))


def test_stock_stays_live_and_stopped_with_its_outputs_recorded() -> None:
    world = World(latency_ns={STOCK: 3.0 * MS})

    stock = stock_of(world)

    (worker,) = world.workers
    assert worker.is_alive
    assert worker.is_frozen
    assert stock.entrant.latency_ns == 3 * MS
    assert [command.path for command in worker.asked if isinstance(command, Record)] == [
        Path("/nowhere/reference.pickle")
    ]
    assert (stock.result.log_ratio, stock.result.log_ratio_error, stock.result.parity.score) == (0.0, 0.0, 1.0)
    assert stock.is_deterministic


def test_outputs_are_recorded_for_every_batch_size_by_a_worker_of_its_own() -> None:
    world = World()
    paths = {1: Path("/nowhere/1"), 8: Path("/nowhere/8")}

    stock_of(world, references=paths, feeds={1: Path("a"), 8: Path("b")})

    recorded = {w.config.batch: [c.path for c in w.asked if isinstance(c, Record)] for w in world.workers}
    assert recorded == {8: [paths[8]], 1: [paths[1]]}
    assert [worker.is_closed for worker in world.workers] == [True, False]


def test_batch_sizes_that_nobody_named_cost_nothing_before_one_is_tried() -> None:
    world = World()
    paths = {1: Path("/nowhere/1"), 8: Path("/nowhere/8")}

    stock_of(world, references=paths, feeds={1: Path("a"), 8: Path("b")}, unnamed=frozenset({8}))

    assert [worker.config.batch for worker in world.workers] == [1]


def test_a_slow_model_is_checked_on_fewer_inputs() -> None:
    def checked(first_run_ms: int) -> int:
        answer = opened([("CPUExecutionProvider", 3)], first_run_ns=first_run_ms * MS)
        return stock_of(World(scripts={STOCK: {Open: answer}})).checked

    assert (checked(1), checked(200), checked(60_000)) == (64, 20, 4)


def test_a_model_whose_outputs_differ_from_run_to_run_is_known_as_such() -> None:
    noisy = Parity(score=0.97, passed=False, outputs=(), samples=8)

    stock = stock_of(World(scripts={STOCK: {Check: noisy}}))

    assert not stock.is_deterministic
    assert stock.self_parity.score == 0.97


def test_outputs_that_nothing_can_be_compared_with_end_the_tuning() -> None:
    broken = OutputParity(
        name="y", cosine=None, relative_l2=None, largest_difference=None, problem="nothing but NaN or infinity"
    )
    parity = Parity(score=0.0, passed=False, outputs=(broken,), samples=8)
    world = World(scripts={STOCK: {Check: parity}})

    with pytest.raises(ModelError, match="stock's own output y cannot be compared: nothing but NaN") as caught:
        stock_of(world)

    assert caught.value.hint == "give real inputs with --inputs"
    assert world.workers[0].is_closed


def test_stocks_metric_is_taken_when_there_is_one() -> None:
    assert stock_of(World()).metric is None
    assert (
        stock_of(
            World(scripts={STOCK: {Evaluate: 0.875}}), limits=Limits(evaluation="evals.py:accuracy", max_drop=0.01)
        ).metric
        == 0.875
    )


@pytest.mark.parametrize("command", [Open, Record, Warm, Measure])
@pytest.mark.parametrize("error", [ModelError("no"), WorkerError("crashed"), StorageError("full")])
def test_stock_that_fails_is_an_error_and_leaves_no_worker(command: type, error: InferOptError) -> None:
    world = World(scripts={STOCK: {command: error}})

    with pytest.raises(type(error)):
        stock_of(world)

    assert world.workers[0].is_closed


def test_a_batch_that_the_model_cannot_take_is_named() -> None:
    world = World(scripts={TrialConfig(batch=8): {Open: ModelError("Got: 8 Expected: 1")}})

    with pytest.raises(ModelError, match="the model does not run with batch 8: Got: 8 Expected: 1") as caught:
        stock_of(world, references={1: Path("/a"), 8: Path("/b")}, feeds={1: Path("a"), 8: Path("b")})

    assert caught.value.hint == "leave that --batch out"
    assert all(worker.is_closed for worker in world.workers)
