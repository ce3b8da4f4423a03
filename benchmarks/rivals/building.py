"""The tools that infer-opt is compared with, and how each makes a file of a model. Every file is made once and kept.

A tool runs as a process in an environment of its own, on the model as given and with the calibration inputs that
infer-opt has too. That it fails is a result: the reason is kept as well.
"""

import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.rivals import environments
from benchmarks.rivals.standings import Kind

from infer_opt.facts import ModelFacts

HERE = Path(__file__).parent
TIMEOUT_S = 600.0
MADE = "made.json"
LOG = "log.txt"
REASON_LETTERS = 300
NO_TELEMETRY = "--disable_telemetry"

# (interpreter, model, calibration inputs, empty folder) -> the command line that puts the file into the folder
Command = Callable[[Path, Path, Path, Path], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One way to use one tool. `runtime` opens its file, the one in the folder that `pattern` finds.

    `applies` says whether it is for such a model at all.
    """

    name: str
    kind: Kind
    environment: str
    runtime: str
    pattern: str
    command: Command
    configuration: str
    applies: Callable[[ModelFacts], bool] = lambda facts: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a tool made of a model: a file relative to its folder, or the reason why there is none."""

    file: str | None
    reason: str | None
    took_s: float


def olive_quantize(*options: str) -> Command:
    """`olive quantize` with these options."""

    def command(interpreter: Path, model: Path, calibration: Path, folder: Path) -> list[str]:
        olive = interpreter.with_name("olive")
        where = ["-m", str(model), "-o", str(folder / "out")]
        return [str(olive), "quantize", *where, *options, NO_TELEMETRY]

    return command


def olive_run(passes: Mapping[str, Mapping[str, str]]) -> Command:
    """`olive run` with these passes: `olive quantize` alone takes no calibration inputs of one's own."""

    def command(interpreter: Path, model: Path, calibration: Path, folder: Path) -> list[str]:
        data = {
            "name": "calibration",
            "type": "DataContainer",
            "user_script": str(HERE / "olive_data.py"),
            "load_dataset_config": {"type": "npz_feeds", "params": {"path": str(calibration)}},
            "pre_process_data_config": {"type": "skip_pre_process"},
            "post_process_data_config": {"type": "skip_post_process"},
            "dataloader_config": {"type": "as_they_are"},
        }
        config = {
            "input_model": {"type": "OnnxModel", "model_path": str(model)},
            "data_configs": [data],
            "passes": passes,
            "output_dir": str(folder / "out"),
            "cache_dir": str(folder / "cache"),
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config, indent=2) + "\n")
        return [str(interpreter.with_name("olive")), "run", "--config", str(path), NO_TELEMETRY]

    return command


def nncf_quantize(*options: str) -> Command:
    """`nncf.quantize`, by the script beside this file."""

    def command(interpreter: Path, model: Path, calibration: Path, folder: Path) -> list[str]:
        script = HERE / "nncf_quantize.py"
        return [str(interpreter), str(script), str(model), str(calibration), str(folder / "model.xml"), *options]

    return command


def is_transformer(facts: ModelFacts) -> bool:
    """Whether the graph has what attention is made of."""
    operators = dict(facts.operators)
    return "Softmax" in operators and operators.get("MatMul", 0) > 2


