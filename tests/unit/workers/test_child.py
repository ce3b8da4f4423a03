import errno
import math
import pickle
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from infer_opt.errors import InferOptError, ModelError, StorageError
from infer_opt.facts import TensorSpec
from infer_opt.instances import Instances
from infer_opt.measure import WarmUp, WarmUpPlan
from infer_opt.protocols import Array, Feeds
from infer_opt.recipes import Recipe
from infer_opt.results import Block, Parity
from infer_opt.workers import messages
from infer_opt.workers.child import Worker, resolve, serve, splitting


class Doubling:
    """A session that doubles x; at most `batch` items a call when that is given."""

    placement = None
    outputs = (TensorSpec(name="y", dtype="float32", shape=("batch", 2)),)

    def __init__(self, batch: int | str = "batch") -> None:
        self.inputs = (TensorSpec(name="x", dtype="float32", shape=(batch, 2)),)
        self.sizes: list[int] = []

    def run(self, feeds: Feeds) -> dict[str, Array]:
        x = feeds["x"]
        self.sizes.append(len(x))
        if isinstance(self.inputs[0].shape, tuple) and self.inputs[0].shape[0] not in ("batch", len(x)):
            raise ModelError(f"Got: {len(x)} Expected: {self.inputs[0].shape[0]}")
        return {"y": 2 * x}

    def close(self) -> None:
        pass


class Stale(Doubling):
    """Gives its first answer for ever."""

    first: dict[str, Array] | None = None

    def run(self, feeds: Feeds) -> dict[str, Array]:
        self.first = self.first or super().run(feeds)
        return self.first


FEEDS = tuple({"x": np.full((1, 2), float(index), np.float32)} for index in range(6))


def worker_with(session: Doubling, *, timed: int = 4) -> Worker:
    worker = Worker()
    worker.session, worker.feeds, worker.timed = session, FEEDS, FEEDS[:timed]
    return worker


@pytest.fixture(autouse=True)
def restored_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What workers do to sys.path dies with them; here it must not outlive the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield


# Recorded answers


def test_outputs_recorded_by_one_worker_are_what_another_is_compared_with(tmp_path: Path) -> None:
    path = tmp_path / "reference.pickle"

    worker_with(Doubling()).answer(messages.Record(path=path, count=5))
    parity = worker_with(Doubling()).answer(messages.Check(reference=path, tolerance=0.99, count=64))

    assert isinstance(parity, Parity)
    assert parity.passed
    assert parity.samples == 5  # no more than there are
    assert list(tmp_path.iterdir()) == [path]


def test_only_as_many_inputs_are_checked_as_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "reference.pickle"
    worker_with(Doubling()).answer(messages.Record(path=path, count=6))
    session = Doubling()

    parity = worker_with(session).answer(messages.Check(reference=path, tolerance=0.99, count=2))

    assert isinstance(parity, Parity)
    assert (parity.samples, len(session.sizes)) == (2, 2)


def test_wrong_answers_are_found(tmp_path: Path) -> None:
    path = tmp_path / "reference.pickle"
    path.write_bytes(pickle.dumps([{"y": -2 * feed["x"] - 1} for feed in FEEDS]))

    parity = worker_with(Doubling()).answer(messages.Check(reference=path, tolerance=0.99, count=6))

    assert isinstance(parity, Parity)
    assert not parity.passed


def test_a_stale_replay_is_told_from_a_sound_session(tmp_path: Path) -> None:
    path = tmp_path / "reference.pickle"
    worker_with(Doubling()).answer(messages.Record(path=path, count=6))
    command = messages.CheckStale(reference=path)

    assert worker_with(Doubling()).answer(command) is None
    assert "stale replay" in str(worker_with(Stale()).answer(command))


