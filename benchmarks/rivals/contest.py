"""One model's contest: everybody's file, agreement with stock, and epochs in which all of them ran side by side.

The measuring is that of infer-opt's own claims: fresh processes each epoch, rounds that visit everybody in random
order, a second stock as the control. Whoever does not agree with stock gets a first look at its speed and is out.
"""

import contextlib
import hashlib
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.calls import Model
from benchmarks.grids import settled
from benchmarks.precision import uniform
from benchmarks.record import ROOT
from benchmarks.rivals import building
from benchmarks.rivals.standings import Contest, Kind, Standing

from infer_opt.budget import Budget
from infer_opt.config import TrialConfig
from infer_opt.confirming import Confirmation, Epoch, confirm, plan_rounds
from infer_opt.errors import EvidenceError, InferOptError
from infer_opt.parties import Party
from infer_opt.request import Request
from infer_opt.results import Estimate, FailureKind, Parity, TrialResult
from infer_opt.rig import Limits, Rig
from infer_opt.search.surroundings import stock
from infer_opt.setting_up import Setup, scratch_folder, set_up
from infer_opt.stats.confirm import LOOKS
from infer_opt.stats.intervals import exp_ratio
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.trials import FEWEST_CHECKED, Stock, TrialError, check_parity, run_stock, run_trial

SETUP_BUDGET_S = 1200.0  # what time-outs of workers and builds are derived from
OURS = "infer-opt"
MOST_OVERTIME = 2.0  # times of the time given, for the first four epochs
STANDARD_ERRORS = 2.0  # on either side of a first look
FEWEST_EPOCHS = LOOKS[0]  # fewer prove nothing, and would hide who is behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a contest is held. `folder` keeps what was made: environments, files of rivals, artefacts."""

    parity: float
    epochs: int
    time_s: float
    seed: int
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something to open: a finished file, or a recipe over the model as given; or the reason why there is nothing."""

    name: str
    kind: Kind
    config: TrialConfig
    configuration: str
    artefact: Path | None = None
    reason: str | None = None
    made_s: float | None = None


@contextlib.contextmanager
def arena(model: Model, terms: Terms) -> Iterator[Setup]:
    """The rig of one model. What is built of it stays in the terms' folder."""
    limits = Limits(min_parity=terms.parity)
    request = Request(model=model.path, inputs=model.inputs, limits=limits, seed=terms.seed)
    with scratch_folder() as scratch, ArtefactCache(terms.folder / "artefacts" / builder()) as cache:
        yield set_up(request, scratch, cache, budget_s=SETUP_BUDGET_S)


def builder() -> str:
    """Differs for every state of the code that builds artefacts: none of another state is measured."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "src" / "infer_opt" / "transforms").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def make_all(model: Model, terms: Terms) -> None:
    """Have everybody's file made, so that a contest only measures."""
    with arena(model, terms) as setup:
        for rival in line_up(setup, terms):
            say(f"  {rival.name}: {rival.reason or f'made in {rival.made_s or 0.0:.0f} s'}")


def line_up(setup: Setup, terms: Terms) -> list[Contestant]:
    """Everybody but infer-opt: what is not there yet is made now."""
    return [*quantisations(setup), *engines(setup), *tools(setup, terms)]


def quantisations(setup: Setup) -> list[Contestant]:
    """Every way to quantise all layers that infer-opt knows, run as stock is."""
    found = []
    for config in uniform(setup.surroundings):
        if config.runtime != stock(setup.surroundings).runtime:
            continue
        reason, begin = None, time.monotonic()
        try:
            setup.rig.artefact(config)
        except InferOptError as error:
            reason = error.what
        label = config.recipe.label.removeprefix("normalised + ")
        found.append(
            Contestant(
                name=f"all layers {label}",
                kind=Kind.UNIFORM,
                config=config,
                configuration=config.label,
                reason=reason,
                made_s=round(time.monotonic() - begin, 1),
            )
        )
    return found


def engines(setup: Setup) -> list[Contestant]:
    """The model as given on every other engine that is installed."""
    return [
        Contestant(
            name=f"{engine} in float",
            kind=Kind.ENGINE,
            config=TrialConfig(runtime=engine),
            configuration="the model as given, one stream",
            artefact=setup.rig.model,
        )
        for engine in setup.surroundings.engines
    ]


def tools(setup: Setup, terms: Terms) -> list[Contestant]:
    """What other tools make of the model with the calibration inputs that infer-opt has."""
    rig = setup.rig
    if rig.calibration is None:
        raise EvidenceError(f"{rig.model} has no real inputs", hint="put an npz of the same name beside it")
    found = []
    for rival in building.RIVALS:
        if not rival.applies(rig.facts):
            continue
        content = f"{rig.facts.content_hash} {rig.calibration_hash}"
        folder, made = building.make(rival, rig.model, rig.calibration, content=content, folder=terms.folder)
        found.append(
            Contestant(
                name=rival.name,
                kind=rival.kind,
                config=TrialConfig(runtime=rival.runtime),
                configuration=rival.configuration,
                artefact=None if made.file is None else folder / made.file,
                reason=made.reason,
                made_s=made.took_s,
            )
        )
    return found


