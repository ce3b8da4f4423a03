import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from infer_opt.errors import ModelError
from infer_opt.transforms.fusions import detect_heads, fuse, new_fusions, transformer_tools
from infer_opt.transforms.model_files import load, operators


def test_an_attention_block_is_fused_and_gives_the_same_numbers(
    attention: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    fuse(attention, tmp_path / "fused.onnx", model_type="bert")

    found = operators(load(tmp_path / "fused.onnx"))
    assert found["Attention"] == 1
    assert found["LayerNormalization"] + found["SkipLayerNormalization"] == 2
    assert found["BiasGelu"] == 1
    feeds = {"x": random.standard_normal((2, 6, 32)).astype(np.float32)}
    np.testing.assert_allclose(run(tmp_path / "fused.onnx", feeds)[0], run(attention, feeds)[0], rtol=1e-4, atol=1e-5)


def test_no_match_is_no_artefact(perceptron: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no bert fusion matched"):
        fuse(perceptron, tmp_path / "fused.onnx", model_type="bert")
    assert not (tmp_path / "fused.onnx").exists()


def test_a_layer_norm_that_was_there_before_is_no_fusion() -> None:
    before = Counter({"LayerNormalization": 2, "MatMul": 3})

    assert new_fusions(before, before) == {}
    assert new_fusions(before, Counter({"SkipLayerNormalization": 2, "MatMul": 3})) == {"SkipLayerNormalization": 2}


def test_a_layer_norm_without_bias_and_epsilon_fuses_to_the_same_numbers(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    source = zoo.save(zoo.attention_block(), tmp_path / "given.onnx")
    feeds = {
        "input_ids": np.arange(8, dtype=np.int64).reshape(1, 8),
        "attention_mask": np.ones((1, 8), dtype=np.int64),
    }

    fuse(source, tmp_path / "fused.onnx", model_type="bert")

    assert operators(load(tmp_path / "fused.onnx"))["SkipLayerNormalization"] == 1
    # The fused kernel's default epsilon, 1e-12 for 1e-5, would show at 1e-3.
    np.testing.assert_allclose(run(tmp_path / "fused.onnx", feeds)[0], run(source, feeds)[0], rtol=1e-5, atol=1e-5)


def test_heads_are_counted_by_the_reshape_that_splits_them(attention: Path, perceptron: Path) -> None:
    assert detect_heads(load(attention)) == (4, 32)
    assert detect_heads(load(perceptron)) == (0, 0)


def test_an_unknown_type_is_an_error_that_lists_the_known_ones(attention: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model type") as caught:
        fuse(attention, tmp_path / "fused.onnx", model_type="birt")
    assert "bert" in str(caught.value.hint)


def test_the_scripts_leave_the_import_path_as_it_was() -> None:
    before = list(sys.path)

    with transformer_tools():
        assert sys.path != before

    assert sys.path == before


def test_fusing_needs_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from infer_opt.transforms.fusions import transformer_tools\n"
        "with transformer_tools():\n    import onnxruntime.transformers.optimizer\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
