"""Ranges of activations, kept beside the calibration inputs that they were found with, for as long as those live."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from onnx import ModelProto

from infer_opt.recipes import Calibration
from infer_opt.transforms.calibration import Range
from infer_opt.transforms.feeds import FeedSource
from infer_opt.transforms.model_files import is_large


def kept_ranges(model: ModelProto, method: Calibration, feeds: FeedSource) -> Path | None:
    """Where the ranges of this very model by this method are kept; None where the inputs lie in no file.

    A model that no message can hold has none either: hashing it would take another copy of it.
    """
    if not isinstance(feeds, Path) or is_large(model):
        return None
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()[:32]
    return feeds.with_name(f"{feeds.name}.{method}-{digest}.json")


def read_ranges(path: Path) -> dict[str, Range] | None:
    """What `write_ranges` wrote there; None where nothing is, or nothing that can be read."""
    try:
        found = json.loads(path.read_text())
        return {name: Range(low=float(low), high=float(high)) for name, (low, high) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def write_ranges(path: Path, ranges: Mapping[str, Range]) -> None:
    """Keep `ranges`, by rename. Where that is not possible they are found again the next time."""
    with contextlib.suppress(OSError):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".ranges-")
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump({key: (found.low, found.high) for key, found in ranges.items()}, file)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
