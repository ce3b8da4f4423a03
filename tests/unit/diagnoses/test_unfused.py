"""Patterns of nodes: found by what they are and what they read, and not where they only look alike."""

import pytest

from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import SessionOptions
from infer_opt.diagnoses import diagnose
from infer_opt.profiles.profile import Profile
from infer_opt.recipes import GraphLevel
from made_cases import US, Graph


def found(cause: Cause, profile: Profile) -> Diagnosis | None:
    return next((one for one in diagnose(profile) if one.cause is cause), None)


def attention() -> Graph:
    graph = Graph()
    for letter in "qkv":
        graph.add("MatMul", f"x w{letter}", letter, us=50.0)
        graph.add("Reshape", f"{letter} wshape", f"{letter}r", us=1.0)
        graph.add("Transpose", f"{letter}r", f"{letter}t", us=10.0)
    graph.add("MatMul", "qt kt", "scores", us=40.0)
    graph.add("Div", "scores wscale", "scaled", us=20.0)
    graph.add("Add", "scaled mask", "masked", us=20.0)
    graph.add("Softmax", "masked", "probabilities", us=30.0)
    graph.add("MatMul", "probabilities vt", "mixed", us=40.0)
    graph.add("Transpose", "mixed", "turned", us=10.0)
    return graph


def test_attention_that_is_spelled_out_is_found_with_its_transposes() -> None:
    diagnosis = found(Cause.UNFUSED_ATTENTION, attention().profile())

    assert diagnosis is not None
    # The two products and the softmax remain; scale, mask and four transposes would not.
    assert diagnosis.gain_ns == pytest.approx(80 * US)
    operators = [name.rstrip("0123456789") for name in diagnosis.nodes]
    assert sorted(operators) == sorted(["transpose"] * 4 + ["matmul"] * 2 + ["div", "add", "softmax"])
    assert diagnosis.knobs == ("fuse", "rewrite")


def test_a_softmax_over_scores_of_weights_is_a_classifier_and_no_attention() -> None:
    graph = Graph()
    graph.add("MatMul", "x w0", "logits", us=50.0)
    graph.add("Add", "logits w1", "biased", us=30.0)
    graph.add("Softmax", "biased", "p", us=50.0)
    graph.add("MatMul", "p w2", "y", us=50.0)

    assert found(Cause.UNFUSED_ATTENTION, graph.profile()) is None


def test_a_softmax_that_nothing_is_mixed_with_is_no_attention() -> None:
    graph = Graph()
    graph.add("MatMul", "a b", "similarities", us=50.0)
    graph.add("Div", "similarities w0", "scaled", us=50.0)
    graph.add("Softmax", "scaled", "y", us=50.0)

    assert found(Cause.UNFUSED_ATTENTION, graph.profile()) is None


def test_one_operator_for_attention_is_no_finding() -> None:
    graph = Graph()
    graph.add("MultiHeadAttention", "q k v", "y", us=100.0, domain="com.microsoft")

    assert found(Cause.UNFUSED_ATTENTION, graph.profile()) is None


def test_where_the_level_of_optimisation_keeps_it_apart_that_is_what_to_change() -> None:
    diagnosis = found(
        Cause.UNFUSED_ATTENTION, attention().profile(options=SessionOptions(graph_level=GraphLevel.BASIC))
    )

    assert diagnosis is not None
    assert diagnosis.knobs == ("graph_level",)
    assert "graph_optimization_level" in diagnosis.action


def layer_norm(*, centred: bool = True, by: str = "Div") -> Graph:
    graph = Graph()
    base = "x"
    if centred:
        graph.add("ReduceMean", "x", "mean", us=8.0)
        base = graph.add("Sub", "x mean", "centred", us=10.0)
    graph.add("Pow", f"{base} wtwo", "squared", us=10.0)
    graph.add("ReduceMean", "squared", "variance", us=8.0)
    graph.add("Add", "variance weps", "safe", us=2.0)
    graph.add("Sqrt", "safe", "deviation", us=2.0)
    if by == "Mul":
        graph.add("Reciprocal", "deviation", "inverse", us=2.0)
        graph.add("Mul", f"{base} inverse", "normal", us=10.0)
    else:
        graph.add("Div", f"{base} deviation", "normal", us=10.0)
    graph.add("Mul", "normal wscale", "scaled", us=10.0)
    graph.add("Add", "scaled wbias", "y", us=10.0)
    return graph


