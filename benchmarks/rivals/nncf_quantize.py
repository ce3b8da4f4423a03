"""Runs in NNCF's environment: `nncf.quantize` as its documentation shows, from ONNX to OpenVINO's format.

python nncf_quantize.py MODEL.onnx CALIBRATION.npz TARGET.xml [--transformer]
"""

import argparse
from pathlib import Path

import nncf
import numpy as np
import openvino


def feeds(path: Path) -> list[dict[str, np.ndarray]]:
    """Calibration inputs from an npz whose keys are `<index>/<input name>`."""
    found: dict[int, dict[str, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            index, _, name = key.partition("/")
            found.setdefault(int(index), {})[name] = archive[key]
    return [found[index] for index in sorted(found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("calibration", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--transformer", action="store_true", help="say that the model is a transformer")
    options = parser.parse_args()
    model = openvino.Core().read_model(options.model)
    dataset = nncf.Dataset(feeds(options.calibration), lambda feed: feed)
    kind = nncf.ModelType.TRANSFORMER if options.transformer else None
    openvino.save_model(nncf.quantize(model, dataset, model_type=kind), options.target)


if __name__ == "__main__":
    main()
