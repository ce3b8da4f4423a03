"""Each finding on a network that was built to have it, profiled for real, and not on one that does the same without."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import ailing_models as ailing
from driving import Home, ended, shape_bound
from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.diagnoses import Circumstances, diagnose
from infer_opt.glancing import Glance, circumstances, glance
from infer_opt.machine.describe import describe
from infer_opt.models.feeds import save_feeds
from infer_opt.models.inspecting import inspect
from infer_opt.profiles.nodes import CallTimes
from infer_opt.profiles.profile import Profile
from infer_opt.recipes import GraphLevel
from infer_opt.results import Estimate
from infer_opt.runtimes.onnx import OnnxRuntime
from infer_opt.workers.process import run_task
from made_profiles import around

SECONDS = 0.1
CALLS = 11
# Threads that wait for each other take many times as long beside other tests, and then nothing else stands out.
ONE_THREAD = SessionOptions(intra_threads=1)
Shapes = Mapping[str, tuple[int, ...]]


class Bench:
    """A folder in which networks are profiled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self, model: onnx.ModelProto, shapes: Shapes) -> tuple[Path, Path]:
        """The model and one input for it."""
        number = len(list(self._folder.iterdir()))
        path, feeds = self._folder / f"{number}.onnx", self._folder / f"{number}.npz"
        onnx.save(model, path)
        random = np.random.default_rng(1)
        save_feeds(feeds, [{name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}])
        return path, feeds

    def profile(
        self, model: onnx.ModelProto, shapes: Shapes, options: SessionOptions | None = None
    ) -> Profile:  # fmt: skip
        """A profile of one process, this one."""
        path, feeds = self.files(model, shapes)
        options = options or ONE_THREAD
        return as_profile(path, glance(path, options, feeds, seconds=SECONDS), shapes, options)

    def diagnoses(
        self, model: onnx.ModelProto, shapes: Shapes, options: SessionOptions | None = None, **seen: Any
    ) -> dict[Cause, Diagnosis]:
        """What is found, by its cause."""
        found = diagnose(self.profile(model, shapes, options), Circumstances(**seen))
        return {one.cause: one for one in found}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def called(path: Path, shapes: Shapes, options: SessionOptions, *, calls: int = CALLS) -> tuple[float, float]:
    """What a call takes without the profiler, and the first one, in ns: undisturbed ones of two sessions."""
    random = np.random.default_rng(1)
    feeds = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    medians, firsts = [], []
    for _ in range(2):
        session = OnnxRuntime().open(path, options)
        times = []
        for _ in range(calls):
            begin = time.perf_counter_ns()
            session.run(feeds)
            times.append(time.perf_counter_ns() - begin)
        session.close()
        medians.append(float(np.quantile(times[2:], 0.1)))
        firsts.append(float(times[0]))
    return min(medians), min(firsts)


def as_profile(path: Path, seen: Glance, shapes: Shapes, options: SessionOptions) -> Profile:
    latency_ns, first_ns = called(path, shapes, options)
    latency_ns = min(latency_ns, seen.profiled_ns)  # whoever else was busy meanwhile is no matter of the network
    return Profile(
        subject=path.name,
        config=TrialConfig(options=options),
        runtime_version=seen.runtime_version,
        model=inspect(path),
        machine=describe(),
        call=CallTimes(
            latency=around(latency_ns),
            profiled=Estimate(value=seen.profiled_ns, low=seen.profiled_ns, high=seen.profiled_ns),
            nodes_ns=sum(one.time.value for one in seen.nodes),
            open_ns=1e6,
            first_ns=first_ns,
            latency_raw_ns=(),
        ),
        nodes=seen.nodes,
        memory=seen.memory,
        processes=1,
    )


def operators(diagnosis: Diagnosis, profile: Profile) -> list[str]:
    by_name = {one.node.name: one.node.operator for one in profile.nodes}
    return [by_name[name] for name in diagnosis.nodes]


def test_a_network_that_is_well_has_no_finding(bench: Bench) -> None:
    assert bench.diagnoses(ailing.healthy(), {"x": (128, 512)}) == {}


def test_a_chain_of_tiny_nodes_is_bound_by_launches(bench: Bench) -> None:
    found = bench.diagnoses(ailing.tiny_nodes(), {"x": (1, 4)})

    assert set(found) == {Cause.LAUNCH_BOUND}
    assert len(found[Cause.LAUNCH_BOUND].nodes) > 30


def test_large_weights_for_one_row_are_bound_by_memory_and_for_many_rows_are_not(bench: Bench) -> None:
    found = bench.diagnoses(ailing.heavy_weights(), {"x": (1, 1792)})

    assert set(found) == {Cause.MEMORY_BOUND}
    assert len(found[Cause.MEMORY_BOUND].nodes) == 2
    assert Cause.MEMORY_BOUND not in bench.diagnoses(ailing.heavy_weights(), {"x": (48, 1792)})


