"""Real worker processes: what they survive, how their end is told, and that they never outlive their tuner."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from driving import wait_for
from infer_opt.config import SessionOptions
from infer_opt.errors import ConfigError, InferOptError, ModelError
from infer_opt.models.feeds import save_feeds
from infer_opt.models.inputs import synthesise, synthesise_shapes
from infer_opt.models.inspecting import inspect
from infer_opt.results import Block, FailureKind
from infer_opt.workers.messages import Call, Check, Evaluate, Measure, Open, Opened, Record
from infer_opt.workers.process import WorkerError, WorkerMemoryError, WorkerProcess, WorkerTimeoutError, run_task
from zoo import attention_block, endless, mlp, save

MISBEHAVING = Path(__file__).parents[1] / "misbehaving.py"


def call(name: str) -> Call:
    """A function of misbehaving.py."""
    return Call(target=f"{MISBEHAVING}:{name}")


def is_gone(pid: int) -> bool:
    """Whether the process is over; a zombie that nobody has waited for yet is."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    with WorkerProcess(random.Random(0)) as worker:
        yield worker
    assert is_gone(worker.pid)


@pytest.fixture
def opened(worker: WorkerProcess, tmp_path: Path) -> WorkerProcess:
    """A worker with a session over the small perceptron."""
    model, feeds = save(mlp(), tmp_path / "mlp.onnx"), tmp_path / "feeds.npz"
    save_feeds(feeds, synthesise(inspect(model), dims={}, seed=0).batched(1))
    answer = worker.ask(
        Open(runtime="onnx", artefact=model, options=SessionOptions(intra_threads=1), feeds=feeds), timeout_s=60
    )
    assert isinstance(answer, Opened)
    assert answer.open_ns > 0
    assert answer.first_run_ns > 0
    return worker


def test_a_hang_is_killed_after_the_time_out_and_named(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerTimeoutError, match="no answer within 1 s") as caught:
        worker.ask(Call(target="time:sleep", arguments=(60,)), timeout_s=1)

    assert caught.value.kind is FailureKind.TIMEOUT
    assert not worker.is_alive


def test_a_segmentation_fault_is_named(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerError, match="crashed with SIGSEGV") as caught:
        worker.ask(Call(target="ctypes:string_at", arguments=(0,)), timeout_s=60)

    assert caught.value.kind is FailureKind.CRASH


def test_an_abort_in_native_code_is_named(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerError, match="crashed with SIGABRT"):
        worker.ask(Call(target="os:abort"), timeout_s=60)


def test_a_worker_that_takes_too_much_memory_is_killed_and_named() -> None:
    cap = 300_000_000
    with WorkerProcess(random.Random(0), cap_bytes=cap) as worker:
        with pytest.raises(WorkerMemoryError, match="above the cap of 300 MB") as caught:
            worker.ask(call("fill_memory"), timeout_s=60)

        assert caught.value.kind is FailureKind.MEMORY
        assert not worker.is_alive


def test_a_refused_allocation_is_named_as_memory(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerMemoryError, match="ran out of memory"):
        worker.ask(call("run_out_of_memory"), timeout_s=60)


def test_a_full_gpu_ends_the_worker_as_one_without_memory(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerMemoryError, match="the device has too little memory"):
        worker.ask(call("fill_device"), timeout_s=60)

    assert not worker.is_alive


def test_a_model_that_asks_for_more_than_there_is_fails_for_memory(worker: WorkerProcess, tmp_path: Path) -> None:
    model, feeds = save(endless(), tmp_path / "endless.onnx"), tmp_path / "feeds.npz"
    save_feeds(feeds, [{"n": np.array([1 << 42]), "x": np.ones(1, np.float32)}])  # 16 TB

    with pytest.raises(WorkerMemoryError, match="the device has too little memory"):
        worker.ask(Open(runtime="onnx", artefact=model, options=SessionOptions(), feeds=feeds), timeout_s=60)


def test_a_worker_killed_from_outside_is_taken_for_one_killed_for_memory(worker: WorkerProcess) -> None:
    worker.send(Call(target="time:sleep", arguments=(60,)))
    os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(WorkerMemoryError, match="SIGKILL"):
        worker.receive(timeout_s=60)


