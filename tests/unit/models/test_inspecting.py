import hashlib
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import zoo
import zoo_refused
from infer_opt.errors import ModelError
from infer_opt.facts import ModelFacts
from infer_opt.models.inspecting import inspect


@pytest.fixture
def facts_of(tmp_path: Path) -> Callable[[onnx.ModelProto], ModelFacts]:
    return lambda model: inspect(zoo.save(model, tmp_path / "model.onnx"))


def refusal(path: Path) -> str:
    """What the user reads: one sentence, and always a hint."""
    with pytest.raises(ModelError) as caught:
        inspect(path)
    assert "\n" not in caught.value.what
    assert caught.value.hint
    return caught.value.what


def test_every_field_of_a_small_network_is_filled(tmp_path: Path) -> None:
    path = zoo.save(zoo.mlp(), tmp_path / "mlp.onnx")

    facts = inspect(path)

    assert [str(spec) for spec in facts.inputs] == ["x: float32[batch, 8]"]
    assert [str(spec) for spec in facts.outputs] == ["scores: float32[batch, 3]"]
    assert facts.path == str(path)
    assert facts.content_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.size_bytes == path.stat().st_size
    assert facts.weight_bytes == 4 * (8 * 16 + 16 + 16 * 3 + 3)
    assert (facts.ir_version, facts.opset) == (zoo.IR_VERSION, zoo.OPSET)
    assert facts.operators == (("Gemm", 2), ("Relu", 1))
    assert (facts.batch_dim, facts.dynamic_dims, facts.external_files) == ("batch", (), ())
    assert not facts.has_control_flow
    assert not facts.has_ml_operators


def test_initialisers_listed_as_inputs_are_not_inputs(facts_of: Callable[[onnx.ModelProto], ModelFacts]) -> None:
    facts = facts_of(zoo.ir_3())

    assert [spec.name for spec in facts.inputs] == ["x"]
    assert facts.ir_version == 3


def test_the_vocabulary_of_token_ids_is_the_embedding_table(
    facts_of: Callable[[onnx.ModelProto], ModelFacts],
) -> None:
    facts = facts_of(zoo.attention_block())

    assert facts.vocabularies == (("input_ids", zoo.VOCABULARY),)
    assert facts.dynamic_dims == ("seq",)


def test_a_vocabulary_is_found_through_casts_reshapes_and_a_quantised_table(
    facts_of: Callable[[onnx.ModelProto], ModelFacts],
) -> None:
    model = zoo.build(
        [
            helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["wide", "flat"], ["row"]),
            helper.make_node("Unsqueeze", ["row", "axis"], ["column"]),
            helper.make_node("DequantizeLinear", ["stored", "scale"], ["table"]),
            helper.make_node("Gather", ["table", "column"], ["y"]),
            helper.make_node("Gather", ["small", "wide"], ["z"]),
        ],
        [zoo.tensor("ids", TensorProto.INT32, ["batch", 2]), zoo.tensor("other", TensorProto.INT32, ["batch"])],
        [zoo.floats("y", None, None, 3), zoo.floats("z", None, None, 3)],
        initialisers=[
            zoo.constant("flat", [-1], "int64"),
            zoo.constant("axis", [0], "int64"),
            zoo.constant("stored", np.ones((9, 3)), "int8"),
            zoo.constant("scale", 0.1),
            zoo.constant("small", np.ones((5, 3))),
        ],
    )

    assert facts_of(model).vocabularies == (("ids", 5),)


def test_what_is_inside_branches_loops_and_functions_is_counted(
    facts_of: Callable[[onnx.ModelProto], ModelFacts],
) -> None:
    branching, looping, function = (facts_of(b()) for b in (zoo.branching, zoo.looping, zoo.local_function))

    assert branching.has_control_flow
    assert looping.has_control_flow
    assert not function.has_control_flow
    assert {"Mul", "Neg"} <= set(dict(branching.operators))
    assert dict(function.operators) == {"zoo.functions.Swish": 1, "Sigmoid": 1, "Mul": 1}
    assert branching.weight_bytes == 8  # one scalar outside, one in a branch


