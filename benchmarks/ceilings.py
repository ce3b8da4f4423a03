"""Whether the ceilings of `infer-opt profile` are what this CPU can do: against a C program and another library.

Ours are measured as a profile does: matrix products by ONNX Runtime and numpy's BLAS, traffic by numpy's loops. Beside
them, in turn and each time in a fresh process: a product in blocks, written in C with intrinsics (`ceilings.c`,
compiled here with cc for the instruction sets that infer-opt sees), and OpenVINO's products, in float32 and in 8 bits;
reading, a dot product, copying and STREAM's triad in C over sets of the same size. Each round takes all of them in
random order. The figure of each is its best round, of a round the best of its ways, of a way the 90 % quantile of its
blocks: a ceiling is the most that was seen, on either side. Ratios are ours over theirs. Like is compared with like, so
that products are held to products, and what instructions do in registers only stands beside them. A product reaches
80 to 95 % of that.

Needs a quiet machine, cc, and the extra `openvino` (left out where it is missing).
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import record
from benchmarks.record import ROOT, Target
from onnx import TensorProto, helper, numpy_helper

from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import InferOptError
from infer_opt.machine.caches import caches
from infer_opt.machine.cpu import isa, usable_cores
from infer_opt.machine.memory import available_bytes
from infer_opt.results import Estimate
from infer_opt.roofline import ceilings, traffic
from infer_opt.roofline.blocks import Effort, rates
from infer_opt.roofline.keeping import Setting
from infer_opt.runtimes import open_runtime
from infer_opt.stats.sustained import sustained

NAME = "ceilings"
SOURCE = Path(__file__).with_suffix(".c")
WITHIN = 0.10
FLAGS = {
    "avx2": ["-mavx2"], "fma": ["-mfma"], "avx512f": ["-mavx512f", "-mprefer-vector-width=512"],
    "avx512_vnni": ["-mavx512vnni"], "avx_vnni": ["-mavxvnni"], "amx_tile": ["-mamx-tile"], "amx_int8": ["-mamx-int8"],
}  # fmt: skip
SIZES = (384, 768, 1152)
# OpenVINO's products in 8 bits take their results back to 8 bits, which weighs less the larger they are.
OPENVINO_SIZES = (*SIZES, 1536, 2304)
MOVING = ("read", "dot", "copy", "triad")
NO_SUCH_INSTRUCTION = 3
OPENVINO_LINKS = 4
G = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to measure one quantity: `is_ours`, or it is what ours is held to; or it `stands_beside` both."""

    quantity: str
    name: str
    command: tuple[str, ...]
    is_ours: bool = False
    stands_beside: bool = False


