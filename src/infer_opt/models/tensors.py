"""What ONNX calls an element type, in numpy's words, and how much room it takes."""

import functools
import math
from typing import Any

import numpy as np
import onnx

# Types below a byte are packed in files; host arrays hold one element a byte.
_PACKED_BITS = {
    "int4": 4,
    "uint4": 4,
    "float4_e2m1fn": 4,
    "int2": 2,
    "uint2": 2,
    "float6_e2m3fn": 6,
    "float6_e3m2fn": 6,
}


@functools.cache
def _dtypes() -> dict[int, "np.dtype[Any]"]:
    known = (kind for kind in onnx.TensorProto.DataType.values() if kind != onnx.TensorProto.UNDEFINED)
    return {kind: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)) for kind in known}


def dtype_name(elem_type: int) -> str:
    """numpy's name of an element type; `str` for strings, `unknown` where this release of onnx knows none."""
    if elem_type == onnx.TensorProto.STRING:
        return "str"
    return _dtypes()[elem_type].name if elem_type in _dtypes() else "unknown"


def numpy_dtype(name: str) -> "np.dtype[Any]":
    """The dtype of host arrays for a `TensorSpec.dtype`; strings are object arrays, as ONNX Runtime wants them.

    Raises:
        TypeError: there is no such dtype.
    """
    if name == "str":
        return np.dtype(object)
    # bfloat16, float8 and int4 belong to ml_dtypes, which numpy knows by object but not always by name.
    return next((dtype for dtype in _dtypes().values() if dtype.name == name), None) or np.dtype(name)


def stored_bytes(tensor: onnx.TensorProto) -> int:
    """How many bytes the tensor's elements take in a file. Strings count their own lengths."""
    name = dtype_name(tensor.data_type)
    if name == "str":
        return sum(len(text) for text in tensor.string_data)
    if name == "unknown":
        return 0
    elements = math.prod(int(size) for size in tensor.dims)
    return (elements * _PACKED_BITS.get(name, 8 * numpy_dtype(name).itemsize) + 7) // 8
