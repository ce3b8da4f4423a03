"""Artefacts, named by what went into them and paid for once, also with two tunings at work at the same time.

<key>/           a finished artefact with `artefact.json`; appears by rename, so it is whole or not there. That file
                 holds what the builder has to say, such as `changes`, with the artefact's name and the versions
<key>.lock       held exclusively while building or removing, shared while an artefact is in use
<key>.failed     why this recipe does not suit this model; not tried again by the same release
<key>.building-* work in progress, or what a crash left of it
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from infer_opt.config import Provider, Workload
from infer_opt.errors import ModelError, StorageError
from infer_opt.recipes import Recipe
from infer_opt.results import Changes

MANIFEST_NAME = "artefact.json"
_MADE = 2  # goes up when a recipe is carried out in another way, so that artefacts of before are made anew
_LIBRARIES = ("infer-opt", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy")
_COUNTED = ("operators_added", "operators_removed")
_LISTED = ("nodes_added", "nodes_removed", "nodes_changed", "besides")
_REWRITERS = ("onnxslim", "onnxscript", "onnx_ir")


def artefact_key(
    model_hash: str,
    recipe: Recipe,
    *,
    workload: Workload,
    calibration_hash: str | None = None,
    provider: Provider = Provider.CPU,
    machine: str = "",
) -> str:
    """64 hex digits that differ when the artefact may: by content, recipe, library versions and what the recipe reads.

    Sizes count where shapes are fixed, the calibration inputs (`feeds.hash_feeds`) where activations are calibrated,
    the rewriters' versions where one is used, provider and `machine` (its fingerprint) where the runtime's own
    optimisation is saved.
    """
    steps = asdict(recipe)
    del steps["buckets"]  # which the file does not hold; where they fix shapes, the workload says so
    parts: dict[str, object] = {"model": model_hash, "recipe": steps, "versions": library_versions(), "made": _MADE}
    if recipe.fixed_shapes:
        parts |= {"dims": sorted(workload.dims)}
    if recipe.rewrite is not None:
        parts["rewriters"] = library_versions(_REWRITERS)
    if recipe.quantise is not None and recipe.quantise.needs_inputs:
        parts["calibration"] = calibration_hash
    if recipe.saved_level is not None:
        parts |= {"provider": provider, "machine": machine}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def recorded_changes(artefact: Path) -> Changes | None:
    """What the recipe of a finished artefact changed in the graph; None where no manifest says so."""
    path = artefact.parent / MANIFEST_NAME
    found = json.loads(path.read_text()).get("changes") if path.is_file() else None
    if found is None:
        return None
    counted = {name: tuple((kind, count) for kind, count in found[name]) for name in _COUNTED}
    listed = {name: tuple(found[name]) for name in _LISTED}
    return Changes(**{**found, **counted, **listed})


def library_versions(names: Iterable[str] = _LIBRARIES) -> dict[str, str]:
    """Version of every installed library of `names`, those that shape any artefact."""
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


class ArtefactCache:
    """A folder of artefacts. What it has handed out stays until `close`, whoever prunes meanwhile."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _storage_error(folder, error) from error
        self._folder = folder
        self._held: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get_or_build(self, key: str, build: Callable[[Path], Path]) -> Path:
        """The artefact of that key; `build(folder)` makes it, in the folder it is given, if nobody has.

        Waits for another process that is building the same one.

        Raises:
            ModelError: the build failed, now or before in the same release.
            StorageError: the disk is full or the folder cannot be written; nothing half-written is left.
        """
        try:
            return self._take(key) or self._build(key, build)
        except OSError as error:
            raise _storage_error(self._folder, error) from error

    def prune(self, max_bytes: int) -> int:
        """Remove what a crash left, then the artefacts used longest ago, until `max_bytes` are left.

        Gives the bytes freed. Artefacts in use, here or in another process, are passed over.
        """
        try:
            freed = self._sweep()
            artefacts = sorted(self._finished(), key=lambda path: path.stat().st_mtime)
            sizes = {path: _folder_bytes(path) for path in artefacts}
            total = sum(sizes.values())
            for path in artefacts:
                if total <= max_bytes:
                    break
                if self._remove(path.name):
                    total -= sizes[path]
                    freed += sizes[path]
        except OSError as error:
            raise _storage_error(self._folder, error) from error
        return freed

    def close(self) -> None:
        """Let go of the artefacts handed out. Safe to call twice."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _take(self, key: str) -> Path | None:
        """The finished artefact, marked as used now and held; None when there is none."""
        lock = _lock(self._lock_path(key), fcntl.LOCK_SH)
        manifest = self._folder / key / MANIFEST_NAME
        if not manifest.exists():
            os.close(lock)
            return None
        if key in self._held:
            os.close(lock)
        else:
            self._held[key] = lock
        os.utime(manifest.parent)
        return manifest.parent / str(json.loads(manifest.read_text())["file"])

    def _build(self, key: str, build: Callable[[Path], Path]) -> Path:
        with self._exclusively(key):
            if not (self._folder / key).exists():  # another process may have built it while this one waited
                self._recall_failure(key)
                self._discard_unfinished(key)
                self._make(key, build)
        taken = self._take(key)
        # Between the two locks somebody may have pruned it: then it is built once more.
        return taken or self._build(key, build)

    def _make(self, key: str, build: Callable[[Path], Path]) -> None:
        work = Path(tempfile.mkdtemp(prefix=f"{key}.building-", dir=self._folder))
        try:
            artefact = build(work).relative_to(work)
            manifest = work / MANIFEST_NAME
            said = json.loads(manifest.read_text()) if manifest.exists() else {}
            manifest.write_text(json.dumps({**said, "file": str(artefact), "versions": library_versions()}))
            _flush(work)
            work.rename(self._folder / key)
        except ModelError as error:
            self._remember_failure(key, error)
            raise
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _remember_failure(self, key: str, error: ModelError) -> None:
        path = self._folder / f"{key}.failed"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"what": error.what, "hint": error.hint}))
        draft.replace(path)

    def _recall_failure(self, key: str) -> None:
        path = self._folder / f"{key}.failed"
        if path.exists():
            known = json.loads(path.read_text())
            raise ModelError(known["what"], hint=known["hint"])

    def _remove(self, key: str) -> bool:
        """Remove a finished artefact, unless it is in use."""
        try:
            with self._exclusively(key, wait=False):
                doomed = self._folder / f"{key}.building-removed"
                shutil.rmtree(doomed, ignore_errors=True)
                (self._folder / key).rename(doomed)  # gone at once for everybody, whatever happens next
                shutil.rmtree(doomed, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError):
            return False
        return True

    def _sweep(self) -> int:
        """Remove what crashed builds left behind; gives the bytes freed."""
        freed = 0
        for path in self._folder.glob("*.building-*"):
            size = _folder_bytes(path)
            with contextlib.suppress(BlockingIOError), self._exclusively(path.name.partition(".")[0], wait=False):
                shutil.rmtree(path, ignore_errors=True)
                freed += size
        return freed

    def _discard_unfinished(self, key: str) -> None:
        for path in self._folder.glob(f"{key}.building-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _finished(self) -> Iterator[Path]:
        return (path.parent for path in self._folder.glob(f"*/{MANIFEST_NAME}") if "." not in path.parent.name)

    def _lock_path(self, key: str) -> Path:
        return self._folder / f"{key}.lock"

    @contextlib.contextmanager
    def _exclusively(self, key: str, *, wait: bool = True) -> Iterator[None]:
        lock = _lock(self._lock_path(key), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        try:
            yield
        finally:
            os.close(lock)


def _lock(path: Path, kind: int) -> int:
    """An open, locked file. The lock goes with the file descriptor, so a killed process holds none."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, kind)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _flush(folder: Path) -> None:
    """Have the files on the disk before their folder gets its final name, also if the power fails."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _storage_error(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"the artefact cache in {folder} cannot be used: {error.strerror or error}",
        hint="free some disk space, or point XDG_CACHE_HOME to another disk",
    )
