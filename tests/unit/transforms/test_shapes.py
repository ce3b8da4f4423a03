from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ValueInfoProto, load_model

import zoo
from infer_opt.config import Workload
from infer_opt.errors import ModelError
from infer_opt.transforms.shapes import fix_shapes


def shape(value: ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


def fixed(model: Any, tmp_path: Path, *, batch: int, **sizes: int) -> Any:
    source = zoo.save(model, tmp_path / "given.onnx")
    fix_shapes(source, tmp_path / "fixed.onnx", workload=Workload(dims=tuple(sizes.items())), batch=batch)
    return load_model(tmp_path / "fixed.onnx")


def test_batch_and_named_dimensions_become_numbers_everywhere(tmp_path: Path) -> None:
    model = fixed(zoo.attention_block(), tmp_path, batch=2, seq=5)

    assert [shape(value) for value in model.graph.input] == [[2, 5], [2, 5]]
    assert [shape(value) for value in model.graph.output] == [[2, 5, 16]]


def test_the_batch_is_found_behind_the_time(tmp_path: Path) -> None:
    model = fixed(zoo.time_major(), tmp_path, batch=2, time=7)

    assert shape(model.graph.input[0]) == [7, 2, 3]
    assert shape(model.graph.output[0]) == [2, 3]


def test_a_dimension_without_a_name_is_called_by_input_and_axis(tmp_path: Path) -> None:
    model = fixed(zoo.unnamed_dims(), tmp_path, batch=3, **{"ids:1": 9})

    assert shape(model.graph.input[0]) == [3, 9]
    assert shape(model.graph.output[0]) == [3, 9, 4]


def test_a_dimension_nobody_sized_stays_dynamic(tmp_path: Path) -> None:
    model = fixed(zoo.attention_block(), tmp_path, batch=2)

    assert [shape(value) for value in model.graph.input] == [[2, "seq"], [2, "seq"]]


def test_fixed_shapes_give_the_same_numbers(
    attention: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    fix_shapes(attention, tmp_path / "fixed.onnx", workload=Workload(dims=(("tokens", 6),)), batch=2)

    feeds = {"x": random.standard_normal((2, 6, 32)).astype(np.float32)}
    np.testing.assert_allclose(run(tmp_path / "fixed.onnx", feeds)[0], run(attention, feeds)[0], rtol=1e-5, atol=1e-6)


def test_a_model_of_fixed_shape_is_not_offered_twice(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no dynamic dimension"):
        fixed(zoo.fixed_batch(), tmp_path, batch=4)
