import dataclasses
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from infer_opt.config import (
    Calibration,
    Compilation,
    GraphLevel,
    Provider,
    Quantisation,
    Recipe,
    SessionOptions,
    Spin,
    TrialConfig,
    WeightType,
    Workload,
)
from infer_opt.errors import ConfigError

STATIC = Quantisation(
    calibration=Calibration.ENTROPY, per_channel=True, reduce_range=True, weight_type=WeightType.UINT8
)
# Each differs from stock in every field of one part.
CONFIGS = [
    TrialConfig(),
    TrialConfig(
        recipe=Recipe(normalise=True, fixed_shapes=True, fuse="bert", quantise=STATIC, saved_level=GraphLevel.ALL)
    ),
    TrialConfig(recipe=Recipe(fp16=True, quantise=None)),
    TrialConfig(recipe=Recipe(quantise=Quantisation())),
    TrialConfig(
        options=SessionOptions(
            intra_threads=2,
            inter_threads=3,
            spin=Spin.NEVER,
            parallel=True,
            memory_pattern=False,
            arena=False,
            io_binding=True,
            graph_level=GraphLevel.BASIC,
            flush_denormals=True,
            custom_ops=("a.so", "b.so"),
        )
    ),
    TrialConfig(
        options=SessionOptions(
            provider=Provider.CUDA, cuda_graph=True, cudnn_search="heuristic", tf32=False, nhwc=True
        ),
        batch=8,
        runtime="torch",
    ),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.label)
def test_a_configuration_comes_back_whole_from_json(config: TrialConfig) -> None:
    back = TrialConfig.from_dict(json.loads(json.dumps(config.to_dict())))

    assert back == config
    assert (back.key, back.label) == (config.key, config.label)
    # Enum members, not their text: the runtime compares by identity.
    assert isinstance(back.options.provider, Provider)
    assert back.options.spin is config.options.spin
    assert pickle.loads(pickle.dumps(config)) == config


def test_different_configurations_have_different_keys_and_labels() -> None:
    assert len({config.key for config in CONFIGS}) == len(CONFIGS)
    assert len({config.label for config in CONFIGS}) == len(CONFIGS)


def test_keys_are_the_same_in_every_process() -> None:
    program = "from infer_opt.config import TrialConfig; print(TrialConfig().key)"

    keys = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert keys == {TrialConfig().key}


def each_change(whole: Any, values: dict[str, Any]) -> list[Any]:
    return [dataclasses.replace(whole, **{name: value}) for name, value in values.items()]


def test_every_field_counts_in_the_key() -> None:
    cuda = SessionOptions(provider=Provider.CUDA)
    recipes = each_change(
        Recipe(),
        {
            "normalise": True,
            "fixed_shapes": True,
            "fuse": "bert",
            "quantise": STATIC,
            "fp16": True,
            "saved_level": GraphLevel.ALL,
        },
    )
    options = each_change(
        cuda,
        {
            "provider": Provider.CPU,
            "intra_threads": 1,
            "inter_threads": 1,
            "spin": Spin.RUNS,
            "parallel": True,
            "memory_pattern": False,
            "arena": False,
            "io_binding": True,
            "graph_level": GraphLevel.NONE,
            "flush_denormals": True,
            "bf16": True,
            "compiled": Compilation.DEFAULT,
            "custom_ops": ("a.so",),
            "cuda_graph": True,
            "cudnn_search": "heuristic",
            "tf32": True,
            "nhwc": False,
        },
    )

    assert len(recipes) == len(dataclasses.fields(Recipe))
    assert len(options) == len(dataclasses.fields(SessionOptions))
    keys = [TrialConfig(recipe=recipe).key for recipe in recipes] + [TrialConfig(options=cuda).key]
    keys += [TrialConfig(options=option).key for option in options]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("batch"),
        lambda data: data["recipe"].update(turbo=True),
        lambda data: data["options"].update(warp=9),
        lambda data: data["options"].update(provider="abacus"),
        lambda data: data["options"].update(spin="sometimes"),
        lambda data: data["options"].pop("spin"),
        lambda data: data["options"].update(intra_threads="two"),
        lambda data: data["recipe"].update(saved_level="most"),
        lambda data: data["recipe"].update(quantise={"calibration": "guess"}),
        lambda data: data.update(recipe=None),
    ],
)
def test_what_another_release_wrote_is_refused(damage: Any) -> None:
    data = TrialConfig().to_dict()
    damage(data)

    with pytest.raises(ConfigError, match="not a configuration of this release"):
        TrialConfig.from_dict(data)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: TrialConfig(batch=0), "batch must be 1 or more, got 0"),
        (lambda: SessionOptions(intra_threads=-1), "intra_threads must be 0 or more, got -1"),
        (lambda: SessionOptions(inter_threads=-2), "inter_threads must be 0 or more, got -2"),
        (lambda: SessionOptions(cuda_graph=True), "do not apply to the provider cpu"),
        (lambda: SessionOptions(tf32=False), "do not apply to the provider cpu"),
        (lambda: SessionOptions(nhwc=False), "do not apply to the provider cpu"),
        (lambda: SessionOptions(cudnn_search="default"), "do not apply to the provider cpu"),
        (lambda: Recipe(fp16=True, quantise=Quantisation()), "not both"),
    ],
)
def test_contradictions_are_refused(make: Any, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        make()


def test_labels_say_only_what_differs_from_stock() -> None:
    assert [config.label for config in CONFIGS] == [
        "stock",
        "normalised + fixed-shapes + fused-bert + int8-static entropy per-channel 7-bit u8-weights + saved-all",
        "fp16",
        "int8-dynamic",
        "2 threads, 3 inter-op, no spin, parallel, no memory pattern, no arena, io-binding, graph-basic, "
        "flush denormals",
        "cuda, cuda-graph, cudnn-heuristic, no tf32, nhwc · batch 8 · torch",
    ]
    assert SessionOptions(intra_threads=1, spin=Spin.RUNS).label == "1 thread, spin in runs only"
    assert (Recipe().label, SessionOptions().label) == ("as given", "stock settings")


def test_only_the_empty_recipe_is_stock() -> None:
    assert Recipe().is_stock
    assert not any(config.recipe.is_stock for config in CONFIGS[1:4])


def test_a_workload_gives_sizes_by_name() -> None:
    assert Workload(dims=(("seq", 128), ("height", 224))).sizes == {"seq": 128, "height": 224}


def test_compiling_changes_no_key_of_what_is_not_compiled() -> None:
    assert "compiled" not in TrialConfig().to_dict()["options"]
    compiled = TrialConfig(options=SessionOptions(compiled=Compilation.MAX_AUTOTUNE), runtime="torch")
    assert TrialConfig.from_dict(json.loads(json.dumps(compiled.to_dict()))) == compiled
    assert compiled.label == "compiled max-autotune · torch"


def test_beside_pytorch_what_onnx_runtime_runs_is_called_by_its_name() -> None:
    stock, onnx = TrialConfig(runtime="torch"), TrialConfig()
    one = replace(onnx, options=SessionOptions(intra_threads=1))

    assert [config.label_beside(stock) for config in (stock, onnx, one)] == ["stock", "onnx", "1 thread · onnx"]
    assert replace(stock, options=one.options).label_beside(stock) == "1 thread · torch"
    assert [config.label_beside(onnx) for config in (stock, onnx, one)] == ["torch", "stock", "1 thread"]