def test_outputs_that_cannot_be_kept_are_an_error_of_storage(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        worker_with(Doubling()).answer(messages.Record(path=tmp_path / "gone" / "reference.pickle", count=2))


# Timing


def test_a_block_is_planned_from_what_the_warm_up_saw() -> None:
    worker = worker_with(Doubling())

    warmed = worker.answer(messages.Warm(plan=WarmUpPlan(least_ns=1, cap_ns=1)))
    block = worker.answer(messages.Measure(start=3))

    assert worker.latency_ns == warmed.latency_ns < 1e6  # type: ignore[attr-defined]
    assert isinstance(block, Block)
    assert len(block.latency_ns) >= 3
    assert min(block.latency_ns) > 0


def test_it_runs_three_times_at_least() -> None:
    session = Doubling()

    use = worker_with(session).answer(messages.Run(seconds=0.0))

    assert isinstance(use, messages.Ran)
    assert use.runs == len(session.sizes) == 3
    assert use.seconds > 0


def worker_with_two() -> tuple[Worker, list[Doubling]]:
    sessions = [Doubling(), Doubling()]
    waiting = list(sessions)
    worker = worker_with(sessions[0])
    worker.session = Instances(lambda: waiting.pop(0), count=2)
    return worker, sessions


def test_several_sessions_warm_up_and_are_measured_together() -> None:
    worker, sessions = worker_with_two()

    worker.answer(messages.Warm(plan=WarmUpPlan(least_ns=1, cap_ns=1)))
    warm = [len(session.sizes) for session in sessions]
    block = worker.answer(messages.Measure(start=3))

    assert isinstance(block, Block)
    assert block.spacing_ns is not None
    assert min(warm) > 0
    assert all(len(session.sizes) > before for session, before in zip(sessions, warm, strict=True))


def test_several_sessions_all_run() -> None:
    worker, sessions = worker_with_two()

    use = worker.answer(messages.Run(seconds=0.0))

    assert isinstance(use, messages.Ran)
    assert use.runs >= 3
    assert all(session.sizes for session in sessions)


@pytest.mark.parametrize(
    "command", [messages.Measure(start=0), messages.Warm(plan=WarmUpPlan()), messages.Run(seconds=0.0)]
)
def test_commands_that_need_a_session_say_so_when_there_is_none(command: object) -> None:
    with pytest.raises(ModelError, match="no session is open"):
        Worker().answer(command)


# The user's metric


def metric_file(tmp_path: Path, body: str) -> str:
    path = tmp_path / "my_metric.py"
    path.write_text(f"import numpy as np\n\n\ndef score(run):\n    {body}\n\n\nnot_a_function = 3\n")
    return f"{path}:score"


def evaluated(target: str, session: Doubling | None = None) -> object:
    return worker_with(session or Doubling()).answer(messages.Evaluate(target=target))


def test_the_metric_is_called_with_run_and_gives_a_number(tmp_path: Path) -> None:
    assert evaluated(metric_file(tmp_path, 'return run({"x": np.ones((3, 2))})["y"].sum()')) == 12.0


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("return run({})", "KeyError: 'x'"),
        ('return run({"x": np.ones((3, 2))})["y"]', "TypeError"),  # an array of six is no number
        ("return undefined", "NameError"),
        ("return 1 / 0", "ZeroDivisionError"),
        ("assert False, 'labels are missing'", "AssertionError: labels are missing"),
        ("return open('/nowhere/labels')", "FileNotFoundError"),
        ("return None", "TypeError"),
    ],
)
def test_a_metric_that_fails_is_one_sentence_with_what_it_is_called_with(tmp_path: Path, body: str, part: str) -> None:
    with pytest.raises(ModelError, match=r"--eval .*my_metric\.py:score failed") as caught:
        evaluated(metric_file(tmp_path, body))

    assert part in caught.value.what
    assert "run({name: array})" in str(caught.value.hint)


def test_a_metric_of_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gave NaN"):
        evaluated(metric_file(tmp_path, "return float('nan')"))


def test_a_metric_over_many_items_works_on_an_artefact_of_fixed_batch(tmp_path: Path) -> None:
    session = Doubling(batch=4)

    assert evaluated(metric_file(tmp_path, 'return len(run({"x": np.ones((12, 2))})["y"])'), session) == 12.0
    assert session.sizes == [4, 4, 4]


# Splitting


def test_parts_are_joined_in_order() -> None:
    x = np.arange(12, dtype=np.float32).reshape(6, 2)

    np.testing.assert_array_equal(splitting(Doubling(batch=2))({"x": x})["y"], 2 * x)


@pytest.mark.parametrize("batch", ["batch", 6])
def test_what_fits_is_run_at_once(batch: int | str) -> None:
    session = Doubling(batch=batch)
    splitting(session)({"x": np.ones((6, 2), np.float32)})

    assert session.sizes == [6]


@pytest.mark.parametrize("items", [3, 7])
def test_items_left_over_are_refused_and_never_dropped(items: int) -> None:
    with pytest.raises(ModelError, match=f"Got: {items} Expected: 4"):
        splitting(Doubling(batch=4))({"x": np.ones((items, 2), np.float32)})


# Targets


@pytest.mark.parametrize("target", ["math:sqrt", "infer_opt.config:Recipe", "os.path:join"])
def test_functions_of_modules_are_found(target: str) -> None:
    module, _, name = target.partition(":")

    assert resolve(target) is getattr(sys.modules[module], name)


