"""Train the small models again and write them, their held-out inputs and the manifest into models/.

Run from the repository's root: `python -m scripts.build_models`. Takes minutes and needs the `train` extra. Everything
is seeded; the bits of the weights still depend on numpy's BLAS, so a rebuild on another machine changes the hashes.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
from scripts.small_models import digits, policy, sequence
from scripts.small_models.learning import OPSET

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
sys.path.insert(0, str(MODELS))

import evals  # noqa: E402  (models/ is not a package: users point --eval at the file)

SEED = 20_261_124
UCI = {
    "kind": "real",
    "source": "sklearn.datasets.load_digits: the test set of Optical Recognition of Handwritten Digits, UCI "
    "Machine Learning Repository (Alpaydin & Kaynak 1998, doi:10.24432/C50P49)",
    "licence": "CC BY 4.0",
    "split": "seeded permutation; 1437 images train, 360 are held out and shipped",
}
SIMULATED = {
    "kind": "generated",
    "source": "cart-pole equations (Barto, Sutton & Anderson 1983) integrated by scripts/small_models/policy.py; "
    "labels are the force of the discrete-time LQR, rounded to the nearest of five",
    "licence": "Apache-2.0, as this repository",
    "split": "400 episodes train; 2000 observations of 40 other episodes are held out and shipped",
}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def measured(model: Path, metric: Callable[[Any], float]) -> float:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return metric(lambda feeds: dict(zip(names, session.run(names, feeds), strict=True)))


def entry(name: str, *, made_by: str, data: dict[str, str], metric: str, dims: dict[str, str]) -> dict[str, Any]:
    """What the manifest says about one model."""
    model, inputs = MODELS / f"{name}.onnx", MODELS / f"{name}.npz"
    return {
        "model": {"file": model.name, "sha256": digest(model), "bytes": model.stat().st_size},
        "inputs": {"file": inputs.name, "sha256": digest(inputs), "bytes": inputs.stat().st_size},
        "made_by": made_by,
        "seed": SEED,
        "data": data,
        "opset": OPSET,
        "dims": dims,
        "metric": {"eval": f"models/evals.py:{metric}", "value": round(measured(model, getattr(evals, metric)), 6)},
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    started = time.monotonic()
    balanced = policy.build(MODELS, SEED)
    sequence.build(MODELS, SEED)
    digits.build(MODELS, SEED)
    manifest = {
        "digits_cnn": entry(
            "digits_cnn",
            made_by="scripts/build_models.py, scripts.small_models.digits.build",
            data=UCI,
            metric="digits_accuracy",
            dims={"batch": "images"},
        ),
        "policy_mlp": entry(
            "policy_mlp",
            made_by="scripts/build_models.py, scripts.small_models.policy.build",
            data=SIMULATED,
            metric="policy_accuracy",
            dims={"batch": "observations"},
        )
        | {"closed_loop": balanced},
        "sequence_lstm": entry(
            "sequence_lstm",
            made_by="scripts/build_models.py, scripts.small_models.sequence.build",
            data=UCI,
            metric="sequence_accuracy",
            dims={"batch": "sequences", "seq": "steps of 2 pixels; 32 read one image"},
        ),
    }
    (MODELS / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for name, described in manifest.items():
        print(f"{name}: {described['metric']['value']:.4f}, {described['model']['bytes']:,} bytes")
    print(f"closed loop: {balanced}; {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
