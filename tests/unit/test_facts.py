import pytest

from infer_opt.facts import TensorSpec


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (TensorSpec(name="x", dtype="float32", shape=("batch", 3, None)), "x: float32[batch, 3, ?]"),
        (TensorSpec(name="s", dtype="int64", shape=()), "s: int64[]"),
        (TensorSpec(name="y", dtype="bool", shape=None), "y: bool[unknown rank]"),
    ],
)
def test_a_signature_reads_as_people_write_it(spec: TensorSpec, text: str) -> None:
    assert str(spec) == text
