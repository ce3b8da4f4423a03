"""Ceilings in a file of the user's cache, for as long as they hold."""

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from infer_opt.errors import StorageError
from infer_opt.profiles.roofline import Ceilings

KIND = "infer-opt ceilings"
MADE = 1  # goes up when they are measured in another way, so that those of before are measured anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What ceilings hold for: when any of it changes, they are measured anew.

    `machine` is its fingerprint, `runtime` and `version` are what the products were done with, and `threads` is how
    many a session may use (0 on a device).
    """

    machine: str
    provider: str
    threads: int
    runtime: str
    version: str

    @property
    def file_name(self) -> str:
        """Different for different settings; its beginning tells people which."""
        text = json.dumps(asdict(self) | {"made": MADE}, sort_keys=True)
        return f"{self.provider}-{self.threads}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def kept(folder: Path, setting: Setting) -> Ceilings | None:
    """What was measured for this very setting; None where nothing was, or where the file is damaged."""
    try:
        document = json.loads((folder / setting.file_name).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or document.get("kind") != KIND or document.get("made") != MADE:
        return None
    if document.get("setting") != asdict(setting):
        return None
    try:
        return msgspec.convert(document.get("ceilings"), type=Ceilings)
    except msgspec.ValidationError:
        return None


def keep(folder: Path, setting: Setting, ceilings: Ceilings) -> None:
    """Write them down by rename: what was there stays until the new file is whole.

    Raises:
        StorageError: the folder cannot be written.
    """
    document: dict[str, Any] = {
        "kind": KIND, "made": MADE, "setting": asdict(setting), "ceilings": msgspec.to_builtins(ceilings),
    }  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{setting.file_name}.", dir=folder)
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(document, file, indent=1)
            Path(temporary).replace(folder / setting.file_name)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"the ceilings of this machine cannot be written to {folder}: {error.strerror}",
            hint="INFER_OPT_CACHE names another folder",
        ) from error


def the_most(first: Ceilings, second: Ceilings) -> Ceilings:
    """Two measurements of one setting as one: the higher of each, and the shorter launch."""
    rates = dict(first.operations_per_s)
    for precision, rate in second.operations_per_s:
        rates[precision] = max(rates.get(precision, rate), rate, key=lambda one: one.value)
    levels = {one.level: one for one in first.bandwidths}
    for level in second.bandwidths:
        levels[level.level] = max(levels.get(level.level, level), level, key=lambda one: one.bytes_per_s.value)
    return dataclasses.replace(
        second,
        operations_per_s=tuple(rates.items()),
        bandwidths=tuple(levels.values()),
        launch=min(first.launch, second.launch, key=lambda one: one.value),
        measurements=first.measurements + second.measurements,
        disturbed_by=first.disturbed_by and second.disturbed_by,
    )
