from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infer_opt.config import Compilation, Objective, Provider, SessionOptions, Spin, TrialConfig
from infer_opt.recipes import Calibration, GraphLevel, Quantisation, Recipe, Rewriter, WeightType
from infer_opt.search.space import (
    HEAVY_BYTES,
    SMOOTHING,
    WIDEST,
    candidates,
    distance_from_stock,
    explorable,
    neighbours,
)
from infer_opt.search.surroundings import Surroundings, concurrencies, stock, thread_counts

PLAIN = Surroundings(providers=(Provider.CPU,), usable_cores=4.0, physical_cores=4)
# Everything that a model and a machine can offer, without VNNI.
RICH = Surroundings(
    providers=(Provider.CPU,),
    usable_cores=8.0,
    physical_cores=4,
    has_free_shapes=True,
    can_calibrate=True,
    is_old_graph=True,
    dynamic_operators=frozenset({"MatMul"}),
    static_operators=frozenset({"MatMul", "Conv"}),
    weight_operators=frozenset({"MatMul"}),
    can_smooth=True,
    fusable=("bert", "gpt2"),
    rewriters=tuple(Rewriter),
)
ON_GPU = replace(RICH, providers=(Provider.CUDA, Provider.CPU))
EVERYWHERE = [PLAIN, RICH, ON_GPU, replace(RICH, batches=(1, 8), objective=Objective.THROUGHPUT, has_vnni=True)]


def recipes(surroundings: Surroundings, provider: Provider = Provider.CPU) -> list[Recipe]:
    found = (config.recipe for config in candidates(surroundings) if config.options.provider is provider)
    return list(dict.fromkeys(recipe for recipe in found if not recipe.is_stock))


def quantisations(surroundings: Surroundings) -> list[Quantisation]:
    return [recipe.quantise for recipe in recipes(surroundings) if recipe.quantise is not None]


@pytest.mark.parametrize("surroundings", EVERYWHERE)
def test_no_candidate_comes_twice_and_stock_is_none_of_them(surroundings: Surroundings) -> None:
    found = candidates(surroundings)

    assert len(set(found)) == len(found) == len({config.key for config in found})
    assert stock(surroundings) not in found


@pytest.mark.parametrize("surroundings", EVERYWHERE)
def test_the_space_is_the_same_each_time(surroundings: Surroundings) -> None:
    assert candidates(surroundings) == candidates(surroundings)


def test_stock_is_the_first_provider_and_batch_and_nothing_else() -> None:
    surroundings = replace(ON_GPU, batches=(4, 8))

    assert stock(surroundings) == TrialConfig(options=SessionOptions(provider=Provider.CUDA), batch=4)


# Threads


@pytest.mark.parametrize(
    ("usable", "physical", "counts"),
    [
        (8.0, 8, (1, 2, 4, 8)),
        (16.0, 8, (1, 2, 4, 8, 16)),
        (4.0, 16, (1, 2, 4)),  # a quota below the machine's cores
        (1.5, 8, (1,)),  # half a core more does not carry a second thread
        (0.3, 8, (1,)),
        (3.0, 3, (1, 2, 3)),
        (1.0, 1, (1,)),
    ],
)
def test_thread_counts_stay_within_the_quota(usable: float, physical: int, counts: tuple[int, ...]) -> None:
    surroundings = replace(PLAIN, usable_cores=usable, physical_cores=physical)

    assert thread_counts(surroundings) == counts
    assert {config.options.intra_threads for config in candidates(surroundings)} == {0, *counts}


def test_one_core_is_not_offered_parallel_execution() -> None:
    def parallel(surroundings: Surroundings) -> bool:
        return any(config.options.parallel for config in candidates(surroundings))

    assert parallel(PLAIN)
    assert not parallel(replace(PLAIN, usable_cores=1.0))
    assert not parallel(replace(PLAIN, has_branches=False))


# Knobs


