"""A BERT encoder as ONNX, node by node in the shape that PyTorch's exporter gives it.

The shape matters: ONNX Runtime's fusions (Attention, SkipLayerNormalization, Gelu) match patterns of nodes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from scripts.small_models.learning import IR_VERSION, OPSET, Array


@dataclass(frozen=True, slots=True, kw_only=True)
class BertShape:
    """The sizes of an encoder, as its config.json names them."""

    layers: int
    hidden: int
    heads: int
    epsilon: float


class GraphWriter:
    """Collects nodes and weights; every call gives back the name of what it computes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def weight(self, name: str, value: Array) -> str:
        if name not in self.weights:
            self.weights[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def integers(self, *values: int) -> str:
        return self.weight("shape." + ".".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        return self.weight(f"scalar.{value:g}", np.array(value, np.float32))

    def node(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name


class BertWriter:
    """Writes one encoder from weights under the names that Hugging Face's BertModel gives them."""

    def __init__(self, shape: BertShape, weights: Mapping[str, Array]) -> None:
        self._shape, self._given, self._out = shape, weights, GraphWriter()

    def _linear(self, x: str, prefix: str, name: str) -> str:
        """MatMul and Add, as the exporter writes a Linear of a three-dimensional tensor."""
        weight = self._out.weight(f"{prefix}.weight.T", self._given[f"{prefix}.weight"].T)
        product = self._out.node("MatMul", x, weight, name=f"{name}/MatMul")
        bias = self._out.weight(f"{prefix}.bias", self._given[f"{prefix}.bias"])
        return self._out.node("Add", bias, product, name=f"{name}/Add")

    def _layer_norm(self, x: str, prefix: str, name: str) -> str:
        scale, bias = (
            self._out.weight(f"{prefix}.{part}", self._given[f"{prefix}.{part}"]) for part in ("weight", "bias")
        )
        epsilon = self._shape.epsilon
        return self._out.node("LayerNormalization", x, scale, bias, name=name, axis=-1, epsilon=epsilon)

    def _heads(self, x: str, name: str, order: list[int]) -> str:
        split = self._out.integers(0, 0, self._shape.heads, self._shape.hidden // self._shape.heads)
        shaped = self._out.node("Reshape", x, split, name=f"{name}/Reshape")
        return self._out.node("Transpose", shaped, name=f"{name}/Transpose", perm=order)

    def _embeddings(self) -> str:
        out = self._out
        length = out.node("Shape", "input_ids", name="embeddings/Shape")
        length = out.node("Gather", length, out.weight("index.1", np.array(1, np.int64)), name="embeddings/seq", axis=0)
        length = out.node("Unsqueeze", length, out.integers(0), name="embeddings/end")
        table = out.weight("embeddings.position_ids", self._given["embeddings.position_ids"])
        positions = out.node(
            "Slice", table, out.integers(0), length, out.integers(1), out.integers(1), name="embeddings/positions"
        )
        parts = []
        for kind, ids in (("word", "input_ids"), ("token_type", "token_type_ids"), ("position", positions)):
            key = f"embeddings.{kind}_embeddings.weight"
            parts.append(out.node("Gather", out.weight(key, self._given[key]), ids, name=f"embeddings/{kind}", axis=0))
        total = out.node("Add", parts[0], parts[1], name="embeddings/Add")
        total = out.node("Add", total, parts[2], name="embeddings/Add_1")
        return self._layer_norm(total, "embeddings.LayerNorm", "embeddings/LayerNorm")

    def _mask(self) -> str:
        """0 where a token counts and -10000 where it is padding: (batch, 1, 1, seq)."""
        out = self._out
        mask = out.node("Unsqueeze", "attention_mask", out.integers(1), name="mask/Unsqueeze")
        mask = out.node("Unsqueeze", mask, out.integers(2), name="mask/Unsqueeze_1")
        mask = out.node("Cast", mask, name="mask/Cast", to=TensorProto.FLOAT)
        mask = out.node("Sub", out.scalar(1), mask, name="mask/Sub")
        return out.node("Mul", mask, out.scalar(-10000), name="mask/Mul")

    def _layer(self, x: str, mask: str, index: int) -> str:
        out, prefix, name = self._out, f"encoder.layer.{index}", f"layer.{index}"
        attention = f"{name}/attention"
        query, key, value = (
            self._heads(
                self._linear(x, f"{prefix}.attention.self.{part}", f"{attention}/{part}"), f"{attention}/{part}", order
            )
            for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
        )
        scores = out.node("MatMul", query, key, name=f"{attention}/MatMul")
        scale = out.scalar(math.sqrt(self._shape.hidden // self._shape.heads))
        scores = out.node("Div", scores, scale, name=f"{attention}/Div")
        scores = out.node("Add", scores, mask, name=f"{attention}/Add")
        shares = out.node("Softmax", scores, name=f"{attention}/Softmax", axis=-1)
        mixed = out.node("MatMul", shares, value, name=f"{attention}/MatMul_1")
        mixed = out.node("Transpose", mixed, name=f"{attention}/Transpose", perm=[0, 2, 1, 3])
        mixed = out.node("Reshape", mixed, out.integers(0, 0, self._shape.hidden), name=f"{attention}/Reshape")
        mixed = self._linear(mixed, f"{prefix}.attention.output.dense", f"{attention}/output")
        x = out.node("Add", mixed, x, name=f"{attention}/residual")
        x = self._layer_norm(x, f"{prefix}.attention.output.LayerNorm", f"{attention}/LayerNorm")
        inner = self._gelu(self._linear(x, f"{prefix}.intermediate.dense", f"{name}/intermediate"), f"{name}/gelu")
        inner = self._linear(inner, f"{prefix}.output.dense", f"{name}/output")
        x = out.node("Add", inner, x, name=f"{name}/residual")
        return self._layer_norm(x, f"{prefix}.output.LayerNorm", f"{name}/LayerNorm")

    def _gelu(self, x: str, name: str) -> str:
        """The exact GELU, through erf."""
        out = self._out
        inner = out.node("Div", x, out.scalar(math.sqrt(2)), name=f"{name}/Div")
        inner = out.node("Erf", inner, name=f"{name}/Erf")
        inner = out.node("Add", inner, out.scalar(1), name=f"{name}/Add")
        inner = out.node("Mul", x, inner, name=f"{name}/Mul")
        return out.node("Mul", inner, out.scalar(0.5), name=f"{name}/Mul_1")

    def _pool(self, hidden: str) -> None:
        """The mean over tokens that count, scaled to length 1: the output `sentence_embedding`."""
        out = self._out
        mask = out.node("Unsqueeze", "attention_mask", out.integers(-1), name="pool/Unsqueeze")
        mask = out.node("Cast", mask, name="pool/Cast", to=TensorProto.FLOAT)
        kept = out.node("Mul", hidden, mask, name="pool/Mul")
        total = out.node("ReduceSum", kept, out.integers(1), name="pool/ReduceSum", keepdims=0)
        count = out.node("ReduceSum", mask, out.integers(1), name="pool/count", keepdims=0)
        count = out.node("Clip", count, out.scalar(1e-9), name="pool/Clip")
        mean = out.node("Div", total, count, name="pool/Div")
        length = out.node("ReduceL2", mean, name="pool/ReduceL2", axes=[1], keepdims=1)
        length = out.node("Clip", length, out.scalar(1e-12), name="pool/Clip_1")
        out.node("Div", mean, length, name="sentence_embedding")

    def write(self) -> onnx.ModelProto:
        """Token ids in; `last_hidden_state` (batch, seq, hidden) and `sentence_embedding` (batch, hidden) out."""
        x, mask = self._embeddings(), self._mask()
        for index in range(self._shape.layers):
            x = self._layer(x, mask, index)
        # Renaming the last node's output keeps the graph free of an Identity that would break the last fusion.
        self._out.nodes[-1].output[0] = "last_hidden_state"
        self._pool("last_hidden_state")
        ids = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"])
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ]
        hidden = self._shape.hidden
        outputs = [
            helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "seq", hidden]),
            helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", hidden]),
        ]
        graph = helper.make_graph(self._out.nodes, "minilm", ids, outputs, list(self._out.weights.values()))
        return helper.make_model(
            graph,
            producer_name="infer-opt scripts/build_large_models.py",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
