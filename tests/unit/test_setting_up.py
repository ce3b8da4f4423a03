import dataclasses
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fake_nvml import FakeGpu, FakeNvml
from fakes import MACHINE, MODEL, World, make_rig
from infer_opt.config import Objective, Provider, Shape, Workload
from infer_opt.errors import ConfigError, EvidenceError, InferOptError, ModelError, StorageError, UnavailableError
from infer_opt.facts import ModelFacts
from infer_opt.monitors.nvml import NvmlMonitor
from infer_opt.monitors.nvml_devices import LEAN
from infer_opt.preparing import Availability, Prepared
from infer_opt.recipes import Rewriter
from infer_opt.request import Request, versions
from infer_opt.results import Caution, Note
from infer_opt.rig import Limits
from infer_opt.setting_up import (
    Setup,
    cache_folder,
    choose_providers,
    default_batches,
    scratch_folder,
    set_up,
)
from infer_opt.taking import inspect_model
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.workers.process import WorkerError

REQUEST = Request(model=Path("model.onnx"))
WORKING = {Provider.CPU: None, Provider.CUDA: None}
NO_GPU = {Provider.CPU: None, Provider.CUDA: "no driver"}


def asked(why_not: Mapping[Provider, str | None]) -> Availability:
    return Availability(version="1.32.0", why_not={str(provider): why for provider, why in why_not.items()})


def request(**changes: Any) -> Request:
    return dataclasses.replace(REQUEST, **changes)


# Requests


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"batches": (1, 8)}, "latency is that of one batch size, got 1, 8"),
        ({"batches": (0,)}, "a batch must be 1 or more, got 0"),
        ({"batches": (4, -2), "objective": Objective.THROUGHPUT}, "a batch must be 1 or more, got -2"),
        ({"limits": Limits(max_drop=0.05)}, "--max-drop needs a metric"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part) as caught:
        request(**changes)

    assert caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"batches": (8,)},
        {"batches": (1, 8), "objective": Objective.THROUGHPUT},
        {"limits": Limits(evaluation="evals.py:accuracy", max_drop=0.05)},
        {"limits": Limits(max_drop=0.01)},
    ],
)
def test_requests_that_make_sense_are_not(changes: dict[str, Any]) -> None:
    assert request(**changes).model == REQUEST.model


def test_a_request_is_kept_as_plain_json() -> None:
    whole = request(
        inputs=Path("inputs.npz"), dims={"seq": 8}, providers=(Provider.CUDA,), limits=Limits(max_p99_ns=5e6)
    )

    data = json.loads(json.dumps(whole.to_dict()))

    assert (data["model"], data["inputs"], data["providers"]) == ("model.onnx", "inputs.npz", ["cuda"])
    assert (data["limits"]["max_p99_ns"], data["dims"]) == (5e6, {"seq": 8})


def key(asked_for: Request, trials: int = 40, **rig: Any) -> str:
    return asked_for.key(make_rig(World(), **rig), {"trials": trials})


def subject(asked_for: Request, **rig: Any) -> str:
    return asked_for.subject(make_rig(World(), **rig))


def test_the_same_request_finds_its_trials_again_also_under_another_path_to_the_model() -> None:
    assert key(REQUEST) == key(request(dims={}))
    assert key(request(model=Path("/elsewhere/model.onnx"))) == key(REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        key(request(batches=(8,))),
        key(request(dims={"seq": 8})),
        key(request(seed=1)),
        key(request(objective=Objective.THROUGHPUT)),
        key(request(inputs=Path("inputs.npz"))),
        key(request(limits=Limits(min_parity=0.9))),
        key(request(providers=(Provider.CPU,))),
        key(REQUEST, trials=16),
        key(REQUEST, facts=dataclasses.replace(MODEL, content_hash="another model")),
        key(REQUEST, machine=dataclasses.replace(MACHINE, fingerprint="another machine")),
        key(REQUEST, calibration_hash="other inputs at the same path"),
    ],
)
def test_trials_of_another_request_model_or_machine_do_not_stand_in(other: str) -> None:
    assert other != key(REQUEST)