CPU_KNOBS: dict[str, Callable[[SessionOptions], bool]] = {
    "intra_threads": lambda options: options.intra_threads == 1,
    "spin": lambda options: options.spin is Spin.NEVER,
    "spin in runs": lambda options: options.spin is Spin.RUNS,
    "parallel": lambda options: options.parallel and options.inter_threads == 2,
    "memory_pattern": lambda options: not options.memory_pattern,
    "arena": lambda options: not options.arena,
    "io_binding": lambda options: options.io_binding,
    "graph_level": lambda options: options.graph_level is GraphLevel.EXTENDED,
    "flush_denormals": lambda options: options.flush_denormals,
}
CUDA_KNOBS: dict[str, Callable[[SessionOptions], bool]] = {
    "cuda_graph": lambda options: options.cuda_graph,
    "cudnn_search": lambda options: options.cudnn_search is not None,
    "tf32": lambda options: options.tf32 is not None,
    "nhwc": lambda options: options.nhwc is not None,
    "io_binding": lambda options: options.io_binding,
}


@pytest.mark.parametrize(
    ("provider", "knob", "is_turned"),
    [
        *[(Provider.CPU, *entry) for entry in CPU_KNOBS.items()],
        *[(Provider.CUDA, *entry) for entry in CUDA_KNOBS.items()],
    ],
    ids=str,
)
def test_every_knob_is_turned_alone_on_the_graph_as_given(
    provider: Provider, knob: str, is_turned: Callable[[SessionOptions], bool]
) -> None:
    found = [c for c in candidates(ON_GPU) if c.options.provider is provider and c.recipe.is_stock]
    turned = [config.options for config in found if is_turned(config.options)]

    assert min(distance_from_stock(TrialConfig(options=options)) for options in turned) == (
        3 if knob == "parallel" else 1
    )


def test_no_candidate_asks_cuda_things_of_the_cpu_or_the_other_way_round() -> None:
    for config in candidates(ON_GPU):
        if config.options.provider is Provider.CUDA:
            assert (config.options.intra_threads, config.options.spin, config.options.parallel) == (0, None, False)
            assert config.recipe.quantise is None
        else:
            assert not config.recipe.fp16


def test_a_provider_that_is_not_there_is_not_tried() -> None:
    assert {config.options.provider for config in candidates(RICH)} == {Provider.CPU}


def test_the_second_provider_is_tried_with_its_stock_settings_too() -> None:
    assert TrialConfig(options=SessionOptions(provider=Provider.CPU)) in candidates(ON_GPU)


def test_a_knob_that_does_not_apply_takes_its_stock_value() -> None:
    for config in candidates(RICH):
        options = config.options
        if options.intra_threads == 1:
            assert options.spin is None  # nobody waits for anybody
        if not options.parallel:
            assert options.inter_threads == 0
        if config.recipe.saved_level is not None:
            assert options.graph_level is GraphLevel.NONE  # optimised once, offline


def test_custom_operators_are_in_every_candidate_or_none_would_open() -> None:
    surroundings = replace(RICH, custom_ops=("ops.so",))

    assert {config.options.custom_ops for config in (*candidates(surroundings), stock(surroundings))} == {("ops.so",)}


# Recipes


def test_a_model_that_nothing_can_be_done_to_is_left_as_given_or_saved_optimised() -> None:
    assert recipes(PLAIN) == [
        Recipe(saved_level=GraphLevel.ALL),
        Recipe(saved_level=GraphLevel.EXTENDED),
        Recipe(saved_level=GraphLevel.BASIC),
    ]


def test_without_vnni_seven_bit_weights_come_first_and_with_it_eight_bit_ones() -> None:
    without, with_it = quantisations(RICH), quantisations(replace(RICH, has_vnni=True))

    assert all(way.reduce_range for way in without[:2])
    assert not any(way.reduce_range for way in with_it[:2])
    # The other one is tried all the same: parity decides, not the rule.
    assert {way.reduce_range for way in without} == {way.reduce_range for way in with_it} == {True, False}


def test_dynamic_quantisation_varies_channels_range_and_weight_type() -> None:
    ways = [way for way in quantisations(RICH) if way.kind == "dynamic"]

    assert {way.per_channel for way in ways} == {True, False}
    assert {way.weight_type for way in ways} == {WeightType.INT8, WeightType.UINT8}


def test_static_quantisation_tries_every_calibration_but_only_with_real_inputs() -> None:
    assert {way.calibration for way in quantisations(RICH)} == {None, *Calibration}
    assert {way.calibration for way in quantisations(replace(RICH, can_calibrate=False))} == {None}