def hold(model: Model, party: Party, tuning: Mapping[str, Any], terms: Terms) -> Contest:
    """Check everybody, and measure those who agree side by side.

    Raises:
        InferOptError: stock cannot be run, or the time was over before four epochs.
    """
    begin = time.monotonic()
    with arena(model, terms) as setup:
        ours = Contestant(
            name=OURS, kind=Kind.OURS, config=party.opened, configuration=party.config.label, artefact=party.artefact
        )
        contestants = [ours, *line_up(setup, terms)]
        base = run_stock(setup.rig, stock(setup.surroundings), setup.generator)
        try:
            rig = settled(setup, base)
            checked = {one.name: check(rig, one, base, setup) for one in contestants}
        finally:
            base.entrant.worker.close()
        able = {one.name: one for one in contestants if checked[one.name].reason is None}
        say(f"  {len(able)} of {len(contestants)} agree: measuring them for at most {terms.time_s:.0f} s")
        found = compare(rig, able, base, setup, terms)
    return Contest(
        model=model.name,
        parity=terms.parity,
        samples=base.self_parity.samples,
        standings=tuple(placed(standing, found) for standing in checked.values()),
        clone=tuple(epoch.values["clone"] for epoch in found.epochs if epoch.values),
        tuning=tuning,
        stock_ns=base.result.readings.quantile_ns(0.5),
        rounds=sum(epoch.rounds for epoch in found.epochs),
        discarded=sum(epoch.discarded for epoch in found.epochs),
        took_s=round(time.monotonic() - begin, 1),
    )


def check(rig: Rig, one: Contestant, base: Stock, setup: Setup) -> Standing:
    """A contestant's agreement with stock; of one that does not agree, a first look at its speed too."""
    blank = Standing(name=one.name, kind=one.kind, configuration=one.configuration, made_s=one.made_s)
    if one.reason is not None:
        return _told(replace(blank, reason=one.reason))
    try:
        parity = agreement(rig, one, setup)
    except TrialError as error:
        failure = error.failure
        score = None if failure.parity is None else failure.parity.score
        look = first_look(rig, one, base, setup) if failure.kind is FailureKind.PARITY else None
        return _told(replace(blank, score=score, reason=failure.reason, first_look=look))
    except InferOptError as error:
        return _told(replace(blank, reason=error.what))
    return _told(replace(blank, score=parity.score))


def agreement(rig: Rig, one: Contestant, setup: Setup) -> Parity:
    """In a process of its own."""
    given = {} if one.artefact is None else {one.name: one.artefact}
    starting = replace(rig, given=given).start(one.config, setup.generator, key=one.name)
    with starting.worker as worker:
        worker.receive(timeout_s=rig.timeout_s)
        return check_parity(rig, one.config, worker)


def first_look(rig: Rig, one: Contestant, base: Stock, setup: Setup) -> Estimate | None:
    """The speed of one whose answers are wrong, from a few rounds paired with stock."""
    # Its answers are known already: they are looked at again as briefly as can be.
    lax = replace(rig, tolerance=float("-inf"), checked=FEWEST_CHECKED, model=one.artefact or rig.model)
    trial = run_trial(lax, one.config, base.entrant, setup.generator)
    if not isinstance(trial, TrialResult):
        return None
    reach = STANDARD_ERRORS * trial.log_ratio_error
    return Estimate(
        value=exp_ratio(-trial.log_ratio),
        low=exp_ratio(-trial.log_ratio - reach),
        high=exp_ratio(-trial.log_ratio + reach),
    )


def compare(rig: Rig, able: Mapping[str, Contestant], base: Stock, setup: Setup, terms: Terms) -> Confirmation:
    """Epochs of everybody who agrees, stock and its clone.

    Raises:
        EvidenceError: the time was over before four of them.
    """
    budget = Budget(total_s=terms.time_s)
    size = len(able) + 2
    # The plan reckons with four epochs: so much of the time that all that are wanted fit.
    left_s = terms.time_s * LOOKS[0] / terms.epochs
    rounds = plan_rounds(size * base.setup_s, size * base.round_s, round_noise=None, left_s=left_s)
    kept: list[Epoch] = []

    def fits(cost_s: float) -> bool:
        is_short = sum(bool(epoch.values) for epoch in kept) < FEWEST_EPOCHS
        return budget.fits(cost_s) or (is_short and budget.elapsed_s < MOST_OVERTIME * terms.time_s)

    found = confirm(
        replace(rig, given={name: one.artefact for name, one in able.items() if one.artefact is not None}),
        {name: one.config for name, one in able.items()},
        base.result.config,
        generator=setup.generator,
        rounds=rounds,
        least=terms.epochs,
        most=terms.epochs,
        fits=fits,
        keep=kept.append,
    )
    usable = sum(bool(epoch.values) for epoch in found.epochs)
    say(f"  {usable} epochs of {rounds} rounds in {budget.elapsed_s:.0f} s")
    if usable < FEWEST_EPOCHS:
        raise EvidenceError(
            f"{usable} epochs were measured in {terms.time_s:.0f} s", hint="give more --time, on a quieter machine"
        )
    return found


def placed(standing: Standing, found: Confirmation) -> Standing:
    """The standing with its epochs, or with the reason why it left the contest."""
    if standing.reason is not None:
        return standing
    if standing.name in found.lost:
        return replace(standing, reason=found.lost[standing.name])
    return replace(standing, epochs=tuple(epoch.values[standing.name] for epoch in found.epochs if epoch.values))


def _told(standing: Standing) -> Standing:
    score = "" if standing.score is None else f"agreement {standing.score:.5f}"
    say(f"  {standing.name}: " + "; ".join(part for part in (score, standing.reason) if part))
    return standing


def say(line: str) -> None:
    """Where it stands."""
    print(line, file=sys.stderr, flush=True)
