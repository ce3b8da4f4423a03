"""Graph rewriters: what they do to models of every kind, and that nothing to do is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import zoo
from infer_opt.errors import ModelError, UnavailableError
from infer_opt.recipes import Rewriter
from infer_opt.transforms.changes import compare
from infer_opt.transforms.model_files import load, operators
from infer_opt.transforms.rewriting import rewrite

pytest.importorskip("onnxslim")
pytest.importorskip("onnxscript")


@pytest.fixture
def roundabout(tmp_path: Path) -> Path:
    """x (batch, 4) -> y: a shape computed and taken apart, the same product twice, and an Identity."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"], name="same"),
        helper.make_node("MatMul", ["same", "w"], ["left"], name="left"),
        helper.make_node("MatMul", ["same", "w"], ["right"], name="right"),
        helper.make_node("Add", ["one", "one"], ["two"], name="two"),
        helper.make_node("Mul", ["left", "two"], ["doubled"], name="doubled"),
        helper.make_node("Add", ["doubled", "right"], ["y"], name="sum"),
    ]
    model = zoo.build(
        nodes,
        [zoo.floats("x", "batch", 4)],
        [zoo.floats("y", "batch", 3)],
        initialisers=[zoo.weights("w", 4, 3), zoo.constant("one", [1.0])],
    )
    return zoo.save(model, tmp_path / "roundabout.onnx")


@pytest.mark.parametrize("library", Rewriter)
def test_what_does_nothing_goes_and_the_answer_stays(
    library: Rewriter, roundabout: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    target = tmp_path / "rewritten.onnx"

    rewrite(roundabout, target, by=library)

    found = operators(load(target))
    assert found["Identity"] == 0
    assert found.total() < 6
    feeds = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}
    np.testing.assert_allclose(run(target, feeds)[0], run(roundabout, feeds)[0], rtol=1e-6)
    assert {"same", "two"} <= set(compare(load(roundabout), load(target)).nodes_removed)


@pytest.mark.parametrize("library", Rewriter)
@pytest.mark.parametrize("builder", zoo.RUNNABLE.values(), ids=list(zoo.RUNNABLE))
def test_a_rewritten_model_is_whole_or_refused_in_a_sentence(
    builder: Callable[[], onnx.ModelProto], library: Rewriter, tmp_path: Path
) -> None:
    source, target = zoo.save(builder(), tmp_path / "given.onnx"), tmp_path / "rewritten.onnx"

    try:
        rewrite(source, target, by=library)
    except ModelError as error:
        assert str(library) in error.what
        assert not target.exists()
    else:
        given, rewritten = load(source).graph, load(target).graph
        assert [value.name for value in rewritten.output] == [value.name for value in given.output]
        onnx.checker.check_model(load(target))


@pytest.mark.parametrize("library", Rewriter)
def test_a_model_that_needs_no_rewriting_is_refused(library: Rewriter, tmp_path: Path) -> None:
    source = zoo.save(zoo.spiky(), tmp_path / "given.onnx")

    with pytest.raises(ModelError, match=f"{library} changes nothing in given.onnx"):
        rewrite(source, tmp_path / "rewritten.onnx", by=library)


def test_a_transformer_is_fused_into_the_runtimes_operators(
    attention: Path, tmp_path: Path, run: Callable[..., Any], random: np.random.Generator
) -> None:
    target = tmp_path / "rewritten.onnx"

    rewrite(attention, target, by=Rewriter.ONNXSCRIPT)

    feeds = {"x": random.standard_normal((2, 6, 32)).astype(np.float32)}
    np.testing.assert_allclose(run(target, feeds)[0], run(attention, feeds)[0], rtol=1e-3, atol=1e-4)
    assert any(node.domain == "com.microsoft" for node in load(target).graph.node)


def test_a_library_that_fails_is_a_sentence(roundabout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxslim

    def fail(model: object) -> None:
        raise ValueError("no such\npattern")

    monkeypatch.setattr(onnxslim, "slim", fail)

    with pytest.raises(ModelError, match="rewriting by onnxslim failed: no such pattern"):
        rewrite(roundabout, tmp_path / "rewritten.onnx", by=Rewriter.ONNXSLIM)


def test_a_library_that_is_not_installed_is_named_with_its_extra(
    roundabout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxslim", None)

    with pytest.raises(UnavailableError, match="onnxslim cannot be used") as caught:
        rewrite(roundabout, tmp_path / "rewritten.onnx", by=Rewriter.ONNXSLIM)
    assert "infer-opt[graph]" in str(caught.value.hint)