def test_a_model_without_operators_worth_it_is_not_quantised() -> None:
    nothing: frozenset[str] = frozenset()
    surroundings = replace(
        RICH, dynamic_operators=nothing, static_operators=nothing, weight_operators=nothing, can_smooth=False
    )

    assert not quantisations(surroundings)
    assert {r.fuse for r in recipes(surroundings)} == {None, "bert"}


def test_weights_alone_are_quantised_in_eight_and_four_bits_after_the_likeliest_int8() -> None:
    ways = quantisations(RICH)
    bits = [way.weight_only.bits for way in ways if way.weight_only is not None]

    assert bits == [8, 8, 4]
    assert [way.kind for way in ways[:2]] == ["dynamic", "dynamic"]
    assert not any(way.kind == "weights" for way in quantisations(replace(RICH, weight_operators=frozenset())))


def test_activations_are_smoothed_for_either_kind_of_int8_where_there_is_something_to_smooth() -> None:
    found = [way for way in quantisations(RICH) if way.smooth is not None]

    assert [(way.kind, way.smooth) for way in found] == [("static", SMOOTHING), ("dynamic", SMOOTHING)]
    assert all(way.per_channel for way in found)
    assert not any(way.smooth for way in quantisations(replace(RICH, can_smooth=False)))


def test_four_bits_are_looked_at_layer_by_layer_where_weights_are_heavy() -> None:
    def kinds(weight_bytes: int) -> list[str]:
        found = explorable(replace(RICH, weight_bytes=weight_bytes))
        return [recipe.quantise.kind for recipe in found if recipe.quantise is not None]

    assert kinds(HEAVY_BYTES) == ["dynamic", "static", "weights"]
    assert kinds(HEAVY_BYTES - 1) == ["dynamic", "static"]


def test_where_convolutions_do_most_of_the_work_calibrated_ranges_come_first_and_are_explored_alone() -> None:
    convolutional = replace(RICH, is_convolutional=True)

    assert [way.kind for way in quantisations(convolutional)[:2]] == ["static", "static"]
    assert {recipe.quantise.kind for recipe in explorable(convolutional) if recipe.quantise is not None} == {"static"}


def test_old_graphs_are_normalised_before_they_are_quantised_or_fused() -> None:
    assert all(r.normalise for r in recipes(RICH) if r.quantise is not None or r.fuse is not None)
    assert Recipe(normalise=True) in recipes(RICH)
    assert not any(r.normalise for r in recipes(replace(RICH, is_old_graph=False)))


def test_fused_and_quantised_go_together_too() -> None:
    assert any(r.fuse == "bert" and r.quantise is not None for r in recipes(RICH))


def test_shapes_are_fixed_only_where_some_are_free() -> None:
    assert Recipe(fixed_shapes=True) in recipes(RICH)
    assert not any(r.fixed_shapes for r in recipes(PLAIN))


@pytest.mark.parametrize("provider", Provider)
def test_rewriters_are_tried_where_they_are_installed_alone_and_on_the_cpu_with_int8(provider: Provider) -> None:
    found = [recipe for recipe in recipes(ON_GPU, provider) if recipe.rewrite is not None]

    assert {recipe.rewrite for recipe in found if recipe.quantise is None} == set(Rewriter)
    assert any(recipe.quantise is not None for recipe in found) is (provider is Provider.CPU)
    assert not any(recipe.rewrite for recipe in recipes(replace(ON_GPU, rewriters=()), provider))


def test_halves_are_for_cuda() -> None:
    assert any(r.fp16 for r in recipes(ON_GPU, Provider.CUDA))
    assert any(r.fp16 and r.fuse == "bert" for r in recipes(ON_GPU, Provider.CUDA))


# Batches


def test_batch_sizes_multiply_the_space_and_stock_is_tried_at_each() -> None:
    one = candidates(replace(RICH, objective=Objective.THROUGHPUT))
    both = candidates(replace(RICH, batches=(1, 8), objective=Objective.THROUGHPUT))

    assert len(both) == 2 * len(one) + 1
    assert TrialConfig(batch=8) in both
    assert {config.batch for config in both} == {1, 8}