def test_a_normalisation_in_nine_nodes_is_found_whole() -> None:
    graph = layer_norm()

    diagnosis = found(Cause.UNFUSED_LAYER_NORM, graph.profile())

    assert diagnosis is not None
    assert len(diagnosis.nodes) == 9
    # One pass over the data remains, which the division stands for.
    assert diagnosis.gain_ns == pytest.approx(60 * US)


@pytest.mark.parametrize(("centred", "by", "nodes"), [(False, "Div", 7), (False, "Mul", 8), (True, "Mul", 10)])
def test_a_normalisation_by_the_root_of_squares_and_by_a_reciprocal_is_found_too(
    centred: bool, by: str, nodes: int
) -> None:
    diagnosis = found(Cause.UNFUSED_LAYER_NORM, layer_norm(centred=centred, by=by).profile())

    assert diagnosis is not None
    assert len(diagnosis.nodes) == nodes


def test_a_mean_of_squares_that_nothing_is_divided_by_is_a_loss_and_no_normalisation() -> None:
    graph = Graph()
    graph.add("Sub", "x target", "error", us=10.0)
    graph.add("Pow", "error wtwo", "squared", us=10.0)
    graph.add("ReduceMean", "squared", "mean", us=10.0)
    graph.add("Sqrt", "mean", "y", us=10.0)

    assert found(Cause.UNFUSED_LAYER_NORM, graph.profile()) is None


def test_a_batch_norm_of_stored_means_is_no_layer_norm() -> None:
    graph = Graph()
    graph.add("Sub", "x wmean", "centred", us=10.0)
    graph.add("Div", "centred wdeviation", "normal", us=10.0)
    graph.add("Mul", "normal wscale", "scaled", us=10.0)
    graph.add("Add", "scaled wbias", "y", us=10.0)

    assert found(Cause.UNFUSED_LAYER_NORM, graph.profile()) is None


def test_gelu_by_erf_is_found_whichever_way_its_factors_stand() -> None:
    last, first = Graph(), Graph()
    for graph in (last, first):
        graph.add("Div", "x wroot", "argument", us=10.0)
        graph.add("Erf", "argument", "erf", us=30.0)
        graph.add("Add", "erf wone", "plus", us=10.0)
    last.add("Mul", "x plus", "product", us=10.0)
    last.add("Mul", "product whalf", "y", us=10.0)
    first.add("Mul", "x whalf", "half", us=10.0)
    first.add("Mul", "half plus", "y", us=10.0)

    for graph in (last, first):
        diagnosis = found(Cause.UNFUSED_GELU, graph.profile())
        assert diagnosis is not None
        assert len(diagnosis.nodes) == 5
        assert diagnosis.gain_ns == pytest.approx(40 * US)


def gelu_by_tanh() -> Graph:
    graph = Graph()
    graph.add("Pow", "x wthree", "cube", us=10.0)
    graph.add("Mul", "cube wsmall", "part", us=10.0)
    graph.add("Add", "x part", "sum", us=10.0)
    graph.add("Mul", "sum wroot", "argument", us=10.0)
    graph.add("Tanh", "argument", "tanh", us=30.0)
    graph.add("Add", "tanh wone", "plus", us=10.0)
    graph.add("Mul", "x plus", "product", us=10.0)
    graph.add("Mul", "product whalf", "y", us=10.0)
    return graph


def test_gelu_by_tanh_is_found_without_what_comes_before_it() -> None:
    graph = Graph()
    graph.add("MatMul", "input w0", "product0", us=50.0)
    graph.add("Add", "product0 wbias", "x", us=10.0)
    graph.nodes += gelu_by_tanh().nodes

    diagnosis = found(Cause.UNFUSED_GELU, graph.profile())

    assert diagnosis is not None
    assert len(diagnosis.nodes) == 8
    assert diagnosis.gain_ns == pytest.approx(70 * US)


def test_an_erf_and_a_tanh_that_scale_nothing_are_no_gelu() -> None:
    graph = Graph()
    graph.add("Div", "x wroot", "argument", us=10.0)
    graph.add("Erf", "argument", "erf", us=30.0)
    graph.add("Add", "erf wone", "plus", us=10.0)
    graph.add("Mul", "plus whalf", "distribution", us=10.0)
    graph.add("Tanh", "distribution", "tanh", us=30.0)
    graph.add("Mul", "tanh gate", "y", us=10.0)

    assert found(Cause.UNFUSED_GELU, graph.profile()) is None
