"""ResNet-50 and other image classifiers from the onnx package's test data, and crops of real photographs.

The package strips the weights: every tensor is one constant (`ConstantOfShape`). `zoo` keeps the files as they are, for
they are what a tool meets in the wild. `resnet50` gives the same architecture weights of a realistic spread.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from scripts.large_models import downloads
from scripts.small_models.learning import IR_VERSION, OPSET, Array

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
ZOO = ("resnet50", "squeezenet", "densenet121", "shufflenet", "inception_v1", "inception_v2")
CROPS = 8
PHOTOS = (
    "real: 16 crops of 224x224 of scikit-learn's china.jpg and flower.jpg (CC BY 2.0), scaled with ImageNet's mean and "
    "spread"
)


def photographs(rng: np.random.Generator) -> Array:
    """(16, 3, 224, 224) float32: eight crops of each of scikit-learn's two photographs, half of them mirrored."""
    downloads.need("pillow")
    from sklearn.datasets import load_sample_image

    mean, spread = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    crops = []
    for name in ("china.jpg", "flower.jpg"):
        photo = (load_sample_image(name) / 255 - mean) / spread
        for index in range(CROPS):
            top, left = (rng.integers(0, size - 224 + 1) for size in photo.shape[:2])
            crop = photo[top : top + 224, left : left + 224]
            crops.append(crop[:, ::-1] if index % 2 else crop)
    return np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32)


def zoo(folder: Path, *, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """`light_*.onnx`, byte for byte, each with an npz; name and manifest entry of each."""
    photos = photographs(np.random.default_rng(seed))
    for name in ZOO:
        path = folder / f"light_{name}.onnx"
        shutil.copyfile(LIGHT / path.name, path)
        graph = onnx.load(path).graph
        (feed,) = {value.name for value in graph.input} - {value.name for value in graph.initializer}
        np.savez(path.with_suffix(".npz"), allow_pickle=False, **{feed: photos})
        yield (
            path.stem,
            {
                "weights": "constant: every weight tensor holds one number, from ConstantOfShape; outputs mean nothing",
                "data": PHOTOS,
                "made_by": f"copied from onnx {onnx.__version__}, backend/test/data/light",
                "opset": 9,
                "dims": {},
            },
        )


def resnet50(folder: Path, *, seed: int) -> dict[str, Any]:
    """`resnet50.onnx` and `resnet50.npz` in `folder`; what the manifest says about them."""
    rng = np.random.default_rng(seed)
    photos = photographs(rng)
    light = onnx.load(LIGHT / "light_resnet50.onnx")
    nodes = [node for node in light.graph.node if node.op_type != "ConstantOfShape"]
    weights = _weights(nodes, light.graph, photos, rng)
    for node in nodes:
        if node.op_type == "Reshape":  # its constant target says one image a call: keep the batch instead
            weights[node.input[1]] = np.array([0, -1], np.int64)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "resnet50",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 1000])],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name in used],
    )
    _rename(graph, {light.graph.input[0].name: "image", light.graph.output[0].name: "probabilities"})
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "resnet50.onnx")
    np.savez(folder / "resnet50.npz", image=photos)
    return {
        "weights": "seeded random: He-normal convolutions; batch-norm statistics taken from the photographs' own "
        "activations; never trained, so the classes mean nothing",
        "data": PHOTOS,
        "made_by": "scripts/build_large_models.py, scripts.large_models.vision.resnet50 (graph of light_resnet50.onnx)",
        "opset": OPSET,
        "dims": {"batch": "images"},
        "different_classes_on_16_images": _classes(folder / "resnet50.onnx", photos),
    }


def _weights(
    nodes: list[onnx.NodeProto], graph: onnx.GraphProto, photos: Array, rng: np.random.Generator
) -> dict[str, Array]:
    """A value for every weight, found by running the network node by node on `photos`.

    With random weights and stock statistics, sixteen residual sums would let activations grow until softmax is 0 or 1.
    """
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    weights = {name: value for name, value in constants.items() if not name.endswith("__SHAPE")}
    values: dict[str, Array] = {graph.input[0].name: photos}
    for node in nodes:
        x = values[node.input[0]]
        if node.op_type == "Reshape":
            values[node.output[0]] = x.reshape(len(x), -1)
            continue
        shapes = [tuple(constants.get(f"{name}__SHAPE", ())) for name in node.input[1:]]
        weights |= dict(zip(node.input[1:], _drawn(node.op_type, shapes, x, rng), strict=False))
        values[node.output[0]] = _run(node, [values[name] if name in values else weights[name] for name in node.input])
    return weights


def _drawn(operator: str, shapes: list[tuple[int, ...]], x: Array, rng: np.random.Generator) -> list[Array]:
    """Weights for one node that sees `x`, in the order of its inputs; none for a node without weights."""
    if operator == "Conv":
        return [_normal(rng, shapes[0], (2 / float(np.prod(shapes[0][1:]))) ** 0.5)]
    if operator == "BatchNormalization":
        size = (x.shape[1],)
        scale = rng.uniform(0.5, 1.0, size).astype(np.float32)
        return [scale, _normal(rng, size, 0.2), x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))]
    if operator == "Gemm":
        # Logits differ by about 3 between the images, and none is far from 0 on average: no class wins by default.
        kernel = _normal(rng, shapes[0], 3 / float(np.sqrt(x.var(axis=0).sum())))
        return [kernel, -(kernel @ x.mean(axis=0))]
    return []


def _normal(rng: np.random.Generator, shape: tuple[int, ...], spread: float) -> Array:
    return np.asarray(rng.standard_normal(shape) * spread, dtype=np.float32)


def _run(node: onnx.NodeProto, inputs: list[Array]) -> Array:
    """One node's first output, by ONNX Runtime."""
    described = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in zip(node.input, inputs, strict=True)
    ]
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", described, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([node.output[0]], dict(zip(node.input, inputs, strict=True)))[0])


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                values[index] = names.get(name, name)


def _classes(model: Path, photos: Array) -> int:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(None, {"image": photos})
    return len(set(probabilities.argmax(axis=1).tolist()))
