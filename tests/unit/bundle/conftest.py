"""A model that was tuned, and a bundle of it."""

from pathlib import Path

import pytest

import zoo
from infer_opt.bundle import write
from made_bundles import contents


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The model that was tuned."""
    folder = tmp_path / "source"
    folder.mkdir()
    return zoo.save(zoo.mlp(), folder / "model.onnx")


@pytest.fixture
def made(tmp_path: Path, source: Path) -> Path:
    """A bundle of this machine."""
    folder = tmp_path / "out"
    write(folder, contents(source))
    return folder