@pytest.mark.parametrize(
    ("usable", "physical", "wanted"),
    [
        (1.0, 1, []),
        (1.5, 8, []),  # a quota of less than two cores
        (2.0, 2, [(2, 1)]),
        (3.0, 3, [(3, 1), (2, 1)]),
        (8.0, 4, [(4, 1), (2, 2), (8, 1), (4, 2), (2, 4)]),  # physical cores first, then all hardware threads
    ],
)
def test_instances_share_the_cores_that_may_be_used(
    usable: float, physical: int, wanted: list[tuple[int, int]]
) -> None:
    busy = replace(PLAIN, usable_cores=usable, physical_cores=physical, objective=Objective.THROUGHPUT)

    assert list(concurrencies(busy)) == wanted
    assert all(instances * threads <= usable for instances, threads in wanted)
    assert {(c.instances, c.options.intra_threads) for c in candidates(busy) if c.instances > 1} == set(wanted)


def test_nobody_is_answered_sooner_by_a_second_session() -> None:
    assert {config.instances for config in candidates(RICH)} == {1}
    assert concurrencies(RICH) == ()


def test_every_recipe_is_tried_by_several_instances_too() -> None:
    busy = replace(RICH, objective=Objective.THROUGHPUT)
    several = {config.recipe for config in candidates(busy) if config.instances > 1}

    assert several == {Recipe(), *recipes(busy)}


def test_a_configuration_with_one_more_instance_is_a_neighbour() -> None:
    one = TrialConfig(options=SessionOptions(intra_threads=1))
    two = replace(one, instances=2)

    assert neighbours(one, [two, replace(two, batch=8)]) == (two,)
    assert distance_from_stock(two) == distance_from_stock(one) + 1


# Order


def test_both_recipes_and_options_stand_among_the_first_ten() -> None:
    first = candidates(RICH)[:10]

    assert sum(config.recipe.is_stock for config in first) == 5
    assert sum(config.options == SessionOptions() for config in first) == 5


def test_single_changes_come_before_combinations() -> None:
    def is_both(config: TrialConfig) -> bool:
        # A graph saved offline is opened without further optimisation; that is no change of its own.
        options = replace(config.options, graph_level=None) if config.recipe.saved_level else config.options
        return not config.recipe.is_stock and options != SessionOptions()

    kinds = [is_both(config) for config in candidates(RICH)]

    assert kinds == sorted(kinds)
    assert any(kinds)


# Distances


@pytest.mark.parametrize(
    ("changes", "distance"),
    [
        ({}, 0),
        ({"options": SessionOptions(intra_threads=1)}, 1),
        ({"options": SessionOptions(intra_threads=2, spin=Spin.NEVER)}, 2),
        ({"options": SessionOptions(provider=Provider.CUDA)}, 0),  # stock of the other provider
        ({"recipe": Recipe(normalise=True, quantise=Quantisation())}, 2),
        ({"batch": 8}, 0),
    ],
)
def test_the_distance_from_stock_counts_changed_settings(changes: dict[str, Any], distance: int) -> None:
    assert distance_from_stock(TrialConfig(**changes)) == distance


def test_neighbours_differ_in_one_respect() -> None:
    config = TrialConfig(recipe=Recipe(normalise=True), options=SessionOptions(intra_threads=2))
    near = [
        replace(config, recipe=Recipe(quantise=Quantisation(), fixed_shapes=True)),  # another recipe is one respect
        replace(config, options=SessionOptions(intra_threads=1)),
        replace(config, options=SessionOptions(intra_threads=2, spin=Spin.NEVER)),
        replace(config, batch=8),
        replace(config, runtime="torch"),
    ]
    far = [
        config,
        TrialConfig(),
        replace(config, batch=8, runtime="torch"),
        replace(config, options=SessionOptions(intra_threads=1, arena=False)),
    ]

    assert neighbours(config, [*far, *near]) == tuple(near)


WIDER = [*EVERYWHERE, replace(RICH, usable_cores=64.0, physical_cores=64), replace(PLAIN, usable_cores=2.0)]


@pytest.mark.parametrize("surroundings", WIDER)
def test_a_wide_space_begins_with_the_usual_one_and_stays_within_two_thousand(surroundings: Surroundings) -> None:
    usual, wide = candidates(surroundings), candidates(surroundings, wide=True)

    assert wide[: len(usual)] == usual
    assert len(usual) < len(set(wide)) == len(wide) <= WIDEST * len(surroundings.batches)
    assert stock(surroundings) not in wide


