"""What a user deploys: a directory with the artefact and how to open it. `load` runs exactly what was measured.

Loading needs numpy and the runtime, nothing else of infer-opt's dependencies.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infer_opt.batching import BatchingLimits
from infer_opt.config import NATIVE, Provider, TrialConfig
from infer_opt.errors import ConfigError, ModelError, StorageError, UnavailableError
from infer_opt.facts import TensorSpec
from infer_opt.machine.cpu import DOT_PRODUCT_SETS, isa
from infer_opt.padding import padded
from infer_opt.protocols import Session
from infer_opt.recipes import GraphLevel
from infer_opt.results import Caution, Note
from infer_opt.runtimes import open_runtime
from infer_opt.serving import LoadedBundle, open_sessions

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"
ARTEFACT = "model.onnx"
PROGRAM = "model.pt2"  # the artefact where PyTorch opens it
SAMPLES = "samples.npz"
DEFAULT = "default"
PICTURE = "result.svg"
CHUNK_BYTES = 1 << 20

README = """# {name}, tuned by infer-opt

```
{summary}
```

```python
import infer_opt

with infer_opt.load("{folder}") as session:
    outputs = session.run({{{feeds}}})  # {{{outputs}}}
```

`pip install 'infer-opt[{extra}]'` is all that this needs. `infer-opt bench {folder}` measures the claim again on your
machine. `bundle.json` says how the model is opened and what the claim rests on.

![Every configuration that was tried, against stock](result.svg)
"""


class BundleWarning(UserWarning):
    """A bundle runs here, but what was proven about it was proven elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What goes into a bundle. `files` are the artefact first, then its external data beside it.

    `default` is the model as given, in the same order, for a bundle that can measure its claim anywhere.
    """

    name: str
    summary: str
    picture: str
    config: TrialConfig
    files: Sequence[Path]
    default: Sequence[Path]
    samples: Path | None
    runtime_version: str
    isa: Sequence[str]
    record: Mapping[str, Any]
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    plan: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`bundle.json`, read and checked. `record` holds evidence, parity, machine, model and versions as they were.

    `limits` are how far `submit` batches by the bundle's own plan.
    """

    folder: Path
    config: TrialConfig
    artefact: Path
    files: Mapping[str, str]
    runtime_version: str
    isa: tuple[str, ...]
    record: Mapping[str, Any]
    limits: BatchingLimits = field(default_factory=BatchingLimits)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()


def load(
    directory: str | os.PathLike[str], *, custom_ops: Sequence[str] = (), max_batch: int | None = None,
    max_wait_s: float | None = None, max_queue: int = 256,
) -> LoadedBundle:  # fmt: skip
    """Open the bundle in `directory` exactly as it was measured.

    Arguments:
        max_batch, max_wait_s, max_queue: of `submit`: items a batch, seconds that the first of them waits for others,
            and requests that may wait at a time. Without a word, what the bundle's plan says, or 8 items and 2 ms.
        custom_ops: the custom-operator libraries that the bundle names; they hold code, so they are never loaded
            unless they are named here again.

    Raises:
        ModelError: not a bundle, or a file in it was changed.
        UnavailableError: the provider is missing here, or this CPU lacks what the artefact relies on.
        ConfigError: the bundle needs custom operators that were not named, or a limit makes no sense.
    """
    given = {"max_batch": max_batch, "max_wait_s": max_wait_s, "max_queue": max_queue}
    told: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    BatchingLimits(**told)  # refused before anything is opened
    manifest = read(Path(directory))
    limits = dataclasses.replace(manifest.limits, **told)
    check_files(manifest)
    named = manifest.config.options.custom_ops
    if set(named) != set(custom_ops):
        raise ConfigError(
            f"the bundle uses the custom-operator libraries {list(named)}",
            hint="name them in load(..., custom_ops=[...])",
        )
    runtime = open_runtime(manifest.config.runtime)
    notes = foreign(manifest, runtime_version=runtime.version(), isa_here=isa())
    buckets = manifest.config.recipe.buckets

    def open_one() -> Session:
        session = runtime.open(manifest.artefact, manifest.config.options)
        return padded(session, buckets, inputs=manifest.inputs, outputs=manifest.outputs)

    session, more = open_sessions(manifest.config, open_one)
    notes += more
    for note in notes:
        warnings.warn(note.text, BundleWarning, stacklevel=2)
    return LoadedBundle(session, notes, limits)