def test_a_batch_of_one_is_small_where_more_rows_share_the_weights(bench: Bench) -> None:
    model = ailing.heavy_weights()
    path, _ = bench.files(model, {"x": (1, 1792)})
    taken = {rows: called(path, {"x": (rows, 1792)}, ONE_THREAD, calls=9)[0] for rows in (1, 4, 16)}
    rates = tuple((rows, rows / ns * 1e9) for rows, ns in taken.items())

    found = bench.diagnoses(model, {"x": (1, 1792)}, items_per_s=rates)

    assert Cause.SMALL_BATCH in found
    assert found[Cause.SMALL_BATCH].knobs == ("batch",)


def test_attention_spelled_out_is_found_and_one_operator_is_not(bench: Bench) -> None:
    shapes = {"x": (1, 128, 256), "mask": (1, 1, 128, 128)}
    profile = bench.profile(ailing.attention(), shapes)

    (found,) = (one for one in diagnose(profile) if one.cause is Cause.UNFUSED_ATTENTION)

    members = operators(found, profile)
    assert members.count("Transpose") == 4
    assert {"Softmax", "Add"} <= set(members)
    assert Cause.UNFUSED_ATTENTION not in bench.diagnoses(ailing.attention(fused=True), {"x": (1, 128, 256)})


@pytest.mark.parametrize(
    ("spelled", "cause", "least"),
    [(ailing.layer_norm, Cause.UNFUSED_LAYER_NORM, 9), (ailing.gelu, Cause.UNFUSED_GELU, 8)],
)
def test_what_the_runtime_does_not_fuse_by_itself_is_found(
    bench: Bench, spelled: Any, cause: Cause, least: int
) -> None:
    shapes = {"x": (256, 512)}

    found = bench.diagnoses(spelled(), shapes)

    assert len(found[cause].nodes) >= least
    assert bench.diagnoses(spelled(fused=True), shapes).get(cause) is None


def test_a_graph_that_was_opened_without_fusing_is_told_to_fuse(bench: Bench) -> None:
    shapes = {"x": (1, 128, 256), "mask": (1, 1, 128, 128)}

    found = bench.diagnoses(ailing.attention(), shapes, replace(ONE_THREAD, graph_level=GraphLevel.NONE))

    assert found[Cause.UNFUSED_ATTENTION].knobs == ("graph_level",)


def test_conversions_around_operators_in_float_are_found_and_folded_ones_are_not(bench: Bench) -> None:
    shapes = {"x": (512, 1024)}
    profile = bench.profile(ailing.quantised("Sin"), shapes)

    (found,) = (one for one in diagnose(profile) if one.cause is Cause.UNFOLDED_QDQ)

    assert set(operators(found, profile)) == {"QuantizeLinear", "DequantizeLinear"}
    assert "Sin" in found.evidence[0]
    assert Cause.UNFOLDED_QDQ not in bench.diagnoses(ailing.quantised("MatMul"), shapes)


def test_sizes_worked_out_in_every_call_are_found_and_fixed_ones_are_not(bench: Bench) -> None:
    profile = bench.profile(ailing.sizes_worked_out(), {"x": (1, 16, 64)})

    (found,) = (one for one in diagnose(profile) if one.cause is Cause.DYNAMIC_SHAPES)

    assert {"Shape", "Gather"} <= set(operators(found, profile)) <= {"Shape", "Gather", "Unsqueeze", "Mul", "Concat"}
    assert "(S)" in found.action
    fixed = bench.diagnoses(ailing.sizes_worked_out(fixed=True), {"x": (1, 16, 64)})
    assert Cause.DYNAMIC_SHAPES not in fixed


def test_transposes_are_found_where_they_take_time(bench: Bench) -> None:
    profile = bench.profile(ailing.transposed(), {"x": (384, 512)})

    (found,) = (one for one in diagnose(profile) if one.cause is Cause.TRANSPOSES)

    assert operators(found, profile) == ["Transpose"] * 6
    assert Cause.TRANSPOSES not in bench.diagnoses(ailing.transposed(turns=False), {"x": (384, 512)})


def test_8_bits_on_a_cpu_without_an_instruction_for_them_are_found(bench: Bench) -> None:
    shapes = {"x": (64, 512)}

    found = bench.diagnoses(ailing.integers(), shapes, has_vnni=False)

    assert found[Cause.INT8_WITHOUT_VNNI].knobs == ()
    assert Cause.INT8_WITHOUT_VNNI not in bench.diagnoses(ailing.integers(), shapes, has_vnni=True)
    assert Cause.INT8_WITHOUT_VNNI not in bench.diagnoses(ailing.healthy(), {"x": (128, 512)}, has_vnni=False)