def test_a_wide_space_of_many_batch_sizes_crosses_as_much_at_each() -> None:
    one = replace(RICH, objective=Objective.THROUGHPUT)
    many = replace(one, batches=(1, 2, 4, 8, 16, 32, 64, 128))

    def at_one(surroundings: Surroundings) -> set[TrialConfig]:
        return {config for config in candidates(surroundings, wide=True) if config.batch == 1}

    assert at_one(many) == at_one(one)


def test_a_wide_space_crosses_what_the_usual_one_changes_one_at_a_time() -> None:
    small = replace(RICH, usable_cores=2.0, physical_cores=2)
    crossed = SessionOptions(intra_threads=1, graph_level=GraphLevel.EXTENDED, arena=False, io_binding=True)

    for recipe in (Recipe(), recipes(small)[0]):
        config = TrialConfig(recipe=recipe, options=crossed)
        assert config in candidates(small, wide=True)
        assert config not in candidates(small)


def test_a_wide_space_of_a_small_machine_is_large() -> None:
    small = replace(RICH, usable_cores=2.0, physical_cores=2)

    assert len(candidates(small, wide=True)) > 3 * len(candidates(small))


def test_the_best_of_the_screen_has_neighbours_to_try() -> None:
    space = candidates(RICH)
    recipe = next(r for r in recipes(RICH) if r.quantise is not None)

    found = neighbours(TrialConfig(recipe=recipe), space)

    assert any(config.recipe == recipe and config.options.intra_threads == 1 for config in found)


# PyTorch models

NATIVE_CPU = replace(RICH, is_native=True, exported=(Provider.CPU,), engines=("openvino",), is_old_graph=False)


def test_of_a_pytorch_model_stock_is_pytorch_as_it_comes() -> None:
    assert stock(NATIVE_CPU) == TrialConfig(runtime="torch")
    assert stock(NATIVE_CPU) not in candidates(NATIVE_CPU)


def test_a_pytorch_model_is_compared_natively_and_as_onnx_in_one_space() -> None:
    found = candidates(NATIVE_CPU)

    assert found[0] == TrialConfig()  # ONNX Runtime as it comes
    assert {config.runtime for config in found} == {"torch", "onnx", "openvino"}
    assert set(candidates(replace(RICH, is_old_graph=False, engines=("openvino",)))) <= set(found)
    native = [config for config in found if config.runtime == "torch"]
    assert {config.options.compiled for config in native} == {None, Compilation.DEFAULT, Compilation.MAX_AUTOTUNE}
    assert {config.options.intra_threads for config in native} == {0, 1, 2, 4, 8}
    assert all(config.recipe.is_stock for config in native)
    assert len(found) == len(set(found))


def test_without_an_onnx_file_only_pytorch_is_tried() -> None:
    alone = replace(NATIVE_CPU, exported=(), engines=())

    for wide in (False, True):
        assert {config.runtime for config in candidates(alone, wide=wide)} == {"torch"}
    assert explorable(alone) == ()
    assert explorable(NATIVE_CPU) != ()


def test_on_cuda_pytorch_is_tried_as_a_graph_and_onnx_where_it_runs() -> None:
    both = replace(NATIVE_CPU, providers=(Provider.CUDA, Provider.CPU))

    found = candidates(both)

    on_cuda = [config for config in found if config.options.provider is Provider.CUDA]
    assert {config.runtime for config in on_cuda} == {"torch"}
    assert any(config.options.cuda_graph for config in on_cuda)
    assert Compilation.REDUCE_OVERHEAD in {config.options.compiled for config in on_cuda}
    assert TrialConfig(runtime="torch") in found  # PyTorch on the CPU
    assert TrialConfig() in found


def test_every_batch_of_a_pytorch_model_is_tried_natively() -> None:
    found = candidates(replace(NATIVE_CPU, objective=Objective.THROUGHPUT, batches=(1, 8)))

    assert TrialConfig(runtime="torch", batch=8) in found


def test_an_exact_arena_is_tried_where_memory_is_what_counts() -> None:
    for objective, is_tried in ((Objective.MEMORY, True), (Objective.LATENCY, False)):
        found = candidates(replace(ON_GPU, objective=objective))

        assert any(config.options.exact_arena for config in found) is is_tried
