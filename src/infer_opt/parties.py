"""A model or a bundle, named by a user: the file to open, how it is opened, and what it is fed with."""

from dataclasses import dataclass, replace
from pathlib import Path

from infer_opt import bundle
from infer_opt.config import NATIVE, Objective, TrialConfig
from infer_opt.errors import ConfigError
from infer_opt.exporting import is_function
from infer_opt.recipes import Recipe
from infer_opt.request import Request
from infer_opt.results import Note
from infer_opt.setting_up import Setup


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A model or bundle, as something to open: a file and how it is opened. `manifest` is set for a bundle."""

    path: Path
    artefact: Path
    config: TrialConfig
    manifest: bundle.Manifest | None = None

    @property
    def opened(self) -> TrialConfig:
        """The configuration over the finished artefact: nothing more is done to the file. Padding is of calls."""
        return replace(self.config, recipe=Recipe(buckets=self.config.recipe.buckets))


def open_party(path: Path, request: Request) -> Party:
    """A bundle opens as it says; a model with stock settings and the batch that was asked for.

    Raises:
        ModelError: a damaged bundle.
    """
    if path.is_dir() and bundle.is_bundle(path):
        manifest = bundle.read(path)
        bundle.check_files(manifest)
        return Party(path=path, artefact=manifest.artefact, config=manifest.config, manifest=manifest)
    if is_function(path):
        raise ConfigError(f"{path} is a function, which no bundle or file holds", hint="tune it, then bench its bundle")
    batch = request.batches[0] if request.batches else 1
    runtime = NATIVE if path.suffix == ".pt2" else request.runtime
    return Party(path=path, artefact=path, config=TrialConfig(batch=batch, runtime=runtime))


def request_for(reference: Party, subject: Party, request: Request, *, is_own_claim: bool) -> Request:
    """The request with the reference's model, and the bundle's own inputs and sizes where the user gave none.

    A bundle is held to its claim by what it was tuned for; that may be another batch size than stock's.
    """
    manifest = subject.manifest or reference.manifest
    dims, distributions, ready = dict(request.dims), dict(request.distributions), None
    if manifest is not None and not dims and not distributions:
        # Given inputs say how large they are, and not how often each size is.
        distributions = {
            name: tuple((int(size), float(share)) for size, share in found)
            for name, found in manifest.record.get("distributions", {}).items()
        }
        if request.inputs is None:
            samples = manifest.folder / bundle.SAMPLES
            ready = samples if samples.is_file() and manifest.config.batch == reference.config.batch else None
            dims = dict(manifest.record.get("dims", {}))
    return replace(
        request,
        model=reference.artefact,
        runtime=reference.config.runtime,
        batches=tuple(dict.fromkeys((reference.config.batch, subject.config.batch))),
        objective=objective_of(subject, request.objective) if is_own_claim else request.objective,
        dims=dims,
        distributions=distributions,
        ready_feeds=ready,
        providers=(reference.config.options.provider,),
    )


def objective_of(subject: Party, otherwise: Objective) -> Objective:
    """What a bundle was tuned for."""
    record = {} if subject.manifest is None else subject.manifest.record
    return Objective(record.get("objective", otherwise))


def foreign_notes(setup: Setup, *parties: Party | None) -> tuple[Note, ...]:
    """What `load` would warn of: a bundle that it would refuse here is not measured either."""
    manifests = [party.manifest for party in parties if party is not None and party.manifest is not None]
    notes = [
        bundle.foreign(
            manifest,
            runtime_version=setup.runtime_versions.get(manifest.config.runtime, "which is not installed"),
            isa_here=setup.rig.machine.isa,
        )
        for manifest in manifests
    ]
    return tuple(dict.fromkeys(note for found in notes for note in found))
