"""Several sessions at once, in time that really passes, and on the real runtime in a real worker."""

import os
import random
import time
from pathlib import Path

import pytest

from infer_opt.config import SessionOptions
from infer_opt.instances import CAN_PIN, Instances
from infer_opt.machine.cores import hardware_threads, lay_out
from infer_opt.measure import Plan, WarmUpPlan
from infer_opt.models.feeds import save_feeds
from infer_opt.models.inputs import synthesise
from infer_opt.models.inspecting import inspect
from infer_opt.protocols import Array, Feeds
from infer_opt.results import Block
from infer_opt.runtimes import open_runtime
from infer_opt.workers.loads import measure_load
from infer_opt.workers.messages import Measure, Open, Opened, Warm
from infer_opt.workers.process import WorkerProcess
from zoo import mlp, save

CALL_S = 0.01


class Sleeping:
    """Takes 10 ms and no processor."""

    inputs = outputs = ()
    placement = None

    def run(self, feeds: Feeds) -> dict[str, Array]:
        time.sleep(CALL_S)
        return {}

    def close(self) -> None:
        """Nothing to give back."""


def spacing_s(count: int) -> float:
    block = measure_load(Instances(Sleeping, count=count), [{}], plan=Plan(lead_in_runs=1, timed_runs=8))
    assert block.spacing_ns is not None
    return block.spacing_ns / 1e9


def test_twice_the_sessions_do_twice_the_items_and_four_times_four_times() -> None:
    # Never faster than that; slower where the machine has other things to do.
    assert CALL_S <= spacing_s(1) <= 1.6 * CALL_S
    assert CALL_S / 2 <= spacing_s(2) <= 1.6 * CALL_S / 2
    assert CALL_S / 4 <= spacing_s(4) <= 1.6 * CALL_S / 4


def test_a_worker_opens_several_sessions_and_measures_them_together(tmp_path: Path) -> None:
    model, feeds = save(mlp(), tmp_path / "mlp.onnx"), tmp_path / "feeds.npz"
    save_feeds(feeds, synthesise(inspect(model), dims={}, seed=0).batched(2))
    options = SessionOptions(intra_threads=1)
    with WorkerProcess(random.Random(0)) as worker:
        opened: Opened = worker.ask(
            Open(runtime="onnx", artefact=model, options=options, feeds=feeds, instances=2), timeout_s=60
        )
        worker.ask(Warm(plan=WarmUpPlan(least_ns=1, cap_ns=1)), timeout_s=60)
        worker.freeze()
        block: Block = worker.ask(Measure(start=0), timeout_s=60)

    enough = bool(lay_out(hardware_threads(), instances=2, each=1))
    assert opened.is_pinned is (CAN_PIN and enough)
    assert block.spacing_ns is not None
    assert len(block.latency_ns) >= 6


@pytest.mark.skipif(not Path("/proc/self/task").exists() or not CAN_PIN, reason="only Linux says where threads may run")
def test_the_runtimes_own_threads_keep_to_the_cores_of_their_session(tmp_path: Path) -> None:
    model = save(mlp(), tmp_path / "mlp.onnx")
    runtime = open_runtime("onnx")
    runtime.version()
    tasks, core = Path("/proc/self/task"), min(os.sched_getaffinity(0))
    before = set(tasks.iterdir())

    several = Instances(lambda: runtime.open(model, SessionOptions(intra_threads=3)), count=1, cores=[(core,)])

    status = [(task / "status").read_text() for task in set(tasks.iterdir()) - before]
    allowed = [text.partition("Cpus_allowed_list:")[2].split()[0] for text in status]
    assert allowed == [str(core)] * 2  # the third is the caller's
    several.close()
