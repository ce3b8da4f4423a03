from dataclasses import replace

from infer_opt.config import Provider
from infer_opt.recipes import Recipe
from infer_opt.search.paddings import paddings
from infer_opt.search.space import candidates
from infer_opt.search.surroundings import Surroundings

SEQ = ((16, 0.5), (128, 0.3), (384, 0.2))
LARGEST, TWO = (("seq", (384,)),), (("seq", (128, 384)),)
SURROUNDINGS = Surroundings(
    providers=(Provider.CPU,),
    usable_cores=2.0,
    physical_cores=2,
    has_free_shapes=True,
    dynamic_operators=frozenset({"MatMul"}),
    paddings=(LARGEST, TWO),
    engines=("openvino",),
)


def test_all_sizes_go_into_one_bucket_or_into_the_two_that_waste_least() -> None:
    # Below 384: up to 16, 0.5 x 16 + 0.5 x 384 = 200; up to 128, 0.8 x 128 + 0.2 x 384 = 179.2.
    assert paddings({"seq": SEQ}) == (LARGEST, TWO)
    assert paddings({"seq": ((16, 0.8), (128, 0.1), (384, 0.1))})[1] == (("seq", (16, 384)),)


def test_the_order_in_which_sizes_are_named_makes_no_difference() -> None:
    assert paddings({"seq": SEQ[::-1]}) == (LARGEST, TWO)


def test_two_buckets_for_two_sizes_would_pad_nothing() -> None:
    assert paddings({"seq": ((16, 0.5), (128, 0.5))}) == ((("seq", (128,)),),)


def test_of_several_dimensions_only_those_with_more_than_two_sizes_get_two_buckets() -> None:
    found = paddings({"seq": SEQ, "past": ((1, 0.5), (8, 0.5))})

    assert found == ((("seq", (384,)), ("past", (8,))), TWO)


def test_one_shape_needs_no_padding() -> None:
    assert paddings({}) == ()


# In the space


def test_padded_recipes_are_candidates_only_where_sizes_have_a_distribution() -> None:
    with_them = {config.recipe for config in candidates(SURROUNDINGS)}
    without = {config.recipe for config in candidates(replace(SURROUNDINGS, paddings=()))}

    assert {Recipe(buckets=LARGEST), Recipe(buckets=TWO), Recipe(buckets=LARGEST, fixed_shapes=True)} <= with_them
    assert not any(recipe.buckets for recipe in without)
    assert Recipe(fixed_shapes=True) in without - with_them, "one size for all calls is what a distribution is not"


def test_shapes_are_fixed_only_where_one_bucket_holds_all_and_all_sizes_are_known() -> None:
    fixed = {config.recipe.buckets for config in candidates(SURROUNDINGS) if config.recipe.fixed_shapes}
    guessed = candidates(replace(SURROUNDINGS, has_free_shapes=False))

    assert fixed == {LARGEST}
    assert not any(config.recipe.fixed_shapes for config in guessed)
    assert any(config.recipe.buckets for config in guessed)


def test_padding_is_tried_with_int8_and_on_other_engines_too() -> None:
    found = candidates(SURROUNDINGS)

    assert any(config.recipe.buckets and config.recipe.quantise for config in found)
    assert any(config.recipe.buckets and config.runtime == "openvino" for config in found)