def test_an_unforeseen_error_ends_the_worker_and_its_last_line_is_quoted(worker: WorkerProcess) -> None:
    with pytest.raises(WorkerError, match="ended with exit code 1: never") as caught:
        worker.ask(call("fail_oddly"), timeout_s=60)

    assert caught.value.kind is FailureKind.CRASH
    wait_for("the worker to end", lambda: not worker.is_alive, seconds=5)


def test_a_dead_worker_gives_the_same_reason_to_every_question(worker: WorkerProcess) -> None:
    reasons = []
    for _ in range(3):
        with pytest.raises(WorkerError) as caught:
            worker.ask(call("leave"), timeout_s=60)
        reasons.append(caught.value.what)

    assert reasons == ["the worker ended with exit code 7"] * 3


def test_an_error_that_a_user_can_meet_comes_back_whole_and_the_worker_goes_on(worker: WorkerProcess) -> None:
    with pytest.raises(ConfigError, match="no runtime 'abacus'") as caught:
        worker.ask(Call(target="infer_opt.runtimes:open_runtime", arguments=("abacus",)), timeout_s=60)

    assert caught.value.hint == "choose from onnx, openvino, torch"
    assert worker.ask(Call(target="os:getpid"), timeout_s=60) == worker.pid


def test_a_worker_may_print_more_than_a_pipe_holds(worker: WorkerProcess) -> None:
    assert worker.ask(call("chatter"), timeout_s=60) == "done"


def test_freezing_stops_the_threads_that_spin_and_thawing_continues_them(worker: WorkerProcess) -> None:
    process = psutil.Process(worker.pid)

    def used() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    worker.ask(call("spin"), timeout_s=60)
    running = used()
    wait_for("a spinning thread to use the CPU", lambda: used() > running + 0.1, seconds=20)

    worker.freeze()
    frozen = used()
    time.sleep(0.3)
    assert process.status() == psutil.STATUS_STOPPED
    assert used() == frozen

    worker.thaw()
    wait_for("the thread to go on", lambda: used() > frozen + 0.1, seconds=20)
    worker.freeze()
    assert worker.ask(Call(target="os:getpid"), timeout_s=60) == worker.pid, "asking wakes a frozen worker"


def test_a_frozen_worker_can_be_closed(worker: WorkerProcess) -> None:
    worker.ask(Call(target="os:getpid"), timeout_s=60)
    worker.freeze()

    worker.close()
    worker.close()

    assert is_gone(worker.pid)


def test_the_environment_is_set_before_anything_is_imported(worker: WorkerProcess) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        assert worker.ask(Call(target="os:getenv", arguments=(name,)), timeout_s=60) == "1"


def test_the_environments_of_two_workers_differ_in_size() -> None:
    generator = random.Random(0)
    with WorkerProcess(generator) as one, WorkerProcess(generator) as other:
        sizes = [
            len(worker.ask(Call(target="os:getenv", arguments=("INFER_OPT_PADDING",)), timeout_s=60))
            for worker in (one, other)
        ]

    assert len(set(sizes)) == 2


def test_the_kernel_is_told_to_end_workers_first(worker: WorkerProcess) -> None:
    worker.ask(Call(target="os:getpid"), timeout_s=60)

    assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"


def test_a_ctrl_c_at_the_terminal_does_not_reach_workers(worker: WorkerProcess) -> None:
    assert worker.ask(Call(target="os:getpgrp"), timeout_s=60) == worker.pid


def test_two_workers_work_at_once() -> None:
    with WorkerProcess(random.Random(0)) as one, WorkerProcess(random.Random(1)) as other:
        for worker in (one, other):
            worker.send(Call(target="os:getpid"))
        answers = [worker.receive(timeout_s=60) for worker in (other, one)]

    assert answers == [other.pid, one.pid]
    assert one.pid != other.pid


