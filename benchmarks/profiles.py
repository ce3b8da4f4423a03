"""Profiles of two real models: do the times of nodes add up to the latency, and how far is either from its floor?

`infer-opt profile` runs on MiniLM (64 tokens) and ResNet-50 (224 x 224), both from models/large
(`python -m scripts.build_large_models all`), with their real inputs, as a user would run it. The promise: nodes add up
to the latency within 5 %, or the profile says why they do not. Nothing else should run on the machine meanwhile.
Pages and documents of the profiles lie in build/profiles afterwards; docs/pictures/profile_*.png are drawn from them.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.record import Target

from infer_opt.profiles.documents import from_document
from infer_opt.profiles.profile import Profile
from infer_opt.roofline.floors import faster_than_possible

NAME = "profiles"
MODELS = ("minilm", "resnet50")
LARGE = Path("models") / "large"  # as seen from the repository's root
FOLDER = record.ROOT / "build" / NAME
CLOSE = 0.05  # of the latency: what the nodes' sum may differ by without a word


def profiled(name: str, budget: str) -> Profile:
    """The profile of a model as the command gives it."""
    model = LARGE / f"{name}.onnx"
    words = [sys.executable, "-m", "infer_opt", "profile", str(model), "--inputs", str(LARGE / f"{name}.npz")]
    words += ["--budget", budget, "--format", "json", "--report", str(FOLDER / f"{name}.html")]
    done = subprocess.run(words, cwd=record.ROOT, stdout=subprocess.PIPE, check=True, text=True)
    (FOLDER / f"{name}.json").write_text(done.stdout)
    return from_document(json.loads(done.stdout))


def figures(found: Profile) -> dict[str, Any]:
    """What is published of a profile; times in ns."""
    call, floors = found.call, found.roofline
    return {
        "latency_ns": call.latency,
        "nodes_ns": call.nodes_ns,
        "first_ns": call.first_ns,
        "open_ns": call.open_ns,
        "unaccounted": call.unaccounted,
        "processes": found.processes,
        "nodes": len(found.nodes),
        "floor_ns": None if floors is None else floors.floor_ns,
        "times_the_floor": None if floors is None else call.latency.value / floors.floor_ns,
        "counted_share": None if floors is None else floors.counted_share,
        "faster_than_their_floors": None if floors is None else faster_than_possible(found.nodes, floors),
        "diagnoses": [{"cause": one.cause, "gain_ns": one.gain_ns} for one in found.diagnoses],
        "cautions": [note.caution for note in found.notes],
    }


def targets(name: str, found: Profile) -> list[Target]:
    """The nodes' sum against the latency, unless the profile says why; and no node faster than its floor."""
    gap = 0.0 if found.call.unaccounted else abs(found.call.nodes_ns / found.call.latency.value - 1)
    promises = [
        Target(name=f"{name}: nodes' sum beside the latency, unexplained", unit="of it", measured=gap, at_most=CLOSE)
    ]
    if found.roofline is not None:
        faster = len(faster_than_possible(found.nodes, found.roofline))
        promises.append(
            Target(name=f"{name}: nodes faster than their floors", unit="nodes", measured=float(faster), at_most=0.0)
        )
    return promises


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--budget", default="150s", help="of each profile (default 150s)")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = {name: profiled(name, options.budget) for name in MODELS}
    kept = [target for name, one in found.items() for target in targets(name, one)]
    results = {name: figures(one) for name, one in found.items()}
    ceilings = next((one.roofline.ceilings for one in found.values() if one.roofline is not None), None)
    samples = {f"latency by process, ns, {name}": one.call.latency_raw_ns for name, one in found.items()}
    begun.write(
        options.result, method=__doc__ or "", targets=kept, results=results | {"ceilings": ceilings}, samples=samples
    )
    rows = [
        [name, one["latency_ns"].value / 1e6, one["nodes_ns"] / 1e6, one["times_the_floor"], one["processes"]]
        for name, one in results.items()
    ]
    return record.report(["model", "latency, ms", "nodes, ms", "x floor", "processes"], rows, kept, options.result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
