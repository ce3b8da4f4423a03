"""The ladder's plan: what is worth more comes first, nothing exceeds the time, and nothing measured is lost."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from scripts.ladder import course as courses
from scripts.ladder.arena import MINIATURE, Epoch, LadderRig, Seen
from scripts.ladder.course import Course, TimeOverError
from scripts.ladder.networks import Written
from scripts.ladder.rungs import processes
from scripts.ladder.work import Work

from fakes import MACHINE, MODEL
from infer_opt.config import Provider, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.rig import BASELINE, CLONE
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.workers.messages import Call

ROOT = Path(__file__).parents[3]
WORK = Work(operations=1, weights=1, input_bytes=1, output_bytes=1)


class Machine:
    """Stands in for processes: what each epoch costs, and who fails in it, is set by a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.epoch_s, self.compile_s = 1000.0, 20.0, 30.0
        self.held: list[tuple[str, tuple[str, ...]]] = []
        self.lost: dict[str, str] = {}
        self.compiled: list[float] = []
        self.tuned: list[str] = []
        self.fails: Callable[[], None] = lambda: None
        monkeypatch.setattr(courses, "hold", self.hold)
        monkeypatch.setattr(courses, "side_by_side", self.files)
        monkeypatch.setattr(courses, "run_task", self.task)
        monkeypatch.setattr(courses, "_compiled", self.compile)
        monkeypatch.setattr(courses, "_tuned", self.tune)
        monkeypatch.setattr(courses, "write_feeds", lambda path, size, batch: 4)
        monkeypatch.setattr(courses, "is_importable", lambda name: True)
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)

    def files(self, course: Course, calls: Mapping[str, Call]) -> dict[str, Any]:
        self.now_s += 10
        return {key: Written(facts=MODEL, works=dict.fromkeys((1, 8, 64), WORK)) for key in calls}

    def task(self, target: str, *arguments: object, timeout_s: float) -> Any:
        self.now_s += 5
        if target.endswith("why_not"):
            return "TensorRT is not installed"
        return {"copy": [1e12], "tf32": [1e14], "float16": [1e14]}

    def hold(
        self, rig: LadderRig, configs: Mapping[str, TrialConfig], generator: random.Random, *, is_first: bool
    ) -> Epoch:
        self.fails()
        self.now_s += self.epoch_s
        self.held.append((f"{Path(rig.model).name} {next(iter(rig.feeds))}", tuple(configs)))
        seen = {
            name: Seen(log_ratio=0.0, latency_ns=1e6, memory_bytes=1 if is_first else None)
            for name in configs
            if name not in self.lost
        }
        lost = {name: why for name, why in self.lost.items() if name in configs}
        return Epoch(seen=seen, lost=lost, rounds=20, discarded=(), is_disturbed=False, cost_s=self.epoch_s)

    def compile(self, course: Course, key: str, limit_s: float) -> str | None:
        self.compiled.append(limit_s)
        self.now_s += min(self.compile_s, limit_s)
        return None if self.compile_s <= limit_s else "the worker gave no answer in time"

    def tune(self, course: Course, rung: Any) -> tuple[TrialConfig, Path]:
        self.tuned.append(rung["network"])
        self.now_s += course.tune_s
        return TrialConfig(), Path("bundle")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def planned(machine: Machine, folder: Path, *, total_s: float, **changes: Any) -> Course:
    settings: dict[str, Any] = {
        "provider": Provider.CUDA,
        "machine": MACHINE,
        "device": None,
        "folder": folder,
        "cache": cast(ArtefactCache, None),
        "generator": random.Random(0),
        "effort": MINIATURE,
        "total_s": total_s,
        "ends_s": machine.now_s + total_s,
        "keep": lambda: None,
        "tune_s": 0.0,
    }
    return Course(**(settings | changes))


def test_with_time_enough_everybody_is_in_as_many_processes_as_were_asked_for(machine: Machine, tmp_path: Path) -> None:
    course = planned(machine, tmp_path, total_s=10_000.0, tune_s=60.0)

    courses.run(course, ["policy", "lstm"], [1, 8])

    for rung in course.found.values():
        for name in ("torch-eager", "torch-compile", "ort-binding", "ort-graph", "ort-fp16", "ort-fp16-graph", "tune"):
            assert processes(rung, name) == 3, name
        assert processes(rung, BASELINE) == processes(rung, CLONE) >= 3
        assert processes(rung, "tensorrt") == 0
    assert course.reasons == {"tensorrt": "TensorRT is not installed"}


def test_all_of_a_tier_has_something_before_any_of_it_has_everything(machine: Machine, tmp_path: Path) -> None:
    course = planned(machine, tmp_path, total_s=10_000.0)

    courses.run(course, ["policy", "lstm"], [1, 8])

    assert [place for place, _ in machine.held[:6]] == ["model.onnx 1"] * 6  # the batch that is worth more is first
    keys = [len([name for name in names if name == "torch-eager"]) for _, names in machine.held[:2]]
    assert keys == [1, 1]
    first = [rung for rung in course.found.values() if rung["batch"] == 1]
    assert [len(rung["epochs"]) for rung in first] == [6, 6]  # three of everybody, three more of what was compiled


def test_what_does_not_fit_is_not_begun_and_is_named(machine: Machine, tmp_path: Path) -> None:
    course = planned(machine, tmp_path, total_s=110.0)

    courses.run(course, ["policy", "lstm"], [1, 8])

    assert machine.now_s <= 1000.0 + 110.0
    assert 1 <= len(machine.held) <= 4
    unreached = [rung for rung in course.found.values() if not rung["epochs"]]
    assert {rung["batch"] for rung in unreached} == {8}