RIVALS = (
    Rival(
        name="Olive quantize",
        kind=Kind.OLIVE,
        environment="olive",
        runtime="onnx",
        pattern="out/**/*.onnx",
        command=olive_quantize(),
        configuration="olive quantize -m MODEL, as it is",
    ),
    Rival(
        name="Olive dynamic",
        kind=Kind.OLIVE,
        environment="olive",
        runtime="onnx",
        pattern="out/**/*.onnx",
        command=olive_quantize("--implementation", "ort", "--precision", "int8"),
        configuration="olive quantize -m MODEL --implementation ort --precision int8",
    ),
    Rival(
        name="Olive static",
        kind=Kind.OLIVE,
        environment="olive",
        runtime="onnx",
        pattern="out/**/*.onnx",
        command=olive_run({"quantise": {"type": "OnnxStaticQuantization", "data_config": "calibration"}}),
        configuration="olive run with OnnxStaticQuantization on our inputs, otherwise as it is",
    ),
    Rival(
        name="Olive fused, dynamic",
        kind=Kind.OLIVE,
        environment="olive",
        runtime="onnx",
        pattern="out/**/*.onnx",
        command=olive_run(
            {
                "fuse": {"type": "OrtTransformersOptimization", "model_type": "bert"},
                "quantise": {"type": "OnnxDynamicQuantization"},
            }
        ),
        configuration="olive run with OrtTransformersOptimization (bert) and OnnxDynamicQuantization",
        applies=is_transformer,
    ),
    Rival(
        name="NNCF + OpenVINO",
        kind=Kind.NNCF,
        environment="nncf",
        runtime="openvino",
        pattern="*.xml",
        command=nncf_quantize(),
        configuration="nncf.quantize(model, inputs)",
    ),
    Rival(
        name="NNCF + OpenVINO, as a transformer",
        kind=Kind.NNCF,
        environment="nncf",
        runtime="openvino",
        pattern="*.xml",
        command=nncf_quantize("--transformer"),
        configuration="nncf.quantize(model, inputs, model_type=TRANSFORMER)",
        applies=is_transformer,
    ),
)


def made_folder(rival: Rival, content: str, folder: Path) -> Path:
    """Where its file of this content (model and calibration inputs) lies: anew for other versions and other scripts."""
    scripts = [(HERE / name).read_text() for name in ("nncf_quantize.py", "olive_data.py")]
    parts = [rival.name, rival.configuration, content, environments.digest(rival.environment), *scripts]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return folder / "made" / f"{'-'.join(re.findall('[a-z]+', rival.name.lower()))}-{key}"


def make(rival: Rival, model: Path, calibration: Path, *, content: str, folder: Path) -> tuple[Path, Made]:
    """The folder and what lies in it, made now where it was not before."""
    target = made_folder(rival, content, folder)
    if (target / MADE).is_file():
        return target, Made(**json.loads((target / MADE).read_text()))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    found = _run(rival, model, calibration, target, folder)
    (target / MADE).write_text(json.dumps(asdict(found)) + "\n")
    return target, found


def _run(rival: Rival, model: Path, calibration: Path, target: Path, folder: Path) -> Made:
    begin = time.monotonic()
    interpreter = environments.python(rival.environment, folder)
    command = rival.command(interpreter, model, calibration, target)
    with (target / LOG).open("wb") as log:
        try:
            process = subprocess.run(
                command,
                cwd=target,
                env=dict(environments.surroundings(target)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S,
                check=False,
            )
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            code = None
    took_s = round(time.monotonic() - begin, 1)
    files = sorted(target.glob(rival.pattern))
    if code == 0 and len(files) == 1:
        return Made(file=str(files[0].relative_to(target)), reason=None, took_s=took_s)
    return Made(file=None, reason=reason(code, len(files), (target / LOG).read_text(errors="replace")), took_s=took_s)


def reason(code: int | None, files: int, log: str) -> str:
    """Why there is no file, in one sentence: by the last line that names an error."""
    if code is None:
        return f"took more than {TIMEOUT_S:.0f} s"
    if files > 1:
        return f"left {files} files"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "error" in line] or lines
    said = telling[-1][:REASON_LETTERS] if telling else "nothing was said"
    return f"exit code {code}: {said}" if code else f"no file, although the exit code is 0: {said}"


def versions() -> Mapping[str, Mapping[str, str]]:
    """What the environments hold of the packages that matter, by the lists that they were made from."""
    wanted = {"olive-ai", "onnxruntime", "onnx", "torch", "nncf", "openvino", "numpy"}
    found = {}
    for name in environments.NAMES:
        lines = environments.requirements(name).read_text().splitlines()
        pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
        found[name] = {package.lower(): version for package, version in pairs if package.lower() in wanted}
    return found