def test_operators_of_scikit_learn_models_are_named_with_their_domain(
    facts_of: Callable[[onnx.ModelProto], ModelFacts],
) -> None:
    facts = facts_of(zoo.zipmap_classifier())

    assert facts.has_ml_operators
    assert dict(facts.operators) == {"ai.onnx.ml.LinearClassifier": 1, "ai.onnx.ml.ZipMap": 1}
    assert facts.outputs[1].dtype == "sequence(map(int64, float32))"
    assert facts.outputs[1].shape is None


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.BFLOAT16, "bfloat16"),
        (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn"),
        (TensorProto.INT4, "int4"),
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.BOOL, "bool"),
    ],
)
def test_element_types_have_their_numpy_names(
    facts_of: Callable[[onnx.ModelProto], ModelFacts], kind: int, dtype: str
) -> None:
    assert facts_of(zoo.exotic_input(kind)).inputs[0].dtype == dtype


def test_strings_are_called_str(facts_of: Callable[[onnx.ModelProto], ModelFacts]) -> None:
    assert facts_of(zoo.string_net()).inputs[0].dtype == "str"


def test_an_input_without_a_rank_is_known_as_such(facts_of: Callable[[onnx.ModelProto], ModelFacts]) -> None:
    assert facts_of(zoo.unknown_rank()).inputs[0].shape is None


def test_sizes_of_minus_one_and_question_marks_mean_any_size(
    facts_of: Callable[[onnx.ModelProto], ModelFacts],
) -> None:
    assert facts_of(zoo.mlp(batch=-1)).inputs[0].shape == (None, 8)
    assert facts_of(zoo.mlp(batch="?")).batch_dim == ""


def test_external_data_counts_into_size_and_hash_but_is_not_loaded(tmp_path: Path) -> None:
    model = zoo.mlp()
    path = zoo.save_external(model, tmp_path / "model.onnx")
    before = inspect(path)
    data = tmp_path / "weights.bin"

    assert before.external_files == ("weights.bin",)
    assert before.size_bytes == path.stat().st_size + data.stat().st_size
    assert before.content_hash == hashlib.sha256(path.read_bytes() + data.read_bytes()).hexdigest()
    assert before.weight_bytes == inspect(zoo.save(model, tmp_path / "inside.onnx")).weight_bytes

    data.write_bytes(bytes(reversed(data.read_bytes())))
    assert inspect(path).content_hash != before.content_hash


def test_external_data_is_streamed_not_held_in_memory(tmp_path: Path) -> None:
    path = zoo.save_external(zoo.mlp(), tmp_path / "model.onnx")
    os.truncate(tmp_path / "weights.bin", 64 << 20)

    tracemalloc.start()
    facts = inspect(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert facts.size_bytes > 64 << 20
    assert peak_bytes < 16 << 20


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"just some text, nothing more", "is not an ONNX file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"PK\x03\x04 and so on", "zip archive"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x08\x08", "cut off"),
        (np.random.default_rng(0).bytes(500), "is not an ONNX file"),
    ],
)
def test_a_file_that_is_no_model_is_named_as_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    assert said in refusal(path)


def test_a_truncated_model_is_said_to_be_cut_off(tmp_path: Path) -> None:
    path = zoo.save(zoo.mlp(), tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:-40])

    assert "cut off or damaged" in refusal(path)