@pytest.mark.parametrize("same", [request(seed=1), request(model=Path("/elsewhere/model.onnx"))])
def test_tunings_of_one_model_tell_of_each_other_however_they_were_called(same: Request) -> None:
    assert subject(same) == subject(REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        subject(request(batches=(8,))),
        subject(request(dims={"seq": 8})),
        subject(request(objective=Objective.THROUGHPUT)),
        subject(request(limits=Limits(min_parity=0.9))),
        subject(REQUEST, facts=dataclasses.replace(MODEL, content_hash="another model")),
        subject(REQUEST, machine=dataclasses.replace(MACHINE, fingerprint="another machine")),
        subject(REQUEST, calibration_hash="other inputs"),
    ],
)
def test_another_model_machine_or_question_tells_nothing_of_this_one(other: str) -> None:
    assert other != subject(REQUEST)


# Providers


def test_every_provider_that_works_is_measured_and_the_gpu_is_the_baseline() -> None:
    providers, notes = choose_providers(REQUEST, asked(WORKING))

    assert providers == (Provider.CUDA, Provider.CPU)
    assert notes == []


def test_a_provider_that_does_not_work_is_named_with_its_reason() -> None:
    providers, notes = choose_providers(REQUEST, asked(NO_GPU))

    assert providers == (Provider.CPU,)
    assert notes == [Note(caution=Caution.PROVIDER_UNAVAILABLE, text="cuda is not measured: no driver")]


def test_without_any_provider_there_is_nothing_to_measure() -> None:
    with pytest.raises(UnavailableError, match="no execution provider works here"):
        choose_providers(REQUEST, asked({Provider.CPU: "broken", Provider.CUDA: "no driver"}))


def test_providers_that_were_asked_for_are_measured_in_that_order_and_no_others() -> None:
    both = request(providers=(Provider.CPU, Provider.CUDA))

    assert choose_providers(both, asked(WORKING)) == ((Provider.CPU, Provider.CUDA), [])
    assert choose_providers(request(providers=(Provider.CPU,)), asked(WORKING)) == ((Provider.CPU,), [])


def test_a_provider_that_was_asked_for_by_name_and_does_not_work_is_an_error() -> None:
    for providers in ((Provider.CUDA,), (Provider.CPU, Provider.CUDA)):
        with pytest.raises(UnavailableError, match="the provider cuda does not work here: no driver") as caught:
            choose_providers(request(providers=providers), asked(NO_GPU))
        assert "--fallback cpu" in str(caught.value.hint)


@pytest.mark.parametrize("providers", [(Provider.CUDA,), (Provider.CUDA, Provider.CPU)])
def test_a_fallback_that_was_allowed_is_taken_once_and_said(providers: tuple[Provider, ...]) -> None:
    allowed = request(providers=providers, fallback=Provider.CPU)

    chosen, notes = choose_providers(allowed, asked(NO_GPU))

    assert chosen == (Provider.CPU,)
    assert [note.caution for note in notes] == [Caution.FALLBACK]
    assert notes[0].text == "cuda does not work here (no driver): cpu was measured instead"


def test_a_fallback_is_not_taken_where_it_is_not_needed() -> None:
    allowed = request(providers=(Provider.CUDA,), fallback=Provider.CPU)

    assert choose_providers(allowed, asked(WORKING)) == ((Provider.CUDA,), [])


def test_a_fallback_that_does_not_work_either_is_an_error() -> None:
    with pytest.raises(UnavailableError):
        choose_providers(
            request(providers=(Provider.CPU,), fallback=Provider.CUDA), asked({**NO_GPU, Provider.CPU: "x"})
        )


# The model