def test_an_epoch_that_took_long_is_not_begun_again_where_it_would_exceed_the_time(
    machine: Machine, tmp_path: Path
) -> None:
    machine.epoch_s = 60.0
    course = planned(machine, tmp_path, total_s=150.0)

    courses.run(course, ["policy"], [1])

    assert len(machine.held) == 1
    assert machine.now_s <= 1000.0 + 150.0


def test_who_is_lost_is_not_tried_again(machine: Machine, tmp_path: Path) -> None:
    machine.lost = {"ort-graph": "it holds control flow"}
    course = planned(machine, tmp_path, total_s=10_000.0)

    courses.run(course, ["policy"], [1])

    assert sum("ort-graph" in names for _, names in machine.held) == 1
    assert course.found["policy at batch 1"]["lost"] == {"ort-graph": "it holds control flow"}


def test_a_baseline_that_does_not_come_up_ends_its_rung_alone(machine: Machine, tmp_path: Path) -> None:
    def fail() -> None:
        if not machine.held and not course.found["policy at batch 1"]["lost"]:
            raise ModelError("the stock session did not come up again: no kernel")

    course = planned(machine, tmp_path, total_s=10_000.0)
    machine.fails = fail

    courses.run(course, ["policy", "lstm"], [1])

    assert "no kernel" in course.found["policy at batch 1"]["lost"][BASELINE]
    assert course.found["policy at batch 1"]["epochs"] == []
    assert course.found["lstm at batch 1"]["epochs"]


def test_compiling_keeps_to_its_share_and_who_was_not_compiled_is_in_no_epoch(machine: Machine, tmp_path: Path) -> None:
    course = planned(machine, tmp_path, total_s=300.0)  # a fifth of it: two compilations

    courses.run(course, ["policy", "lstm", "minilm"], [1])

    assert sum(min(limit, machine.compile_s) for limit in machine.compiled) <= 0.2 * 300.0 + 1e-6
    compiled = {rung["network"] for rung in course.found.values() if "compile_s" in rung}
    measured = {rung["network"] for rung in course.found.values() if processes(rung, "torch-compile")}
    assert measured <= compiled
    assert len(compiled) == 2


def test_tuning_comes_last_and_keeps_to_its_share(machine: Machine, tmp_path: Path) -> None:
    course = planned(machine, tmp_path, total_s=900.0, tune_s=60.0)

    courses.run(course, ["policy", "lstm"], [1])

    assert machine.tuned == ["policy", "lstm"]
    with_tune = [index for index, (_, names) in enumerate(machine.held) if "tune" in names]
    assert min(with_tune) > max(index for index, (_, names) in enumerate(machine.held) if "torch-eager" in names)


def test_an_earlier_result_is_gone_on_with(machine: Machine, tmp_path: Path) -> None:
    first = planned(machine, tmp_path, total_s=110.0)
    courses.run(first, ["policy"], [1])
    done = len(first.found["policy at batch 1"]["epochs"])
    machine.held.clear()
    again = planned(machine, tmp_path, total_s=10_000.0, found=first.found)

    courses.run(again, ["policy"], [1])

    assert done >= 1
    assert sum("torch-eager" in names for _, names in machine.held) == 3 - done
    assert processes(again.found["policy at batch 1"], "torch-eager") == 3


def test_after_each_epoch_what_there_is_is_kept(machine: Machine, tmp_path: Path) -> None:
    kept: list[int] = []
    course = planned(machine, tmp_path, total_s=10_000.0)
    course.keep = lambda: kept.append(sum(len(rung["epochs"]) for rung in course.found.values()))

    courses.run(course, ["policy"], [1])

    assert kept == sorted(kept)
    assert set(range(1, 7)) <= set(kept)


def test_whatever_hangs_is_ended_by_the_alarm_and_what_was_measured_is_kept(machine: Machine, tmp_path: Path) -> None:
    kept: list[int] = []
    course = planned(machine, tmp_path, total_s=10_000.0, keep=lambda: kept.append(len(machine.held)))

    def hang() -> None:
        if machine.held:
            raise TimeOverError  # as the alarm does, in the middle of the second epoch

    machine.fails = hang
    courses.run(course, ["policy"], [1])

    assert len(machine.held) == 1
    assert kept[-1] == 1


ALARM = """
import time
from scripts.ladder.course import TimeOverError, alarm

begin = time.perf_counter()
try:
    with alarm(0.05):
        while time.perf_counter() - begin < 5:
            pass
except TimeOverError:
    assert time.perf_counter() - begin < 2
    with alarm(60.0):
        print("silent where nothing hangs")
"""


def test_the_alarm_interrupts_what_does_not_look_at_the_clock() -> None:
    # In a process of its own: on some virtual machines a signal handler does not survive in a process whose libraries
    # have used AMX, as OpenVINO does in other tests.
    done = subprocess.run(
        [sys.executable, "-c", ALARM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "silent where nothing hangs"


def test_on_a_cpu_what_needs_a_gpu_says_so(machine: Machine, tmp_path: Path) -> None:
    course = planned(machine, tmp_path, total_s=10_000.0, provider=Provider.CPU)

    courses.run(course, ["policy"], [1])

    assert {name for name, why in course.reasons.items() if why == "needs a GPU"} == {
        "ort-graph",
        "ort-fp16",
        "ort-fp16-graph",
        "tensorrt",
    }
    assert course.reasons["tune"] == "left out by --tune 0"
