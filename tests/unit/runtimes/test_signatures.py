from typing import Any

import numpy as np
import pytest

from infer_opt.errors import ModelError
from infer_opt.facts import TensorSpec
from infer_opt.runtimes.signatures import require_fit, signature

WANTED = signature(
    [
        TensorSpec(name="x", dtype="float32", shape=("batch", 4)),
        TensorSpec(name="any", dtype="int64", shape=None),
    ]
)
X, ANY = np.zeros((3, 4), np.float32), np.zeros((2, 2, 2), np.int64)


def test_free_dimensions_take_every_size_and_an_unknown_rank_every_shape() -> None:
    require_fit({"any": ANY, "x": X}, WANTED)
    require_fit({"x": X[:1], "any": np.zeros((), np.int64)}, WANTED)


@pytest.mark.parametrize(
    ("feeds", "part"),
    [
        ({}, "the inputs are x, any; given were none"),
        ({"x": X}, "given were x"),
        ({"x": X, "any": ANY, "z": X}, "given were x, any, z"),
        ({"x": X.astype(np.float64), "any": ANY}, "input x takes an array of float32, got one of float64"),
        ({"x": [0.0], "any": ANY}, "input x takes an array of float32, got list"),
        ({"x": X[:, :3], "any": ANY}, r"input x has shape \['batch', 4\], got \[3, 3\]"),
        ({"x": X[0], "any": ANY}, r"input x has shape \['batch', 4\], got \[4\]"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(feeds: dict[str, Any], part: str) -> None:
    with pytest.raises(ModelError, match=part):
        require_fit(feeds, WANTED)