def test_more_threads_than_cores_are_found(bench: Bench) -> None:
    cores = describe().usable_cores
    many = bench.diagnoses(ailing.healthy(), {"x": (128, 512)}, SessionOptions(intra_threads=2 * int(cores) + 1))

    assert Cause.OVERSUBSCRIBED in many


def test_threads_that_spin_are_found_and_one_thread_does_not(bench: Bench) -> None:
    machine = describe()
    if machine.usable_cores < 2:
        pytest.skip("one core: stock has one thread, which nobody waits for")

    def after(options: SessionOptions) -> set[Cause]:
        path, feeds = bench.files(ailing.healthy(), {"x": (128, 512)})
        seen = glance(path, options, feeds, seconds=SECONDS)
        profile = as_profile(path, seen, {"x": (128, 512)}, options)
        session = OnnxRuntime().open(path, options)
        session.run({"x": np.ones((128, 512), np.float32)})
        began, used = time.perf_counter(), time.process_time()
        time.sleep(0.2)
        cores = (time.process_time() - used) / (time.perf_counter() - began)
        session.close()
        known = circumstances(machine, options, seen=seen)
        return {one.cause for one in diagnose(profile, replace(known, cores_after=cores))}

    assert Cause.SPINNING in after(SessionOptions(intra_threads=2))
    assert Cause.SPINNING not in after(ONE_THREAD)


SUBNORMAL_COST = """
import time
import numpy as np
x, best = np.full(200_000, 0.5, np.float32), {}
for value in (1e-39, 1.0):
    w, spent = np.full(200_000, value, np.float32), []
    for _ in range(50):
        begin = time.perf_counter_ns()
        w * x
        spent.append(time.perf_counter_ns() - begin)
    best[value] = min(spent)
print(best[1e-39] / best[1.0])
"""


def cost_of_subnormals() -> float:
    """How many times as long products with numbers next to zero take here: 10 and more by Intel, 1 by AMD's Zen.

    In a fresh process: another test may have had them flushed in this one.
    """
    shown = subprocess.run([sys.executable, "-c", SUBNORMAL_COST], capture_output=True, text=True, check=True)
    return float(shown.stdout)


def test_numbers_next_to_zero_are_found_by_what_they_cost_and_only_there(bench: Bench) -> None:
    machine, options = describe(), ONE_THREAD

    def found(model: onnx.ModelProto) -> dict[Cause, Diagnosis]:
        shapes = {"x": (1, 200_000)}
        path, feeds = bench.files(model, shapes)
        plain, flushed = (
            run_task("infer_opt.glancing:glance", path, replace(options, flush_denormals=flush), feeds, seconds=SECONDS)
            for flush in (False, True)
        )
        known = circumstances(machine, options, seen=plain, flushed=flushed)
        return {one.cause: one for one in diagnose(as_profile(path, plain, shapes, options), known)}

    assert Cause.DENORMALS not in found(ailing.subnormal(value=1.0))
    if cost_of_subnormals() < 1.5:
        assert Cause.DENORMALS not in found(ailing.subnormal())
        return
    slow = found(ailing.subnormal())[Cause.DENORMALS]
    assert slow.gain_ns is not None
    assert slow.nodes
    assert any("of w" in shown for shown in slow.evidence)


def test_a_tuning_tries_first_what_a_profile_of_stock_suspects_and_goes_on_in_that_order(home: Home) -> None:
    model, out = home.model("bound", shape_bound(steps=8, width=8_000)), home.folder / "out"
    preset = home.preset(trials=1)
    words = ("tune", model, "--dim", "time=4", "--preset", preset, "--out", out, "--format", "json")

    first = ended(home.start(*words, screen_only=True, profiled=True))

    assert first.code == 0, first.err
    (found,) = (one for one in first.document["diagnoses"] if one["cause"] == Cause.DYNAMIC_SHAPES)
    assert found["gain_ns"] > 0
    assert "fixed_shapes" in first.document["search"]["suspected"]
    screened = [trial["config"]["recipe"]["fixed_shapes"] for trial in first.document["trials"]]
    assert any(screened)

    with sqlite3.connect(home.store) as database:
        kept = database.execute("SELECT payload FROM infer_opt_record WHERE phase = 'profile'").fetchall()
        database.execute("UPDATE infer_opt_tuning SET finished_ms = NULL, result = NULL")
        before = database.execute("SELECT config_key FROM infer_opt_trial WHERE phase = 'screen'").fetchall()
    assert len(kept) == 1
    # Cut off, as it were. Without a profile, the second call takes the first one's order from the store.
    again = ended(home.start(*words, "--resume", "--force", screen_only=True))

    assert again.code == 0, again.err
    assert again.document["diagnoses"] == first.document["diagnoses"]
    assert again.document["search"]["suspected"] == first.document["search"]["suspected"]
    with sqlite3.connect(home.store) as database:
        after = database.execute("SELECT config_key FROM infer_opt_trial WHERE phase = 'screen'").fetchall()
    assert after == before
