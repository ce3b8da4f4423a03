import dataclasses
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from infer_opt.config import Compilation, Provider, SessionOptions, Spin, TrialConfig, Workload
from infer_opt.errors import ConfigError
from infer_opt.recipes import Calibration, GraphLevel, Quantisation, Recipe, Rewriter, WeightOnly, WeightType

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
    TrialConfig(recipe=Recipe(rewrite=Rewriter.ONNXSLIM, quantise=Quantisation(smooth=0.5))),
    TrialConfig(
        recipe=Recipe(
            quantise=Quantisation(weight_only=WeightOnly(bits=8, block=64, symmetric=False), floats=("a", "b"))
        )
    ),
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
    TrialConfig(options=SessionOptions(intra_threads=2), batch=4, instances=3),
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


def test_a_configuration_of_one_session_keeps_the_key_that_it_had_before_there_were_several() -> None:
    assert TrialConfig().key == "3751611f31e3b5c6"
    assert TrialConfig(options=SessionOptions(intra_threads=1), batch=8).key == "cb50b715ad5db894"
    assert "instances" not in TrialConfig().to_dict()
    assert TrialConfig.from_dict(TrialConfig().to_dict()).instances == 1


def test_several_sessions_have_a_key_of_their_own() -> None:
    one = TrialConfig(options=SessionOptions(intra_threads=1))
    two = dataclasses.replace(one, instances=2)

    assert two.key != one.key
    assert TrialConfig.from_dict(two.to_dict()) == two


def each_change(whole: Any, values: dict[str, Any]) -> list[Any]:
    return [dataclasses.replace(whole, **{name: value}) for name, value in values.items()]


def test_every_field_counts_in_the_key() -> None:
    cuda = SessionOptions(provider=Provider.CUDA)
    recipes = each_change(
        Recipe(),
        {
            "normalise": True,
            "fixed_shapes": True,
            "rewrite": Rewriter.ONNXSCRIPT,
            "fuse": "bert",
            "quantise": STATIC,
            "fp16": True,
            "saved_level": GraphLevel.ALL,
            "buckets": (("seq", (16, 128)),),
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
            "arena_bytes": 1 << 20,
            "exact_arena": True,
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
        lambda data: data["recipe"].update(rewrite="scissors"),
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
        (lambda: TrialConfig(instances=0), "instances must be 1 or more, got 0"),
        (lambda: TrialConfig(instances=2), "2 instances need to be told how many threads"),
        (lambda: SessionOptions(intra_threads=-1), "intra_threads must be 0 or more, got -1"),
        (lambda: SessionOptions(inter_threads=-2), "inter_threads must be 0 or more, got -2"),
        (lambda: SessionOptions(cuda_graph=True), "do not apply to the provider cpu"),
        (lambda: SessionOptions(tf32=False), "do not apply to the provider cpu"),
        (lambda: SessionOptions(nhwc=False), "do not apply to the provider cpu"),
        (lambda: SessionOptions(cudnn_search="default"), "do not apply to the provider cpu"),
        (lambda: Recipe(fp16=True, quantise=Quantisation()), "not both"),
        (lambda: Recipe(buckets=(("seq", ()),)), r"must be sizes above 0 that ascend, got \[\]"),
        (lambda: Recipe(buckets=(("seq", (0, 8)),)), "must be sizes above 0 that ascend"),
        (lambda: Recipe(buckets=(("seq", (16, 8)),)), "must be sizes above 0 that ascend"),
        (lambda: Recipe(buckets=(("seq", (8, 8)),)), "must be sizes above 0 that ascend"),
        (lambda: WeightOnly(bits=3), "4 or 8 bits, got 3"),
        (lambda: WeightOnly(block=48), "blocks have 16, 32, 64, 128, 256 weights, got 48"),
        (lambda: Quantisation(smooth=1.0), "smooth must lie between 0 and 1, got 1"),
        (lambda: Quantisation(weight_only=WeightOnly(), smooth=0.5), "do not apply where weights alone"),
        (lambda: Quantisation(weight_only=WeightOnly(), per_channel=True), "do not apply where weights alone"),
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
        "onnxslim + int8-dynamic smooth-0.5",
        "int8-weights block-64 asymmetric (2 in float)",
        "2 threads, 3 inter-op, no spin, parallel, no memory pattern, no arena, io-binding, graph-basic, "
        "flush denormals",
        "cuda, cuda-graph, cudnn-heuristic, no tf32, nhwc · batch 8 · torch",
        "2 threads · 3 instances · batch 4",
    ]
    assert SessionOptions(intra_threads=1, spin=Spin.RUNS).label == "1 thread, spin in runs only"
    assert (Recipe().label, SessionOptions().label) == ("as given", "stock settings")


def test_only_the_empty_recipe_is_stock() -> None:
    assert Recipe().is_stock
    assert not any(config.recipe.is_stock for config in CONFIGS[1:4])


def test_buckets_come_back_and_leave_other_keys_as_they_were() -> None:
    padded = TrialConfig(recipe=Recipe(buckets=(("seq", (16, 128)), ("past", (8,)))))

    assert TrialConfig.from_dict(json.loads(json.dumps(padded.to_dict()))) == padded
    assert padded.label == "padded seq to 16/128 + padded past to 8"
    assert "buckets" not in TrialConfig().to_dict()["recipe"]
    assert TrialConfig().key == "3751611f31e3b5c6"  # that of releases before there were buckets


def test_buckets_leave_the_file_as_it_is() -> None:
    padded = Recipe(buckets=(("seq", (128,)),))

    assert padded.keeps_file
    assert Recipe().keeps_file
    assert not padded.is_stock
    assert not dataclasses.replace(padded, fixed_shapes=True).keeps_file


def test_only_a_dimension_with_one_bucket_has_one_size() -> None:
    workload = Workload(dims=(("past", 4),))

    assert workload.filled_up((("seq", (128,)), ("width", (8, 16)))).sizes == {"past": 4, "seq": 128}
    assert workload.filled_up(()) == workload


def test_a_workload_gives_sizes_by_name() -> None:
    assert Workload(dims=(("seq", 128), ("height", 224))).sizes == {"seq": 128, "height": 224}


def test_what_was_added_later_is_left_out_where_it_is_not_used_so_that_keys_stay() -> None:
    data = TrialConfig(recipe=Recipe(quantise=Quantisation())).to_dict()

    assert "rewrite" not in data["recipe"]
    assert set(data["recipe"]["quantise"]) == {"calibration", "per_channel", "reduce_range", "weight_type"}
    assert TrialConfig().key == "3751611f31e3b5c6"
    assert TrialConfig(recipe=Recipe(quantise=Quantisation(per_channel=True))).key == "e04191e042289fa5"


def test_the_kind_of_a_quantisation_says_what_it_needs_and_where_it_may_be_wrong() -> None:
    dynamic, static, weights = Quantisation(), STATIC, Quantisation(weight_only=WeightOnly())

    assert [way.kind for way in (dynamic, static, weights)] == ["dynamic", "static", "weights"]
    assert [way.needs_inputs for way in (dynamic, static, weights, Quantisation(smooth=0.5))] == [
        False, True, False, True,
    ]  # fmt: skip
    assert [way.may_saturate for way in (dynamic, static, weights)] == [True, False, False]
    assert Quantisation(weight_only=WeightOnly(bits=8)).may_saturate


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
