import os
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from infer_opt import instances
from infer_opt.errors import ModelError
from infer_opt.facts import TensorSpec
from infer_opt.instances import CAN_PIN, Instances, pinned
from infer_opt.protocols import Array, Feeds
from infer_opt.results import Placement

needs_pinning = pytest.mark.skipif(not CAN_PIN, reason="this platform cannot pin threads")


class Held:
    """Answers with its own number once it is let go; knows where it was opened, and how many were in it at once."""

    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch",)),)
    outputs = inputs
    placement = Placement(nodes=(("CPUExecutionProvider", 1),))

    def __init__(self, number: int) -> None:
        self.number = number
        self.cores = os.sched_getaffinity(0) if CAN_PIN else set()
        self.inside = self.most = 0
        self.go, self.began, self.is_closed = threading.Event(), threading.Event(), False
        self.go.set()

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.began.set()
        self.go.wait(10)
        self.inside -= 1
        if feeds.get("fail"):
            raise ModelError("no")
        return {"number": self.number}

    def close(self) -> None:
        self.is_closed = True


class Opening:
    """Gives sessions with the numbers 0, 1, 2 ..."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.made: list[Held] = []
        self._fails_at = fails_at

    def __call__(self) -> Held:
        if len(self.made) == self._fails_at:
            raise ModelError("out of memory")
        self.made.append(Held(len(self.made)))
        return self.made[-1]


def in_thread(found: dict[int, Mapping[str, Any]], several: Instances, number: int) -> threading.Thread:
    thread = threading.Thread(target=lambda: found.update({number: several.run({})}))
    thread.start()
    return thread


def test_callers_at_the_same_time_are_answered_by_different_sessions() -> None:
    opening = Opening()
    several = Instances(opening, count=2)
    for one in opening.made:
        one.go.clear()
    found: dict[int, Mapping[str, Any]] = {}

    threads = [in_thread(found, several, number) for number in range(5)]
    assert all(one.began.wait(10) for one in opening.made)
    for one in opening.made:
        one.go.set()
    for thread in threads:
        thread.join(10)

    assert sorted(found) == [0, 1, 2, 3, 4]
    assert {answer["number"] for answer in found.values()} == {0, 1}
    assert [one.most for one in opening.made] == [1, 1]  # the others waited for a free one


def test_a_caller_alone_stays_with_one_session() -> None:
    several = Instances(Opening(), count=3)

    assert {several.run({})["number"] for _ in range(6)} == {0}


def test_a_call_that_fails_leaves_its_session_to_the_next() -> None:
    several = Instances(Opening(), count=1)

    with pytest.raises(ModelError):
        several.run({"fail": True})

    assert several.run({}) == {"number": 0}


def test_it_looks_like_one_session_and_is_closed_as_one() -> None:
    opening = Opening()
    several = Instances(opening, count=2)

    several.close()
    several.close()

    assert (several.inputs, several.outputs, several.placement) == (Held.inputs, Held.outputs, Held.placement)
    assert [one.is_closed for one in opening.made] == [True, True]


def test_where_one_does_not_open_the_others_are_closed() -> None:
    opening = Opening(fails_at=1)

    with pytest.raises(ModelError, match="out of memory"):
        Instances(opening, count=2)

    assert [one.is_closed for one in opening.made] == [True]


@needs_pinning
def test_each_is_opened_on_its_cores_and_the_caller_is_where_it_was() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    opening = Opening()

    several = Instances(opening, count=2, cores=[(core,), before])

    assert [one.cores for one in opening.made] == [{core}, before]
    assert os.sched_getaffinity(0) == before
    assert several.is_pinned


@needs_pinning
def test_a_thread_that_settles_stays_on_the_cores_of_its_session() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    several = Instances(Opening(), count=1, cores=[(core,)])
    seen: list[set[int]] = []

    def work() -> None:
        several.settle(0)
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)

    assert seen == [{core}]
    assert os.sched_getaffinity(0) == before


@needs_pinning
def test_cores_that_are_not_there_leave_everything_to_the_scheduler() -> None:
    before = os.sched_getaffinity(0)

    several = Instances(Opening(), count=1, cores=[(4000,)])

    assert not several.is_pinned
    assert several.run({}) == {"number": 0}
    with pinned((4000,)) as is_pinned:
        assert not is_pinned
    assert os.sched_getaffinity(0) == before


def test_a_platform_that_cannot_pin_opens_them_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "CAN_PIN", False)
    several = Instances(Opening(), count=2, cores=[(0,), (1,)])

    several.settle(1)

    assert not several.is_pinned
    assert len(several.sessions) == 2