def test_a_missing_file_a_directory_and_a_pipe_are_refused(tmp_path: Path) -> None:
    zoo.save(zoo.mlp(), tmp_path / "inner.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")

    assert "there is no model file" in refusal(tmp_path / "absent.onnx")
    assert "is a directory" in refusal(tmp_path)
    assert "not a regular file" in refusal(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError) as caught:
        inspect(tmp_path)
    assert "inner.onnx" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("builder", "said"),
    [
        (zoo_refused.broken_graph, "'nowhere'"),
        (zoo_refused.custom_operator, "custom-operator library for com.example.Frobnicate"),
        (zoo_refused.unknown_operator, "'Frobnicate', which opset 17 does not know"),
        (zoo_refused.too_new_operator, "Gelu came with opset 20"),
        (zoo_refused.removed_operator, "Upsample no longer exists in opset 17"),
        (zoo_refused.opset_6, "uses opset 6; the oldest that can run is 7"),
        (zoo_refused.no_inputs, "has no inputs"),
        (zoo_refused.huge_input, "takes 16 GiB"),
        (zoo_refused.sequence_input, "sequence(float32), and only tensors can be fed"),
        (zoo_refused.optional_input, "optional(float32), and only tensors can be fed"),
    ],
)
def test_a_model_that_cannot_be_tuned_is_refused_for_the_right_reason(
    tmp_path: Path, builder: Callable[[], onnx.ModelProto], said: str
) -> None:
    assert said in refusal(zoo.save(builder(), tmp_path / "model.onnx"))


def test_a_model_of_the_future_is_refused(tmp_path: Path) -> None:
    model = zoo.mlp()
    model.opset_import[0].version = 999

    assert "opset 999, newer than" in refusal(zoo.save(model, tmp_path / "model.onnx"))


def test_a_tensor_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path: Path) -> None:
    model = zoo.mlp(width=512)
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]

    assert "'w1' of shape [8, 512] holds 16380 bytes instead of 16384" in refusal(
        zoo.save(model, tmp_path / "model.onnx")
    )


@pytest.mark.parametrize("builder", [zoo.runtime_operator, zoo.local_function])
def test_operators_that_the_runtime_or_the_file_defines_need_no_library(
    facts_of: Callable[[onnx.ModelProto], ModelFacts], builder: Callable[[], onnx.ModelProto]
) -> None:
    assert facts_of(builder()).operators


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = zoo.save_external(zoo.mlp(), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").unlink()

    assert "external data 'weights.bin'" in refusal(path)
    assert "is missing" in refusal(path)


def test_external_data_that_was_cut_off_is_noticed(tmp_path: Path) -> None:
    path = zoo.save_external(zoo.mlp(), tmp_path / "model.onnx")
    os.truncate(tmp_path / "weights.bin", 100)

    assert "is too short for the tensor 'w1'" in refusal(path)


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "{folder}/secret.bin", "C:\\secret.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    folder = tmp_path / "model"
    folder.mkdir()
    model = zoo.mlp()
    zoo.point_outside(model.graph.initializer[0], location.format(folder=tmp_path))

    assert "outside the model's folder: refused" in refusal(zoo.save(model, folder / "model.onnx"))


def test_a_link_that_leads_outside_the_folder_is_refused_and_one_inside_is_followed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = zoo.save_external(zoo.mlp(), folder / "model.onnx")
    data = folder / "weights.bin"

    data.rename(folder / "real.bin")
    data.symlink_to(folder / "real.bin")
    assert inspect(path).external_files == ("weights.bin",)

    shutil.move(folder / "real.bin", tmp_path / "real.bin")
    data.unlink()
    data.symlink_to(tmp_path / "real.bin")
    assert "outside the model's folder: refused" in refusal(path)


def test_a_cache_that_links_model_and_data_to_one_folder_is_read(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    zoo.save_external(zoo.mlp(), blobs / "0a1b", location="weights.bin")
    (snapshot / "model.onnx").symlink_to(blobs / "0a1b")
    (snapshot / "weights.bin").symlink_to(blobs / "weights.bin")

    assert inspect(snapshot / "model.onnx").external_files == ("weights.bin",)


def test_no_damage_to_a_file_ends_in_anything_but_an_answer_or_a_sentence(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    refused = 0
    for builder in (zoo.mlp, zoo.branching, zoo.zipmap_classifier, zoo.local_function, zoo.ir_3):
        whole = builder().SerializeToString()
        for _ in range(60):
            content = bytearray(whole)
            for place in generator.integers(len(content), size=2):
                content[place] = generator.integers(256)
            path.write_bytes(content)
            try:
                inspect(path)
            except ModelError as error:
                refused += 1
                assert "\n" not in error.what
    assert refused > 100
