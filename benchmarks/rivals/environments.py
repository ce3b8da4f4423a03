"""Virtual environments of the tools that infer-opt is compared with: one each, from a pinned list, never our own.

A list `benchmarks/rivals/NAME.txt` holds every package with its version. What torch asks for besides (CUDA wheels,
where pip finds no build for the CPU alone) is left to pip.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build" / "rivals"  # ignored by git
NAMES = ("olive", "nncf")
STAMP = ".whole"


def requirements(name: str) -> Path:
    """The pinned list of an environment."""
    return HERE / f"{name}.txt"


def digest(name: str) -> str:
    """Differs for every list that differs."""
    return hashlib.sha256(requirements(name).read_bytes()).hexdigest()[:12]


def place(name: str, folder: Path) -> Path:
    """Where the environment lies."""
    return folder / "environments" / f"{name}-{digest(name)}"


def python(name: str, folder: Path) -> Path:
    """Its interpreter."""
    return place(name, folder) / "bin" / "python"


def is_ready(name: str, folder: Path) -> bool:
    """Whether it was installed to the end."""
    return (place(name, folder) / STAMP).is_file()


def prepare(name: str, folder: Path) -> None:
    """Make the environment, unless it is there already.

    Raises:
        subprocess.CalledProcessError: pip could not install the list; it has said why.
    """
    if is_ready(name, folder):
        return
    target = place(name, folder)
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    command = [str(python(name, folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "-r", str(requirements(name)), "-c", str(requirements(name))], check=True)
    (target / STAMP).touch()


def surroundings(home: Path) -> Mapping[str, str]:
    """The environment variables of a tool: nothing of ours to import, nothing fetched, its caches in `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "INFER_OPT"))}
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "OLIVE_DISABLE_TELEMETRY"), "1")
    return kept | offline | {"HOME": str(home)}