def answering(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, object]) -> list[tuple[str, dict[str, Any]]]:
    """Work in other processes is answered from `answers` by the name of its function; gives what was asked."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def run_task(target: str, *arguments: object, **keywords: Any) -> object:
        name = target.rpartition(":")[2]
        calls.append((name, keywords))
        answer = answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    for module in ("setting_up", "taking"):
        monkeypatch.setattr(f"infer_opt.{module}.run_task", run_task)
    return calls


@pytest.mark.parametrize(
    "error", [ModelError("cut off"), ConfigError("contradiction"), UnavailableError("no onnx"), StorageError("full")]
)
def test_what_is_wrong_with_a_model_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch, error: InferOptError) -> None:
    answering(monkeypatch, {"inspect": error})

    with pytest.raises(type(error), match=error.what):
        inspect_model(REQUEST)


@pytest.mark.parametrize("error", [WorkerError("the worker crashed with SIGSEGV"), EvidenceError("odd")])
def test_a_model_that_crashes_its_inspection_is_a_bad_model(
    monkeypatch: pytest.MonkeyPatch, error: InferOptError
) -> None:
    answering(monkeypatch, {"inspect": error})

    with pytest.raises(ModelError, match=rf"model\.onnx cannot be inspected: {error.what}"):
        inspect_model(REQUEST)


def test_a_library_of_custom_operators_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = answering(monkeypatch, {"inspect": MODEL})
    library = tmp_path / "ops.so"
    library.touch()

    assert inspect_model(request(custom_ops=(str(library),))) == MODEL
    assert calls == [("inspect", {"custom_ops": True})]
    with pytest.raises(ConfigError, match="there is no custom-operator library"):
        inspect_model(request(custom_ops=(str(library), "/nowhere/ops.so")))


# Set up


def prepared(tmp_path: Path, **changes: Any) -> Prepared:
    settings: dict[str, Any] = {
        "feeds": {1: tmp_path / "feeds-1.npz"},
        "calibration": None,
        "calibration_hash": None,
        "workload": Workload(dims=(("seq", 128),)),
        "is_synthetic": True,
        "samples": 4,
        "notes": (Note(caution=Caution.SYNTHETIC_INPUTS, text="made up"),),
    }
    return Prepared(**(settings | changes))


@pytest.fixture
def rigged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Setup]:
    def build(asked_for: Request = REQUEST, *, budget_s: float = 180.0, **changes: Any) -> Setup:
        answers: dict[str, object] = {
            "inspect": MODEL,
            "ask_runtime": asked(NO_GPU),
            "prepare": prepared(tmp_path),
        }
        answering(monkeypatch, answers | changes)
        return set_up(asked_for, tmp_path, ArtefactCache(tmp_path / "cache"), budget_s=budget_s)

    return build


def test_a_request_becomes_a_rig(rigged: Callable[..., Setup], tmp_path: Path) -> None:
    setup = rigged(request(seed=5))

    rig = setup.rig
    assert (rig.model, rig.facts, rig.objective) == (Path("model.onnx"), MODEL, Objective.LATENCY)
    assert rig.references == {1: tmp_path / "reference-1.pickle"}
    assert rig.workload.sizes == {"seq": 128}
    assert setup.runtime_versions["onnx"] == "1.32.0"
    assert setup.generator.random() == random.Random(5).random()
    assert {note.caution for note in setup.notes} >= {Caution.PROVIDER_UNAVAILABLE, Caution.SYNTHETIC_INPUTS}


@pytest.mark.parametrize(
    ("facts", "objective", "wanted"),
    [
        (MODEL, Objective.LATENCY, (1,)),
        (MODEL, Objective.THROUGHPUT, (1, 2, 4, 8, 16, 32, 64, 128)),
        (dataclasses.replace(MODEL, batch_dim=None), Objective.THROUGHPUT, (1,)),
    ],
)
def test_for_throughput_batch_sizes_are_found_unless_the_model_takes_one_alone(
    facts: ModelFacts, objective: Objective, wanted: tuple[int, ...]
) -> None:
    assert default_batches(facts, objective) == wanted


def test_batch_sizes_that_the_user_names_are_all_there_are(rigged: Callable[..., Setup]) -> None:
    named = rigged(request(objective=Objective.THROUGHPUT, batches=(1,))).rig
    found = rigged(request(objective=Objective.THROUGHPUT)).rig

    assert (set(named.feeds), named.unnamed) == ({1}, frozenset())
    assert set(found.feeds) == set(found.references) == {1}  # what could be prepared
    assert found.unnamed == frozenset()


def test_workers_may_take_most_of_the_memory_that_is_free(rigged: Callable[..., Setup]) -> None:
    cap = rigged().rig.cap_bytes

    assert cap is None or 0 < cap < 10**13


@pytest.mark.parametrize(
    ("limits", "tolerance"),
    [
        (Limits(), 0.99),
        (Limits(min_parity=0.95), 0.95),
        (Limits(evaluation="evals.py:accuracy"), 0.0),  # then the metric decides
        (Limits(evaluation="evals.py:accuracy", min_parity=0.9), 0.9),
    ],
)
def test_parity_is_asked_for_unless_a_metric_decides(
    rigged: Callable[..., Setup], limits: Limits, tolerance: float
) -> None:
    assert rigged(request(limits=limits)).rig.tolerance == tolerance


@pytest.mark.parametrize(
    ("budget_s", "timeouts"), [(180.0, (30.0, 45.0)), (12.0, (10.0, 20.0)), (36000.0, (120.0, 600.0))]
)
def test_one_worker_that_hangs_does_not_take_the_time_of_all_others(
    rigged: Callable[..., Setup], budget_s: float, timeouts: tuple[float, float]
) -> None:
    rig = rigged(budget_s=budget_s).rig

    assert (rig.timeout_s, rig.build_timeout_s) == timeouts


def test_what_the_model_and_its_inputs_allow_is_known_to_the_space(
    rigged: Callable[..., Setup], tmp_path: Path
) -> None:
    setup = rigged()
    old = rigged(
        inspect=dataclasses.replace(MODEL, opset=9, ir_version=3),
        prepare=prepared(tmp_path, calibration=tmp_path / "c.npz", calibration_hash="h", is_synthetic=False),
    )

    assert not setup.surroundings.is_old_graph
    assert not setup.surroundings.can_calibrate
    assert "Gemm" in setup.surroundings.dynamic_operators | setup.surroundings.static_operators
    assert old.surroundings.is_old_graph
    assert old.surroundings.can_calibrate
    assert old.rig.calibration_hash == "h"


def test_activations_are_smoothed_in_transformers_with_real_inputs(
    rigged: Callable[..., Setup], tmp_path: Path
) -> None:
    transformer = dataclasses.replace(MODEL, operators=(("MatMul", 12), ("LayerNormalization", 4)))
    real = prepared(tmp_path, calibration=tmp_path / "c.npz", calibration_hash="h", is_synthetic=False)

    assert rigged(inspect=transformer, prepare=real).surroundings.can_smooth
    assert not rigged(inspect=transformer).surroundings.can_smooth
    assert not rigged(prepare=real).surroundings.can_smooth
    assert rigged(inspect=transformer).surroundings.weight_operators == {"MatMul"}


def test_graph_rewriters_are_offered_where_they_are_installed_and_know_the_operators(
    rigged: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ops.so").touch()
    monkeypatch.setattr("infer_opt.setting_up.versions", lambda: {"onnxslim": "0.1.98", "onnx": "1.23.2"})

    assert rigged().surroundings.rewriters == (Rewriter.ONNXSLIM,)
    assert rigged(request(custom_ops=(str(tmp_path / "ops.so"),))).surroundings.rewriters == ()


def test_shapes_are_fixed_only_at_sizes_that_the_user_named(rigged: Callable[..., Setup]) -> None:
    assert not rigged().surroundings.has_free_shapes
    assert rigged(request(dims={"seq": 128})).surroundings.has_free_shapes


def test_a_model_of_fixed_batch_is_measured_at_it(rigged: Callable[..., Setup]) -> None:
    inputs = (dataclasses.replace(MODEL.inputs[0], shape=(4, 8)),)
    outputs = (dataclasses.replace(MODEL.outputs[0], shape=(4, 3)),)
    fixed = dataclasses.replace(MODEL, inputs=inputs, outputs=outputs, dynamic_dims=(), batch_dim=None)

    assert rigged(inspect=fixed).surroundings.batches == (4,)


def test_versions_are_of_what_is_installed() -> None:
    assert {"infer-opt", "onnx", "numpy"} <= set(versions())


# Folders


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("INFER_OPT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_lies_where_the_environment_says(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("INFER_OPT_CACHE")
    assert cache_folder().name == "infer-opt"


def test_a_scratch_folder_is_private_and_gone_after_the_call(cache: Path) -> None:
    with scratch_folder() as first, scratch_folder() as second:
        assert first != second
        assert first.is_dir()
        assert first.stat().st_mode & 0o077 == 0  # outputs are pickled there: nobody else may write
        (first / "reference.pickle").write_text("...")

    assert list((cache / "scratch").iterdir()) == []


def test_a_scratch_folder_is_gone_after_an_error_too(cache: Path) -> None:
    with pytest.raises(ModelError), scratch_folder():
        raise ModelError("no")

    assert list((cache / "scratch").iterdir()) == []


def test_what_killed_calls_left_behind_is_removed_and_what_others_use_is_not(cache: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"{ended.pid}-dead", f"{os.getpid()}-alive", "notes-of-somebody"]
    for name in names:
        (cache / "scratch" / name).mkdir(parents=True)

    with scratch_folder() as mine:
        left = {path.name for path in (cache / "scratch").iterdir()}

    assert left == {names[1], names[2], mine.name}


def test_a_cache_that_cannot_be_written_is_an_error_of_storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("INFER_OPT_CACHE", str(tmp_path / "file"))

    with pytest.raises(StorageError, match="cannot be written") as caught, scratch_folder():
        pass

    assert caught.value.hint == "set INFER_OPT_CACHE to another folder"


def test_the_gpu_is_read_with_few_questions_while_sessions_are_measured(
    rigged: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infer_opt.setting_up.NvmlMonitor", partial(NvmlMonitor, FakeNvml(FakeGpu())))

    device = rigged(ask_runtime=asked(WORKING)).rig.device

    assert device is not None
    assert tuple(device.read([])) == tuple(f"gpu[0].{name}" for name in LEAN)


# Distributions

SPREAD = {"seq": ((16, 0.5), (128, 0.5))}


def of_two_shapes(*names: str) -> Workload:
    shapes = tuple(Shape(dims=tuple((name, size) for name in names), weight=0.5) for size in (16, 128))
    return Workload(distributions=tuple(SPREAD.items()), shapes=shapes)


def test_padding_is_tried_where_sizes_have_a_distribution(rigged: Callable[..., Setup], tmp_path: Path) -> None:
    spread = request(distributions=SPREAD)
    setup = rigged(spread, prepare=prepared(tmp_path, workload=of_two_shapes("seq")))
    follows = rigged(spread, prepare=prepared(tmp_path, workload=of_two_shapes("seq", "past + seq")))

    assert setup.surroundings.paddings == ((("seq", (128,)),),)
    assert setup.surroundings.has_free_shapes
    assert not follows.surroundings.has_free_shapes
    assert follows.surroundings.paddings == (), "what follows from a size would have to be filled up as well"
    assert rigged(request(dims={"seq": 128})).surroundings.paddings == ()


def test_a_distribution_is_part_of_what_a_tuning_is_known_by(rigged: Callable[..., Setup]) -> None:
    rig = rigged().rig
    plain, spread = request(), request(distributions=SPREAD)
    other = request(distributions={"seq": ((16, 0.6), (128, 0.4))})

    assert len({one.key(rig, {}) for one in (plain, spread, other)}) == 3
    assert len({one.subject(rig) for one in (plain, spread, other)}) == 3
    assert "distributions" not in plain.to_dict()