def test_files_in_the_users_folder_are_not_taken_for_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("random", "numpy", "onnx", "socket"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not the library')")
    monkeypatch.chdir(tmp_path)

    assert run_task("infer_opt.models.inspecting:inspect", save(mlp(), tmp_path / "mlp.onnx")).opset == 17


def test_a_function_that_does_not_exist_is_named(worker: WorkerProcess) -> None:
    with pytest.raises(ModelError, match="cannot load os:levitate"):
        worker.ask(Call(target="os:levitate"), timeout_s=60)


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        ("divide_by_zero", "failed: ZeroDivisionError: division by zero"),
        ("feed_nonsense", "failed: ModelError: ONNX Runtime failed to run the model: .*nonsense"),
        ("give_nan", "gave NaN"),
        ("not_a_function", "is not a function"),
        ("missing", "cannot load .*missing"),
    ],
)
def test_a_metric_that_fails_is_named_and_the_session_stays(opened: WorkerProcess, metric: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        opened.ask(Evaluate(target=f"{MISBEHAVING}:{metric}"), timeout_s=60)

    assert isinstance(opened.ask(Measure(start=0), timeout_s=60), Block)


def test_a_metric_that_fails_in_its_own_way_is_quoted(opened: WorkerProcess) -> None:
    with pytest.raises(WorkerError, match="OddError: no labels"):
        opened.ask(Evaluate(target=f"{MISBEHAVING}:give_up"), timeout_s=60)


def test_a_metric_may_print(opened: WorkerProcess) -> None:
    assert opened.ask(Evaluate(target=f"{MISBEHAVING}:score"), timeout_s=60) == 0.75


def test_a_session_agrees_with_what_was_recorded_of_it(opened: WorkerProcess, tmp_path: Path) -> None:
    reference = tmp_path / "reference.pickle"
    opened.ask(Record(path=reference, count=4), timeout_s=60)

    parity = opened.ask(Check(reference=reference, tolerance=1.0, count=4), timeout_s=60)

    assert parity.passed
    assert parity.samples == 4


def test_outputs_that_cannot_be_kept_are_a_fault_of_the_disk(opened: WorkerProcess, tmp_path: Path) -> None:
    with pytest.raises(InferOptError, match="cannot be kept") as caught:
        opened.ask(Record(path=tmp_path / "nowhere" / "reference.pickle", count=4), timeout_s=60)

    assert caught.value.exit_code == 6


TUNER = """
import random, sys, time
from infer_opt.workers.messages import Call
from infer_opt.workers.process import WorkerProcess
running, frozen, starting = (WorkerProcess(random.Random(n)) for n in range(3))
running.send(Call(target="time:sleep", arguments=(600,)))
frozen.ask(Call(target="os:getpid"), timeout_s=60)
frozen.freeze()
starting = WorkerProcess(random.Random(3))
print(running.pid, frozen.pid, starting.pid, flush=True)
time.sleep(600)
"""


def test_no_worker_outlives_a_tuner_that_was_killed_not_even_a_stopped_one() -> None:
    tuner = subprocess.Popen([sys.executable, "-c", TUNER], stdout=subprocess.PIPE, text=True)
    assert tuner.stdout is not None
    with tuner.stdout:
        pids = [int(word) for word in tuner.stdout.readline().split()]
        assert len(pids) == 3
        assert psutil.Process(pids[1]).status() == psutil.STATUS_STOPPED

        tuner.kill()
        tuner.wait()

    wait_for("the workers to end", lambda: all(is_gone(pid) for pid in pids), seconds=5)


def test_a_worker_of_several_padded_shapes_times_the_first_call_in_each(worker: WorkerProcess, tmp_path: Path) -> None:
    model, feeds = save(attention_block(), tmp_path / "attention.onnx"), tmp_path / "feeds.npz"
    facts = inspect(model)
    spread = {"seq": ((4, 0.5), (16, 0.5))}
    parts = [part.batched(1, count=4) for part in synthesise_shapes(facts, dims={}, distributions=spread, seed=0)]
    save_feeds(feeds, [feed for turn in zip(*parts, strict=True) for feed in turn])
    command = Open(
        runtime="onnx",
        artefact=model,
        options=SessionOptions(intra_threads=1),
        feeds=feeds,
        timed=8,
        shapes=2,
        buckets=(("seq", (16,)),),
        inputs=facts.inputs,
        outputs=facts.outputs,
    )

    answer = worker.ask(command, timeout_s=60)
    block = worker.ask(Measure(start=0), timeout_s=60)

    assert isinstance(answer, Opened)
    assert isinstance(block, Block)
    assert answer.first_seen_ns[0] == answer.first_run_ns
    assert len(answer.first_seen_ns) == 2
    assert min(answer.first_seen_ns) > 0
    assert set(block.shapes) == {0, 1}