def artefact_name(config: TrialConfig) -> str:
    """What the file that `config` opens is called in a bundle."""
    return PROGRAM if config.runtime == NATIVE else ARTEFACT


def is_bundle(path: Path) -> bool:
    """Whether `path` is a directory with a `bundle.json`."""
    return (path / MANIFEST).is_file()


def read(folder: Path) -> Manifest:
    """The manifest in `folder`.

    Raises:
        ModelError: there is none, or it is of another form.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise ModelError(f"{folder} is not a bundle: it has no {MANIFEST}", hint="infer-opt tune makes one") from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}", hint="make the bundle again with infer-opt tune") from error
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ModelError(
            f"{path} has schema version {version}, this release reads up to {SCHEMA_VERSION}", hint="upgrade infer-opt"
        )
    try:
        files = {str(name): str(digest) for name, digest in data["files"].items()}
        manifest = Manifest(
            folder=folder,
            config=TrialConfig.from_dict(data["config"]),
            artefact=folder / data["artefact"],
            files=files,
            runtime_version=data["runtime_version"],
            isa=tuple(data["isa"]),
            record=data["record"],
            limits=_limits(data.get("plan")),
            inputs=_specs(data["inputs"]),
            outputs=_specs(data["outputs"]),
        )
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ModelError(f"{path} is damaged: {error}", hint="make the bundle again with infer-opt tune") from error
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in [*files, data["artefact"]]):
        raise ModelError(f"{path} names a file outside of its folder", hint="do not use this bundle")
    if data["artefact"] not in files:
        raise ModelError(f"{path} has no hash of its artefact {data['artefact']}", hint="do not use this bundle")
    return manifest


def _limits(plan: Mapping[str, Any] | None) -> BatchingLimits:
    """How far a plan batches. A bundle without one leaves it at what is usual."""
    told = {name: plan[name] for name in ("max_batch", "max_wait_s") if plan[name] is not None} if plan else {}
    return BatchingLimits(**told)


def _specs(found: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            name=spec["name"], dtype=spec["dtype"], shape=None if spec["shape"] is None else tuple(spec["shape"])
        )
        for spec in found
    )


def check_files(manifest: Manifest) -> None:
    """Compare every file with its hash.

    Raises:
        ModelError: a file is missing or was changed since the bundle was made.
    """
    for name, expected in manifest.files.items():
        path = manifest.folder / name
        if not path.is_file():
            raise ModelError(f"the bundle lacks {name}", hint="copy the whole directory")
        if _hash(path) != expected:
            raise ModelError(
                f"{path} is not the file that was measured (its sha256 differs)",
                hint="make the bundle again with infer-opt tune",
            )


def foreign(manifest: Manifest, *, runtime_version: str, isa_here: Sequence[str]) -> tuple[Note, ...]:
    """What differs between this machine and the one of the proof.

    Raises:
        UnavailableError: the difference can make answers wrong or the model not run at all.
    """
    notes = []
    missing = sorted(set(manifest.isa) - set(isa_here))
    recipe = manifest.config.recipe
    if missing and manifest.config.options.provider is Provider.CPU:
        full_range = recipe.quantise is not None and recipe.quantise.may_saturate
        if full_range and not DOT_PRODUCT_SETS & set(isa_here) and DOT_PRODUCT_SETS & set(manifest.isa):
            raise UnavailableError(
                "this CPU has no 8-bit dot product (VNNI): the 8-bit weights of the bundle saturate and answers change",
                hint="run infer-opt tune on this machine",
            )
        if recipe.saved_level is GraphLevel.ALL:
            raise UnavailableError(
                f"the bundle's graph was laid out for a CPU with {', '.join(missing)}",
                hint="run infer-opt tune on this machine",
            )
        notes.append(
            Note(
                caution=Caution.OTHER_MACHINE,
                text=f"this CPU lacks {', '.join(missing)}, with which the claim was proven: measure it again here",
            )
        )
    if runtime_version != manifest.runtime_version:
        text = f"measured with {manifest.config.runtime} runtime {manifest.runtime_version}, running {runtime_version}"
        notes.append(Note(caution=Caution.OTHER_RUNTIME, text=text))
    return tuple(notes)


def check_target(folder: Path, *, force: bool) -> None:
    """Find out before any work whether a bundle can be written to `folder`.

    Raises:
        StorageError: it exists already, is something else, or its parent cannot be written.
    """
    try:
        occupied = folder.exists() or folder.is_symlink()
    except OSError as error:  # a name that is too long, or a folder above it that may not be searched
        raise StorageError(f"{folder} cannot be written: {error.strerror}", hint="choose another --out") from error
    if occupied:
        ours = is_bundle(folder) or (folder.is_dir() and not any(folder.iterdir()))
        if not ours:
            raise StorageError(f"{folder} exists and is not a bundle", hint="choose another --out")
        if not force and is_bundle(folder):
            raise StorageError(f"the bundle {folder} exists already", hint="add --force to replace it")
    parent = folder.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=parent):
            return
    except OSError as error:
        raise StorageError(f"{parent} cannot be written: {error.strerror}", hint="choose another --out") from error


def write(folder: Path, contents: Contents) -> None:
    """Make the bundle beside its place, then rename it there: it is whole or not there. A bundle there is replaced.

    Raises:
        StorageError: the disk is full or the folder cannot be written; nothing half-written is left.
    """
    folder = folder.absolute()
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise StorageError(
            f"{folder.parent} cannot be written: {error.strerror}", hint="choose another --out"
        ) from error
    try:
        _fill(work, folder, contents)
        work.chmod(0o755)
        _put(work, folder)
    except OSError as error:
        raise StorageError(
            f"the bundle cannot be written to {folder}: {error.strerror}",
            hint="free some space or choose another --out; the tuning is kept, so add --resume",
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put(work: Path, folder: Path) -> None:
    """Rename `work` to `folder`. What was there goes, but not before its successor is in place."""
    old = work.with_name(f"{work.name}.old")
    if folder.exists():
        folder.rename(old)
    try:
        work.rename(folder)
    except BaseException:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _fill(work: Path, folder: Path, contents: Contents) -> None:
    _copy(contents.files, work)
    if contents.default:
        _copy(contents.default, work / DEFAULT)
    if contents.samples is not None:
        shutil.copyfile(contents.samples, work / SAMPLES)
    files = {str(path.relative_to(work)): _hash(path) for path in sorted(work.rglob("*")) if path.is_file()}
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": contents.name,
        "artefact": artefact_name(contents.config),
        "files": files,
        "config": contents.config.to_dict(),
        "runtime_version": contents.runtime_version,
        "isa": list(contents.isa),
        "inputs": [dataclasses.asdict(spec) for spec in contents.inputs],
        "outputs": [dataclasses.asdict(spec) for spec in contents.outputs],
        "plan": contents.plan,
        "record": contents.record,
    }
    (work / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    (work / PICTURE).write_text(contents.picture)
    (work / "README.md").write_text(
        README.format(
            name=contents.name,
            summary=contents.summary,
            folder=folder.name,
            feeds=", ".join(f'"{spec.name}": ...' for spec in contents.inputs),
            outputs=", ".join(f'"{spec.name}": ...' for spec in contents.outputs),
            extra=_extra(contents.config),
        )
    )


def _extra(config: TrialConfig) -> str:
    """The extra of infer-opt that brings what the bundle runs on."""
    if config.runtime != "onnx":
        return config.runtime
    return "gpu" if config.options.provider is Provider.CUDA else "cpu"


def _copy(files: Sequence[Path], folder: Path) -> None:
    """The first file as `model.onnx` or `model.pt2`, the others under their own names, by which it refers to them."""
    first, *others = files
    name = PROGRAM if first.suffix == ".pt2" else ARTEFACT
    pairs = [(first, folder / name), *((path, folder / path.relative_to(first.parent)) for path in others)]
    for source, target in pairs:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