def compiled(folder: Path) -> Path | None:
    """The C program for this CPU; None without a compiler, or where the CPU has too little for it."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    flags = [flag for name in isa() for flag in FLAGS.get(name, [])]
    program = folder / "ceilings"
    done = subprocess.run(
        [compiler, "-O3", "-Wall", "-pthread", *flags, str(SOURCE), "-o", str(program)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        print(f"the C program does not compile here: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    return program


def ways(program: Path | None, *, threads: int, seconds: float) -> list[Way]:
    """Everything that takes turns."""
    part = (sys.executable, "-m", "benchmarks.ceilings", "--threads", str(threads), "--seconds", str(seconds), "--part")
    found = [
        Way(quantity="float32", name="infer-opt", command=(*part, "float32"), is_ours=True),
        Way(quantity="int8", name="infer-opt", command=(*part, "int8"), is_ours=True),
        Way(quantity="float32", name="OpenVINO", command=(*part, "openvino-float32")),
        Way(quantity="int8", name="OpenVINO", command=(*part, "openvino-int8")),
    ]
    levels = traffic.levels(caches(), threads=threads, available_bytes=available_bytes())
    found += [Way(quantity=one.name, name="infer-opt", command=(*part, one.name), is_ours=True) for one in levels]
    if program is None:
        return found
    run = (str(program),)
    rest = (str(threads), str(seconds))
    for size in SIZES:
        found.append(Way(quantity="float32", name=f"C, product of {size}", command=(*run, "sgemm", *rest, str(size))))
    found.append(Way(quantity="float32", name="C, FMA in registers", command=(*run, "fma", *rest), stands_beside=True))
    found.append(Way(quantity="int8", name="C, VNNI in registers", command=(*run, "vnni", *rest), stands_beside=True))
    found.append(Way(quantity="int8", name="C, AMX in tiles", command=(*run, "amx", *rest), stands_beside=True))
    for level in levels:
        for name in MOVING:
            command = (*run, name, *rest, str(level.set_bytes))
            found.append(Way(quantity=level.name, name=f"C, {name}", command=command))
    return found


def turn(way: Way) -> Estimate | None:
    """What a way keeps up in a process of its own; None where it does not exist here."""
    done = subprocess.run(way.command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode == NO_SUCH_INSTRUCTION:
        return None
    if done.returncode:
        raise SystemExit(f"{' '.join(way.command)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return sustained([float(line) for line in done.stdout.split()])


def part(name: str, *, threads: int, seconds: float) -> list[float]:
    """One quantity of ours or of OpenVINO's, as rates; empty where it does not exist here."""
    if name.startswith("openvino-"):
        return with_openvino(name.removeprefix("openvino-"), threads=threads, seconds=seconds)
    effort = Effort(screen_s=seconds / 4, settle_s=seconds / 2)
    setting = Setting(machine="", provider=str(Provider.CPU), threads=threads, runtime="onnx", version="")
    bench = ceilings.Bench(
        runtime=open_runtime("onnx"), setting=setting, caches=caches(), available_bytes=available_bytes(),
        clock=time.perf_counter_ns, effort=effort,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        products = {"float32": ceilings.float32_candidates, "int8": ceilings.int8_candidates}
        if name in products:
            found = ceilings.fastest(bench, products[name](bench, Path(folder)))
        else:
            levels = traffic.levels(bench.caches, threads=threads, available_bytes=bench.available_bytes)
            found = ceilings.moved_most(bench, next(level for level in levels if level.name == name))
    return [] if found is None else [found.rate.value]


def with_openvino(precision: str, *, threads: int, seconds: float) -> list[float]:
    """Products by oneDNN, as OpenVINO calls it: in 8 bits between a quantisation and its inverse, which it fuses."""
    found: list[float] = []
    for size in OPENVINO_SIZES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "products.onnx"
            path.write_bytes(openvino_model(precision, size))
            try:
                session = open_runtime("openvino").open(path, SessionOptions(intra_threads=threads))
            except InferOptError:
                return []
            feeds = {"x": np.full((size, size), 0.5, np.float32)}
            run = partial(session.run, feeds)
            work = 2.0 * size**3 * OPENVINO_LINKS
            best = sustained(rates(run, work, seconds=seconds, clock=time.perf_counter_ns)).value
            session.close()
            found.append(best)
    return [max(found)]


def openvino_model(precision: str, size: int) -> bytes:
    """A chain of products; in 8 bits each with its factors quantised."""
    generator = np.random.default_rng(0)
    weights = (generator.standard_normal((size, size)) / np.sqrt(size)).astype(np.float32)
    constants: dict[str, Any] = {"zero": np.array([0, 0]), "two": np.array([2, 2])}
    nodes = []
    if precision == "float32":
        constants["w"] = weights
    else:
        constants |= {
            "w8": generator.integers(-127, 128, (size, size), dtype=np.int8), "s": np.array(0.02, np.float32),
            "ws": np.array(0.0005, np.float32), "z": np.array(128, np.uint8), "wz": np.array(0, np.int8),
        }  # fmt: skip
        nodes.append(helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["w"]))
    for number in range(OPENVINO_LINKS):
        before, after = ("x" if number == 0 else f"y{number}"), f"y{number + 1}"
        if precision != "float32":
            nodes.append(helper.make_node("QuantizeLinear", [before, "s", "z"], [f"q{number}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{number}", "s", "z"], [f"d{number}"]))
            before = f"d{number}"
        nodes.append(helper.make_node("MatMul", [before, "w"], [after]))
    nodes.append(helper.make_node("Slice", [f"y{OPENVINO_LINKS}", "zero", "two"], ["y"]))
    graph = helper.make_graph(
        nodes, "products", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])],
        initializer=[numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return model


def compare(found: Mapping[tuple[str, str], Sequence[float]], asked: Sequence[Way]) -> dict[str, dict[str, Any]]:
    """Quantity -> ours, the best of theirs and its name, the ratio, and what stands beside."""
    results: dict[str, dict[str, Any]] = {}
    for quantity in dict.fromkeys(way.quantity for way in asked):
        best = {
            way: max(found[quantity, way.name])
            for way in asked
            if way.quantity == quantity and found[quantity, way.name]
        }
        ours = max((value for way, value in best.items() if way.is_ours), default=None)
        others = {way.name: value for way, value in best.items() if not way.is_ours and not way.stands_beside}
        name = max(others, key=lambda one: others[one], default=None)
        theirs = None if name is None else others[name]
        results[quantity] = {
            "ours": ours,
            "theirs": theirs,
            "by": name,
            "ratio": ours / theirs if ours and theirs else None,
            "others": others,
            "beside": {way.name: value for way, value in best.items() if way.stands_beside},
        }
    return results


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything takes its turn (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a turn takes (default 1)")
    parser.add_argument("--threads", type=int, default=max(1, int(usable_cores())), help="default: all usable cores")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = arguments(argv)
    if options.part:
        found = part(options.part, threads=options.threads, seconds=options.seconds)
        print("\n".join(f"{value:.6g}" for value in found))
        return 0 if found else NO_SUCH_INSTRUCTION
    begun = record.begin(NAME, argv)
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        asked = ways(compiled(Path(folder)), threads=options.threads, seconds=options.seconds)
        seen: dict[tuple[str, str], list[float]] = {(way.quantity, way.name): [] for way in asked}
        for number in range(options.rounds):
            for way in generator.sample(asked, len(asked)):
                estimate = turn(way)
                seen[way.quantity, way.name] += [] if estimate is None else [estimate.value]
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    results = compare(seen, asked)
    targets = [
        Target(
            name=f"{quantity}: distance of ours from theirs", unit="of theirs",
            measured=None if one["ratio"] is None else abs(one["ratio"] - 1), at_most=WITHIN,
        )
        for quantity, one in results.items()
    ]  # fmt: skip
    begun.write(
        options.result, method=__doc__ or "", targets=targets, results={"threads": options.threads, **results},
        samples={f"{quantity}, {name}, a second": values for (quantity, name), values in seen.items()},
    )  # fmt: skip
    rows = [
        [quantity, _giga(one["ours"]), _giga(one["theirs"]), one["by"], one["ratio"],
         ", ".join(f"{name} {value / G:.4g}" for name, value in one["beside"].items())]
        for quantity, one in results.items()
    ]  # fmt: skip
    headings = ["quantity", "ours, G/s", "theirs, G/s", "by", "ours over theirs", "beside, G/s"]
    return record.report(headings, rows, targets, options.result)


def _giga(value: float | None) -> float | None:
    return None if value is None else value / G


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
