"""Requests of many callers on one session that is told what to do: nothing here measures time."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from infer_opt.batching import Batcher, BatchingLimits, is_batched
from infer_opt.errors import ConfigError, ModelError, OverloadError
from infer_opt.facts import TensorSpec
from infer_opt.protocols import Array, Feeds
from infer_opt.results import Placement

PATIENT = BatchingLimits(max_batch=4, max_wait_s=5.0, max_queue=8)  # a batch runs when it is full
X = TensorSpec(name="x", dtype="float32", shape=("batch", 2))
Y = TensorSpec(name="y", dtype="float32", shape=("batch",))
POISON = -1.0


class Doubling:
    """y = 2 * sum(x) of each item. Refuses whatever holds the poison; can be held up."""

    def __init__(self, *, inputs: tuple[TensorSpec, ...] = (X,), outputs: tuple[TensorSpec, ...] = (Y,)) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.placement: Placement | None = None
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.began = threading.Event()
        self.error: Exception = ModelError("poisoned")
        self.answer: Callable[[Array], Array] = lambda x: 2 * x.sum(axis=1)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.began.set()
        assert self.go.wait(10)
        x = feeds["x"]
        self.sizes.append(len(x))
        if (x == POISON).any():
            raise self.error
        return {"y": self.answer(x)}

    def close(self) -> None:
        """Nothing to give back."""


def item(value: float, *, rows: int = 1, width: int = 2) -> dict[str, Any]:
    return {"x": np.full((rows, width), value, np.float32)}


def got(future: "Future[dict[str, Array]]") -> list[float]:
    return [float(value) for value in future.result(10)["y"]]


@pytest.fixture
def session() -> Doubling:
    return Doubling()


@pytest.fixture
def make() -> Iterator[Callable[..., Batcher]]:
    made: list[tuple[Batcher, Doubling]] = []

    def batcher(session: Doubling, limits: BatchingLimits = PATIENT) -> Batcher:
        made.append((Batcher([session], limits), session))
        return made[-1][0]

    yield batcher
    for one, session in made:
        session.go.set()
        one.close()


# Batches


def test_requests_run_together_and_each_gets_its_own_answer(session: Doubling, make: Any) -> None:
    batcher = make(session)

    futures = [batcher.submit(item(value)) for value in (1.0, 2.0, 3.0, 4.0)]

    assert [got(future) for future in futures] == [[4.0], [8.0], [12.0], [16.0]]
    assert session.sizes == [4]
    assert (batcher.counters.batches, batcher.counters.requests, batcher.counters.largest) == (1, 4, 4)


def test_a_batch_that_does_not_fill_runs_after_the_longest_wait(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=100, max_wait_s=0.01))

    assert got(batcher.submit(item(1.0))) == [4.0]


def test_batches_are_spread_over_sessions_that_run_at_the_same_time() -> None:
    sessions = [Doubling(), Doubling()]
    settled: list[int] = []
    for one in sessions:
        one.go.clear()
    batcher = Batcher(sessions, BatchingLimits(max_batch=2, max_wait_s=5.0), settle=settled.append)

    futures = [batcher.submit(item(float(value))) for value in range(1, 9)]
    assert all(one.began.wait(10) for one in sessions)  # both are busy before either has answered
    for one in sessions:
        one.go.set()

    assert [got(future) for future in futures] == [[4.0 * value] for value in range(1, 9)]
    assert sorted(sessions[0].sizes + sessions[1].sizes) == [2, 2, 2, 2]
    assert sorted(settled) == [0, 1]
    assert (batcher.counters.batches, batcher.counters.items) == (4, 8)
    batcher.close()


def test_a_failed_and_a_cancelled_request_harm_no_neighbour_on_any_session() -> None:
    sessions = [Doubling(), Doubling()]
    for one in sessions:
        one.go.clear()
    batcher = Batcher(sessions, BatchingLimits(max_batch=2, max_wait_s=5.0))
    first = [batcher.submit(item(float(value))) for value in (1, 2, 3, 4)]
    assert all(one.began.wait(10) for one in sessions)
    cancelled, good, bad, other = (batcher.submit(item(value)) for value in (5.0, 6.0, POISON, 7.0))
    last = batcher.submit(item(8.0))

    assert cancelled.cancel()
    for one in sessions:
        one.go.set()

    assert [got(future) for future in first] == [[4.0], [8.0], [12.0], [16.0]]
    assert (got(good), got(other), got(last)) == ([24.0], [28.0], [32.0])
    with pytest.raises(Exception, match=r"."):
        bad.result(10)
    batcher.close()


def test_closing_answers_what_is_in_the_queue_of_several_sessions() -> None:
    batcher = Batcher([Doubling(), Doubling(), Doubling()], PATIENT)
    before = threading.active_count()
    futures = [batcher.submit(item(float(value))) for value in range(7)]

    batcher.close()
    batcher.close()

    assert [got(future) for future in futures] == [[4.0 * value] for value in range(7)]
    assert threading.active_count() == before - 3


def test_requests_of_several_items_count_as_so_many_and_are_not_torn_apart(session: Doubling, make: Any) -> None:
    batcher = make(session)

    three, two, one = batcher.submit(item(1.0, rows=3)), batcher.submit(item(2.0, rows=2)), batcher.submit(item(3.0))

    assert (got(three), got(one)) == ([4.0] * 3, [12.0])
    batcher.submit(item(9.0, rows=2))
    assert got(two) == [8.0, 8.0]
    assert session.sizes[:2] == [4, 4]


def test_a_request_as_large_as_a_batch_runs_at_once_and_alone(session: Doubling, make: Any) -> None:
    assert got(make(session).submit(item(1.0, rows=6))) == [4.0] * 6
    assert session.sizes == [6]


def test_what_cannot_lie_behind_one_another_waits_for_its_own_batch(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=2, max_wait_s=5.0))

    narrow, wide = batcher.submit(item(1.0)), batcher.submit(item(1.0, width=3))
    double = batcher.submit({"x": np.ones((1, 2))})
    others = [batcher.submit(item(2.0)), batcher.submit(item(2.0, width=3)), batcher.submit({"x": np.ones((1, 2))})]

    assert [got(narrow), got(wide), got(double)] == [[4.0], [6.0], [4.0]]
    assert [got(one) for one in others] == [[8.0], [12.0], [4.0]]
    assert session.sizes == [2, 2, 2]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ((TensorSpec(name="x", dtype="float32", shape=(1, 2)),), (Y,)),
        ((X,), (TensorSpec(name="y", dtype="float32", shape=(1,)),)),
        ((X,), (TensorSpec(name="y", dtype="float32", shape=()),)),
        ((X,), (TensorSpec(name="y", dtype="float32", shape=None),)),
    ],
)
def test_a_model_without_a_free_batch_answers_one_request_at_a_time(
    make: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    session = Doubling(inputs=inputs, outputs=outputs)
    batcher = make(session)

    assert [got(batcher.submit(item(value))) for value in (1.0, 2.0)] == [[4.0], [8.0]]
    assert session.sizes == [1, 1]
    assert not (is_batched(inputs) and is_batched(outputs))


def test_an_output_that_has_no_row_for_each_item_is_never_shared_out(session: Doubling, make: Any) -> None:
    session.answer = lambda x: np.array([float(len(x))] * (1 if len(x) == 1 else 2), np.float32)
    batcher = make(session)

    futures = [batcher.submit(item(value)) for value in range(4)]

    assert [got(future) for future in futures] == [[1.0]] * 4  # each ran again, alone


def test_answers_of_one_batch_share_no_memory(session: Doubling, make: Any) -> None:
    batcher = make(session)
    first, second, *_ = [batcher.submit(item(value)) for value in (1.0, 2.0, 3.0, 4.0)]

    first.result(10)["y"][:] = 99.0

    assert got(second) == [8.0]
    assert first.result()["y"].base is None


# Neighbours


def test_only_the_request_at_fault_fails(session: Doubling, make: Any) -> None:
    batcher = make(session)

    futures = [batcher.submit(item(value)) for value in (1.0, POISON, 3.0, 4.0)]

    with pytest.raises(ModelError, match="poisoned"):
        futures[1].result(10)
    assert [got(futures[index]) for index in (0, 2, 3)] == [[4.0], [12.0], [16.0]]


def test_an_error_that_nobody_foresaw_belongs_to_its_request_too(session: Doubling, make: Any) -> None:
    session.error = ZeroDivisionError("deep inside")
    batcher = make(session)

    futures = [batcher.submit(item(value)) for value in (1.0, POISON, 3.0, 4.0)]

    with pytest.raises(ZeroDivisionError):
        futures[1].result(10)
    assert got(futures[0]) == [4.0]
    assert got(batcher.submit(item(5.0, rows=4))) == [20.0] * 4  # it lives on


def test_a_request_that_was_cancelled_in_time_is_not_run(session: Doubling, make: Any) -> None:
    batcher = make(session)
    futures = [batcher.submit(item(value)) for value in (1.0, 2.0, 3.0)]

    assert futures[1].cancel()
    rest = [batcher.submit(item(value)) for value in (4.0, 5.0)]

    assert [got(one) for one in (futures[0], futures[2], *rest)] == [[4.0], [12.0], [16.0], [20.0]]
    assert sum(session.sizes) == 4


def test_a_batch_of_cancelled_requests_alone_is_not_run(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=4, max_wait_s=0.05))
    session.go.clear()
    blocking = batcher.submit(item(0.0, rows=4))
    assert session.began.wait(10)
    futures = [batcher.submit(item(value)) for value in (1.0, 2.0)]

    assert all(future.cancel() for future in futures)
    session.go.set()

    assert got(blocking) == [0.0] * 4
    assert got(batcher.submit(item(3.0, rows=4))) == [12.0] * 4
    assert session.sizes == [4, 4]


# Room


def held(session: Doubling, batcher: Batcher) -> None:
    """The session is busy with a request, so that all others stay in the queue."""
    session.go.clear()
    batcher.submit(item(0.0, rows=4))
    assert session.began.wait(10)


def test_a_full_queue_refuses_whoever_does_not_want_to_wait(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=4, max_wait_s=0.0, max_queue=2))
    held(session, batcher)
    futures = [batcher.submit(item(value)) for value in (1.0, 2.0)]

    with pytest.raises(OverloadError, match="2 requests are waiting already") as caught:
        batcher.submit(item(3.0), timeout_s=0.0)
    with pytest.raises(OverloadError):
        batcher.submit(item(3.0), timeout_s=0.01)

    assert caught.value.hint
    session.go.set()
    assert [got(future) for future in futures] == [[4.0], [8.0]]


def test_a_thread_waits_for_room_and_is_served_then(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=4, max_wait_s=0.0, max_queue=1))
    held(session, batcher)
    batcher.submit(item(1.0))
    answers: list[float] = []
    thread = threading.Thread(target=lambda: answers.extend(got(batcher.submit(item(2.0)))))
    thread.start()
    time.sleep(0.05)
    assert not answers

    session.go.set()
    thread.join(10)

    assert answers == [8.0]


def test_a_hundred_threads_get_their_own_answers(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=16, max_wait_s=0.001, max_queue=10))
    wrong: list[int] = []

    def call(index: int) -> None:
        for turn in range(5):
            value = float(index * 10 + turn)
            if got(batcher.submit(item(value))) != [4.0 * value]:
                wrong.append(index)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(1, 101)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert not wrong
    assert batcher.counters.requests == 500
    assert max(session.sizes) <= 16


# Tasks


def test_tasks_are_batched_without_holding_up_their_loop(session: Doubling, make: Any) -> None:
    batcher = make(session)

    async def main() -> list[list[float]]:
        answers = await asyncio.gather(*(batcher.submit_async(item(float(value))) for value in range(1, 5)))
        return [[float(value) for value in answer["y"]] for answer in answers]

    assert asyncio.run(main()) == [[4.0], [8.0], [12.0], [16.0]]
    assert session.sizes == [4]


def test_tasks_wait_for_room_one_by_one(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=2, max_wait_s=0.001, max_queue=2))

    async def main() -> list[float]:
        answers = await asyncio.gather(*(batcher.submit_async(item(float(value))) for value in range(1, 51)))
        return [float(answer["y"][0]) for answer in answers]

    assert asyncio.run(main()) == [4.0 * value for value in range(1, 51)]


def test_a_task_that_waits_too_long_for_room_is_told(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=4, max_wait_s=0.0, max_queue=1))
    held(session, batcher)
    batcher.submit(item(1.0))

    async def main() -> None:
        with pytest.raises(OverloadError):
            await batcher.submit_async(item(2.0), timeout_s=0.02)

    asyncio.run(main())


def test_a_cancelled_task_takes_its_request_along_and_no_neighbour(session: Doubling, make: Any) -> None:
    batcher = make(session)

    async def main() -> list[float]:
        tasks = [asyncio.create_task(batcher.submit_async(item(float(value)))) for value in (1, 2, 3)]
        await asyncio.sleep(0.02)
        tasks[1].cancel()
        await asyncio.sleep(0.02)
        late = [asyncio.create_task(batcher.submit_async(item(float(value)))) for value in (4, 5)]
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        return [float(answer["y"][0]) for answer in await asyncio.gather(tasks[0], tasks[2], *late)]

    assert asyncio.run(main()) == [4.0, 12.0, 16.0, 20.0]
    assert sum(session.sizes) == 4


def test_a_task_that_is_cancelled_as_it_is_woken_gives_its_room_to_the_next(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=4, max_wait_s=0.0, max_queue=1))
    held(session, batcher)
    batcher.submit(item(1.0))

    async def main() -> float:
        first = asyncio.create_task(batcher.submit_async(item(2.0)))
        second = asyncio.create_task(batcher.submit_async(item(3.0)))
        await asyncio.sleep(0.02)
        first.cancel()
        session.go.set()
        return float((await asyncio.wait_for(second, 10))["y"][0])

    assert asyncio.run(main()) == 12.0


# The end, and what is refused


def test_closing_answers_what_is_in_the_queue_and_refuses_the_rest(session: Doubling, make: Any) -> None:
    batcher = make(session)
    futures = [batcher.submit(item(value)) for value in (1.0, 2.0)]

    batcher.close()
    batcher.close()

    assert [got(future) for future in futures] == [[4.0], [8.0]]
    with pytest.raises(ModelError, match="closed"):
        batcher.submit(item(3.0))


def test_whoever_waits_for_room_is_told_of_the_end(session: Doubling, make: Any) -> None:
    batcher = make(session, BatchingLimits(max_batch=4, max_wait_s=0.0, max_queue=1))
    held(session, batcher)
    batcher.submit(item(1.0))

    async def main() -> None:
        task = asyncio.create_task(batcher.submit_async(item(2.0)))
        await asyncio.sleep(0.02)
        closing = threading.Thread(target=batcher.close)
        closing.start()
        session.go.set()
        try:
            assert float((await asyncio.wait_for(task, 10))["y"][0]) == 8.0
        except ModelError as error:
            assert "closed" in error.what
        closing.join(10)

    asyncio.run(main())


def test_what_is_no_array_is_refused_before_it_can_harm_anybody(session: Doubling, make: Any) -> None:
    with pytest.raises(ModelError, match="input x takes an array, got list"):
        make(session).submit({"x": [1.0]})


def test_a_scalar_input_is_no_item_and_runs_alone(session: Doubling, make: Any) -> None:
    session.answer = lambda x: np.ones(1, np.float32)
    batcher = make(session)

    with pytest.raises((ModelError, TypeError)):
        batcher.submit({"x": np.float32(1.0)}).result(10)


@pytest.mark.parametrize(
    "limits", [{"max_batch": 0}, {"max_queue": 0}, {"max_wait_s": -1.0}, {"max_wait_s": float("inf")}]
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        BatchingLimits(**limits)
