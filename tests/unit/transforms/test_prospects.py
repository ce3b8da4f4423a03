import pytest

from infer_opt.transforms.prospects import fusable_types, quantisable, smoothable

BERT = {"MatMul": 12, "Softmax": 2, "Erf": 2, "LayerNormalization": 4, "Add": 20}


def test_only_what_has_integer_kernels_is_worth_quantising() -> None:
    assert quantisable({"LSTM": 1, "Gemm": 2, "Softmax": 1}) == {"LSTM", "Gemm"}
    assert quantisable({"LSTM": 1, "Softmax": 1}, kind="static") == frozenset()
    assert quantisable({"Conv": 3, "MatMul": 0}, kind="static") == {"Conv"}
    assert quantisable({"TreeEnsembleClassifier": 1}) == frozenset()


@pytest.mark.parametrize(
    ("operators", "types"),
    [
        (BERT, ("bert",)),
        (BERT | {"Where": 2}, ("gpt2", "bert")),
        (BERT | {"Conv": 1}, ("vit",)),
        ({"MatMul": 2, "Erf": 1, "ReduceMean": 2, "Sqrt": 1}, ("bert",)),
        ({"Conv": 50, "Relu": 49, "Softmax": 1, "Gemm": 1}, ()),
        ({"MatMul": 3, "Relu": 2, "Softmax": 1}, ()),
    ],
    ids=["encoder", "decoder", "vision", "mixer", "convolutions", "classifier"],
)
def test_transformer_fusions_are_tried_where_they_could_match(
    operators: dict[str, int], types: tuple[str, ...]
) -> None:
    assert fusable_types(operators) == types


@pytest.mark.parametrize(
    ("operators", "can_be"),
    [
        ({"LayerNormalization": 2, "MatMul": 6}, True),
        ({"ReduceMean": 2, "Sqrt": 2, "Gemm": 6}, True),
        ({"LayerNormalization": 2, "LSTM": 1}, False),
        ({"Gemm": 3, "Relu": 2}, False),
        ({"LayerNormalization": 1, "MatMul": 1, "Conv": 20}, False),
    ],
)
def test_transformers_are_smoothed_and_nothing_else(operators: dict[str, int], can_be: bool) -> None:
    assert smoothable(operators) is can_be
