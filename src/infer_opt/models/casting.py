"""Which arrays may stand for an input of another element type."""

import numpy as np

from infer_opt.models.tensors import numpy_dtype
from infer_opt.protocols import Array

_RANKS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def cast_to(array: Array, dtype: str) -> Array | None:
    """`array` as the model wants it, or None where that would change what it says.

    Between floating types values are rounded as the model would round them, but must not overflow. Booleans and
    integers become other integers or floats only if every value survives. Text becomes strings. Floats never become
    integers, nor numbers truth values.
    """
    target = numpy_dtype(dtype)
    if array.dtype == target and array.dtype != object:
        return array
    if dtype == "str":
        return array.astype(object) if array.dtype.kind == "U" else None
    if array.dtype.kind not in _RANKS or _rank(dtype) < _RANKS[array.dtype.kind]:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(target)
        if array.dtype.kind in "fc":
            return None if np.any(np.isfinite(array) & ~np.isfinite(cast.astype(array.dtype))) else cast
        return cast if np.array_equal(cast.astype(array.dtype), array) else None


def _rank(dtype: str) -> int:
    if dtype == "bool":
        return 0
    if "int" in dtype:
        return 1
    return 3 if dtype.startswith("complex") else 2
