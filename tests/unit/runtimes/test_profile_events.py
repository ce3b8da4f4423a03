"""ONNX Runtime's profile, event by event."""

from pathlib import Path

import pytest

import infer_opt.runtimes.profile_events as events
from infer_opt.errors import EvidenceError, ModelError
from infer_opt.runtimes.device_events import device_call
from infer_opt.runtimes.profile_events import read_profile
from runtime_profiles import Event, execute, kernel, node, run, tensors, write


def two_calls() -> list[Event]:
    return [
        node("a", 10, 90, reads=tensors([1, 4]), writes=tensors([1, 2])),
        node("b", 110, 5, operator="Relu", index=1),
        execute(8, 110),
        run(5, 120),
        node("a", 200, 9),
        node("b", 212, 4, operator="Relu", index=1),
        execute(199, 20),
        run(195, 30),
    ]


def loop_of(turns: int, *, begin_us: int = 0) -> list[Event]:
    """A Loop of 100 µs whose body takes 8 µs a turn, after a node that ended in the microsecond in which it began."""
    body = []
    for turn in range(turns):
        at = begin_us + 5 + 10 * turn
        body += [node("t", at, 8, operator="Tanh", index=1), execute(at, 9)]
    return [
        node("before", begin_us - 20, 19, operator="Relu"),
        *body,
        node("loop", begin_us, 100, operator="Loop", index=3),
        execute(begin_us - 21, 125),
        run(begin_us - 25, 130),
    ]


def test_calls_end_where_the_runtime_says_so(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path / "p.json", two_calls()))

    assert [call.run_us for call in profile.calls] == [120, 30]
    assert [call.graph_us for call in profile.calls] == [110, 20]
    assert [[one.duration_us for one in call.executions] for call in profile.calls] == [[90, 5], [9, 4]]


def test_a_node_is_known_by_what_was_seen_first(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path / "p.json", two_calls()))

    first, second = profile.seen
    assert (first.name, first.operator, first.index) == ("a", "MatMul", 0)
    assert (first.inputs, first.outputs) == ((("float32", (1, 4)),), (("float32", (1, 2)),))
    assert second.operator == "Relu"


def test_what_runs_in_a_loop_is_not_counted_twice(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path / "p.json", loop_of(3, begin_us=100)))

    (call,) = profile.calls
    own = {profile.seen[one.node].key: one.own_us for one in call.executions}
    loop, body = ("Loop:loop:3",), ("Loop:loop:3", "Tanh:t:1")
    assert own[loop] == pytest.approx(100.5 - 3 * 8.5)
    assert sum(profile.seen[one.node].key == body for one in call.executions) == 3
    assert ("Relu:before:0",) in own  # a neighbour, though it ended when the Loop began
    assert call.graph_us == 125  # not that of a turn


def test_a_body_that_begins_in_the_same_microsecond_is_inside(tmp_path: Path) -> None:
    branch = [node("m", 50, 3, operator="Mul"), execute(50, 4), node("if", 50, 9, operator="If", index=2)]

    profile = read_profile(write(tmp_path / "p.json", [*branch, execute(49, 11), run(48, 13)]))

    assert {one.key for one in profile.seen} == {("If:if:2",), ("If:if:2", "Mul:m:0")}


def test_nodes_of_other_threads_are_not_inside(tmp_path: Path) -> None:
    at_once = [node("m", 52, 3, operator="Mul", thread=8), node("if", 50, 9, operator="If", index=2)]

    profile = read_profile(write(tmp_path / "p.json", [*at_once, execute(49, 11), run(48, 13)]))

    assert {one.key for one in profile.seen} == {("If:if:2",), ("Mul:m:0",)}


def test_kernels_belong_to_the_call_in_whose_time_they_ran(tmp_path: Path) -> None:
    gpu = [
        kernel("gemm", 20, 10),
        kernel("MemcpyHostToDevice", 6, 3, bytes="4096"),
        kernel("relu", 25, 10),
        kernel("softmax", 45, 5),
        kernel("gemm", 205, 8),
    ]

    profile = read_profile(write(tmp_path / "p.json", [*two_calls(), *gpu]))

    first, second = (device_call(call) for call in profile.calls)
    assert first is not None
    assert second is not None
    assert (first.launches, second.launches) == (3, 1)
    assert (first.span_us, first.busy_us) == (30, 20)  # 20 to 35 and 45 to 50: two of them ran side by side
    assert first.copies == {"host to device": (1, 4096, 3)}


def test_kernels_that_stand_among_the_nodes_belong_to_their_call_whatever_their_clock(tmp_path: Path) -> None:
    events = two_calls()
    events.insert(1, kernel("gemm", 1_000_020, 10))
    events.insert(6, kernel("gemm", 1_000_500, 7))

    first, second = read_profile(write(tmp_path / "p.json", events)).calls

    assert [[one.duration_us for one in call.device] for call in (first, second)] == [[10], [7]]


def test_a_call_on_a_processor_has_no_device(tmp_path: Path) -> None:
    profile = read_profile(write(tmp_path / "p.json", two_calls()))

    assert device_call(profile.calls[0]) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a profile"),
        ("{}", "not a profile"),
        ('[\n{"cat": "Node"}\n]\n', "cannot be read"),
        ('[\n{"cat": "Node", "name": "say "hello"", "ts": 1}\n]\n', "cannot be read"),
        ('[\n{"cat": "Session", "name": "model_run", "ts": 1, "dur": 2},\n', "cut off"),
        ('[\n{"cat": "Session", "name": "mod', "cannot be read"),
    ],
)
def test_what_is_no_whole_profile_is_refused_in_a_sentence(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)

    with pytest.raises(ModelError, match=why):
        read_profile(path)


def test_a_missing_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        read_profile(tmp_path / "none.json")


def test_half_of_a_profile_is_not_taken_for_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_EVENTS", 8)
    path = write(tmp_path / "p.json", two_calls())

    with pytest.raises(EvidenceError, match="stops its profile at 8 events"):
        read_profile(path)