def test_functions_of_files_are_found_with_what_lies_beside_them(tmp_path: Path) -> None:
    (tmp_path / "beside_my_metric.py").write_text("VALUE = 5\n")
    target = metric_file(tmp_path, "import beside_my_metric; return beside_my_metric.VALUE")

    assert resolve(target)(None) == 5


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("nowhere.at_all:score", "No module named 'nowhere'"),
        ("math:cbrt_of_two", "has no attribute 'cbrt_of_two'"),
        ("math", "cannot load math"),
        ("", "cannot load"),
        (":score", "cannot load"),
        ("nowhere.py:score", "there is no file nowhere.py"),
        ("math:pi", "math:pi is not a function"),
    ],
)
def test_a_target_that_is_none_is_refused(target: str, part: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(target)

    assert part in caught.value.what


@pytest.mark.parametrize(
    "content", ["def score(:\n", "import nothing_of_that_name\n", "1 / 0\n", "raise KeyError('x')\n"]
)
def test_a_file_that_does_not_load_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "my_metric.py"
    path.write_text(content)

    with pytest.raises(ModelError, match="cannot load"):
        resolve(f"{path}:score")


def test_work_of_ours_is_called_with_its_arguments() -> None:
    command = messages.Call(target="math:isclose", arguments=(1.0, 1.1), keywords=(("abs_tol", 0.2),))

    assert Worker().answer(command) is True


# Serving


class Line:
    """The worker's end of a connection: commands come from a list, answers go to another."""

    def __init__(self, commands: Sequence[object]) -> None:
        self._commands = list(commands)
        self.answers: list[Any] = []

    def recv(self) -> object:
        if not self._commands:
            raise EOFError
        return self._commands.pop(0)

    def send(self, answer: object) -> None:
        self.answers.append(answer)


def served(*commands: object) -> list[Any]:
    line = Line(commands)
    serve(cast(Connection, line))
    return line.answers


def square_root(value: float) -> messages.Call:
    return messages.Call(target="math:sqrt", arguments=(value,))


def test_commands_are_answered_in_order_until_the_tuner_hangs_up() -> None:
    assert served(square_root(4.0), square_root(9.0)) == [2.0, 3.0]


def test_an_error_that_a_user_can_meet_is_an_answer_and_the_worker_goes_on() -> None:
    first, second = served(messages.Call(target="nowhere:f"), square_root(4.0))

    assert isinstance(first, messages.Failed)
    assert isinstance(first.error, InferOptError)
    assert second == 2.0


def fill_memory() -> None:
    raise MemoryError


def test_a_memory_error_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math, "fill_memory", fill_memory, raising=False)

    (answer,) = served(messages.Call(target="math:fill_memory"))

    assert isinstance(answer, messages.Failed)
    assert isinstance(answer.error, MemoryError)


def test_anything_else_ends_the_worker_which_is_in_an_unknown_state() -> None:
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        served(square_root(-1.0), square_root(4.0))


def test_what_crosses_to_a_worker_can_be_pickled() -> None:
    commands = [
        messages.Call(target="a:b", arguments=(Recipe(),)),
        messages.Measure(start=1),
        messages.Run(seconds=0.0),
    ]
    failed = messages.Failed(error=StorageError("full", hint=str(errno.ENOSPC)))

    assert pickle.loads(pickle.dumps(commands)) == commands
    assert str(pickle.loads(pickle.dumps(failed)).error) == "full"


# Several shapes


class ByLength:
    """A session of two lengths that repeats its first answer for each, as a stale CUDA graph of each shape would."""

    placement = None
    inputs = outputs = (TensorSpec(name="x", dtype="float32", shape=("batch", "time")),)

    def __init__(self, *, is_stale: bool = False) -> None:
        self.is_stale = is_stale
        self.answers: dict[tuple[int, ...], dict[str, Array]] = {}

    def run(self, feeds: Feeds) -> dict[str, Array]:
        answer = {"y": 2 * feeds["x"]}
        first = self.answers.setdefault(feeds["x"].shape, answer)
        return first if self.is_stale else answer

    def close(self) -> None:
        pass


def two_shapes(session: ByLength) -> Worker:
    worker = Worker()
    feeds = tuple({"x": np.full((1, 2 + index % 2), float(index), np.float32)} for index in range(8))
    worker.session, worker.feeds, worker.timed, worker.shapes = session, feeds, feeds, 2
    return worker


def test_blocks_of_several_shapes_say_which_run_is_of_which() -> None:
    worker = two_shapes(ByLength())

    warmed = worker.answer(messages.Warm(plan=WarmUpPlan(least_ns=1, cap_ns=1)))
    block = worker.answer(messages.Measure(start=0))

    assert isinstance(block, Block)
    assert isinstance(warmed, WarmUp)
    assert len(worker.by_shape_ns) == 2
    assert len(block.shapes) == len(block.latency_ns) >= 6
    assert block.shapes.count(0) == block.shapes.count(1)


def test_a_replay_that_is_stale_in_each_shape_is_found(tmp_path: Path) -> None:
    path = tmp_path / "reference.pickle"
    two_shapes(ByLength()).answer(messages.Record(path=path, count=8))
    command = messages.CheckStale(reference=path)

    assert two_shapes(ByLength()).answer(command) is None
    assert "stale replay" in str(two_shapes(ByLength(is_stale=True)).answer(command))
