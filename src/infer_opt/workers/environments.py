"""Another Python environment for workers: its own runtime, with our source beside it."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from infer_opt.errors import ConfigError, UnavailableError

OLDEST = (3, 11)
WANTED = ("numpy", "onnx", "onnxruntime")  # the environment's own, whatever their versions
LENT = "msgspec"  # ours will do, where it was built for the same Python
PROBE_S = 120.0
SOURCE = Path(__file__).parents[1]

# What is there is imported, not only looked for: a library may be broken, and the answer is that of a fresh process.
_PROBE = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = str(getattr(importlib.import_module(name), "__version__", ""))
    except Exception as error:
        found[name + "!"] = f"{type(error).__name__}: {error}"
print(json.dumps({"version": sys.version_info[:2], "tag": sys.implementation.cache_tag, "found": found}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An interpreter, the folder that its workers find infer-opt's source in, and its runtime's version."""

    python: Path
    source: Path
    runtime_version: str

    @property
    def variables(self) -> dict[str, str]:
        """What a worker's environment has beside or in the place of ours: no path of ours leads it to our libraries."""
        return {"PYTHONPATH": str(self.source), "PYTHONNOUSERSITE": "1"}


def environment(prefix: Path, folder: Path) -> Environment:
    """A virtual or conda environment as one for workers; `folder` is an empty one that lives as long as they do.

    Raises:
        ConfigError: there is no Python in it.
        UnavailableError: its Python is too old, or lacks what a worker needs.
    """
    python = interpreter_of(prefix)
    version, tag, found = _probe(python, (*WANTED, LENT))
    if version < OLDEST:
        raise UnavailableError(
            f"{prefix} has Python {version[0]}.{version[1]}, and a worker needs {OLDEST[0]}.{OLDEST[1]} or newer",
            hint=f"{sys.executable} -m venv {prefix}-new makes one with this Python",
        )
    missing = [name for name in WANTED if name not in found]
    lends = LENT not in found and tag == sys.implementation.cache_tag
    if LENT not in found and not lends:
        missing.append(LENT)
    if missing:
        reasons = "; ".join(found.get(f"{name}!", name) for name in missing)
        raise UnavailableError(
            f"{prefix} lacks {', '.join(missing)} ({reasons})", hint=f"{python} -m pip install {' '.join(missing)}"
        )
    _link(folder, "infer_opt", SOURCE)
    if lends:
        spec = importlib.util.find_spec(LENT)
        if spec is not None and spec.origin is not None:
            _link(folder, LENT, Path(spec.origin).parent)
    return Environment(python=python, source=folder, runtime_version=found["onnxruntime"])


def interpreter_of(prefix: Path) -> Path:
    """The Python of an environment named by its folder, or by the interpreter itself.

    Raises:
        ConfigError: there is none.
    """
    candidates = (prefix / "bin" / "python", prefix / "python.exe", prefix / "Scripts" / "python.exe")
    for path in (prefix, *candidates):
        if path.is_file() and os.access(path, os.X_OK):
            # Not resolved: a virtual environment is known by the link to its interpreter.
            return path.absolute()
    raise ConfigError(
        f"{prefix} is no Python environment: it has no bin/python",
        hint="name a folder that `python -m venv` or conda made",
    )


def _probe(python: Path, names: tuple[str, ...]) -> tuple[tuple[int, ...], str, dict[str, str]]:
    """Python's version, the tag of its compiled modules, and the libraries' versions, or `name!`: why there is none."""
    try:
        done = subprocess.run(
            [str(python), "-c", _PROBE, *names],
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        )
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise UnavailableError(f"{python} does not run: {error}", hint="name another --runtime-env") from error
    return tuple(answer["version"]), answer["tag"], answer["found"]


def _link(folder: Path, name: str, target: Path) -> None:
    (folder / name).symlink_to(target, target_is_directory=True)
