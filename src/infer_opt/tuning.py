"""`infer-opt tune`: inspect, screen, race, confirm, bundle. Each chapter lives on the floor below."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infer_opt import bundle, concluding
from infer_opt.budget import Budget
from infer_opt.causes import Diagnosis
from infer_opt.concluding import Outcome
from infer_opt.config import TrialConfig
from infer_opt.confirming import FEWEST_ROUNDS, Confirmation, Epoch, confirm, plan_rounds
from infer_opt.errors import ModelError
from infer_opt.exploring import SHARE, explore, offered, refuted
from infer_opt.machine.cgroup import throttled_ns
from infer_opt.planning import plan_of
from infer_opt.presets import PER_LAYER, Preset
from infer_opt.racing import Race, race
from infer_opt.reports.documents import tuning_document
from infer_opt.request import Request
from infer_opt.results import Caution, Frontier, Note, Progress, Search, Trial, TrialResult, Tuning
from infer_opt.rig import Rig
from infer_opt.screening import costs_of, screen
from infer_opt.search.knee import open_search
from infer_opt.search.promise import offered_knobs, suspected_knobs
from infer_opt.search.quiet import stock_levels
from infer_opt.search.space import candidates
from infer_opt.search.strategies import Problem, open_strategy
from infer_opt.search.surroundings import stock
from infer_opt.setting_up import Setup, cache_folder, scratch_folder, set_up
from infer_opt.stats.confirm import DEFAULT_ROUNDS, LOOKS
from infer_opt.stats.levels import quiet_level
from infer_opt.store.database import Store
from infer_opt.store.phases import CONFIRM, PRECISION, PROFILE, RACE, SCREEN, STOCK
from infer_opt.suspecting import diagnoses_from, diagnoses_record, suspect
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.trials import Stock, run_stock
from infer_opt.workers.process import WorkerError

SCREEN_SHARE = 0.55  # of the budget at most: an unconfirmed winner is worth nothing
LEAST_RACE = 10  # rounds
PROFILE_S, PROFILE_SHARE = 2.0, 0.02  # of a profile of stock: at most so long, and so much of the budget
SLACK = 1.25  # by which epochs take longer than planned, or the fourth finds no time and nothing is proven
WRITING_S = 1.0  # what the bundle and the report take at the end
CACHE_BYTES = 10_000_000_000
GUIDED = ("gp", "tpe")  # strategies that learn from trials of earlier tunings
SLOWER = 10  # a worker that takes this many times what stock took for the same thing hangs

Show = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One call of `tune`: the request, how much to try, and where results go."""

    request: Request
    preset: Preset
    out: Path
    force: bool = False
    resume: bool = False
    keep_default: bool = False
    store_url: str | None = None
    search: str | None = None
    ignore_earlier: bool = False

    @property
    def strategy(self) -> str:
        """The search strategy: the one asked for, or the preset's."""
        return self.search or self.preset.search


def tune(errand: Errand, *, budget: Budget, show: Show) -> Tuning:
    """The fastest configuration that is proven faster than stock and agrees with it, as a bundle; or stock, and why.

    Raises:
        InferOptError: the request cannot be met, or the model does not run at all. A failed trial never raises.
    """
    bundle.check_target(errand.out, force=errand.force)
    # A library that is missing is said before any time is spent.
    open_strategy(errand.strategy, Problem(candidates=(), stock=TrialConfig(), most=1))
    with (
        Store.open(errand.store_url) as store,
        scratch_folder() as scratch,
        ArtefactCache(cache_folder() / "artefacts") as cache,
    ):
        throttled = throttled_ns()
        show(Progress(stage="inspect", detail=str(errand.request.model)))
        setup = set_up(errand.request, scratch, cache, budget_s=budget.total_s)
        notebook = _open_notebook(store, errand, setup)
        show(Progress(stage="stock", detail="opening the model as given"))
        base, setup = _measure_stock(setup)
        try:
            store.save_trial(notebook.id, base.result, phase=STOCK)
            setup = _suspect(errand, setup, base, notebook, budget, show)
            setup = _explore(errand, setup, notebook, budget, show)
            screened = _screen(errand, setup, base, notebook, budget, show)
        finally:
            base.entrant.worker.close()
        trials = screened.trials
        raced = _race(errand, setup, base, screened, notebook, budget, show)
        confirmation = _confirm(errand, setup, base, raced, notebook, budget, show)
        outcome = concluding.conclude(setup, base, trials, raced, confirmation, was_interrupted=budget.was_interrupted)
        outcome = replace(outcome, notes=outcome.notes + _throttling(throttled, throttled_ns()))
        show(Progress(stage="bundle", detail=str(errand.out)))
        tuning = _result(errand, setup, outcome, screened, budget)
        concluding.write_bundle(setup, tuning, errand.out, keep_default=errand.keep_default)
        if not budget.was_interrupted:
            store.finish(notebook.id, tuning_document(tuning))
            tuning = replace(tuning, kept_as=notebook.id)
        cache.prune(CACHE_BYTES)
        return tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What was tried, who of it should race, the most promising first, and how it was searched."""

    trials: tuple[Trial, ...]
    promising: tuple[TrialResult, ...]
    search: Search


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """This tuning's place in the store, and what an earlier, cut-off call of it left there."""

    store: Store
    id: str
    trials: tuple[Trial, ...] = ()
    earlier: tuple[Trial, ...] = ()
    diagnoses: tuple[Diagnosis, ...] | None = None
    frontiers: tuple[Frontier, ...] = ()
    finalists: tuple[str, ...] = ()
    epochs: tuple[Epoch, ...] = ()


def _open_notebook(store: Store, errand: Errand, setup: Setup) -> Notebook:
    preset = errand.preset
    plan = {
        "trials": preset.trials, "space": preset.space, "precision": preset.precision, "search": errand.strategy
    }  # fmt: skip
    key, subject = errand.request.key(setup.rig, plan), errand.request.subject(setup.rig)
    known = store.unfinished(key) if errand.resume else None
    number = known or store.begin(key, errand.request.to_dict(), subject_key=subject)
    earlier = () if errand.ignore_earlier else store.earlier(subject, phase=SCREEN, but=number)
    if known is None:
        return Notebook(store=store, id=number, earlier=earlier)
    races = store.records(known, RACE)
    finalists = tuple(races[-1].payload["finalists"]) if races else ()
    trials = store.trials(known, SCREEN)
    epochs = tuple(concluding.epoch_from(record.payload) for record in store.records(known, CONFIRM))
    return Notebook(
        store=store,
        id=known,
        trials=trials,
        earlier=earlier,
        # The order in which an earlier call went on must be this one's too, even if it knew of no diagnoses.
        diagnoses=diagnoses_from([record.payload for record in store.records(known, PROFILE)], began=bool(trials)),
        frontiers=tuple(concluding.frontier_from(record.payload) for record in store.records(known, PRECISION)),
        finalists=finalists,
        epochs=tuple(epoch for epoch in epochs if concluding.is_complete(epoch, finalists)),
    )


def _measure_stock(setup: Setup) -> tuple[Stock, Setup]:
    """The live baseline, and a rig that knows what it needs of it: its metric, its own noise, how much to check."""
    try:
        base = run_stock(setup.rig, stock(setup.surroundings), setup.generator)
    except WorkerError as error:
        raise ModelError(
            f"the model does not run with stock settings: {error.what}", hint="infer-opt doctor looks at the machine"
        ) from error
    rig, notes = setup.rig, list(setup.notes)
    if not base.is_deterministic:
        agreement = base.self_parity.score
        text = f"two runs of stock on the same inputs agree to {agreement:.6f}: trials may lie twice as far from it"
        notes.append(Note(caution=Caution.NONDETERMINISTIC, text=text))
        rig = replace(rig, tolerance=widened(rig.tolerance, base.self_parity.score))
    rig = replace(
        rig,
        baseline_metric=base.metric,
        checked=base.checked,
        timeout_s=max(rig.timeout_s, SLOWER * base.setup_s),
        build_timeout_s=max(rig.build_timeout_s, SLOWER * base.setup_s),
    )
    return base, replace(setup, rig=rig, notes=(*notes, *base.result.notes))


def widened(tolerance: float, agreement: float) -> float:
    """The tolerance for a model that agrees with itself only so far: twice that distance from 1 is allowed.

    Once that distance is what a single pair of runs showed; half of all other pairs lie further apart.
    """
    return min(tolerance, 1 - 2 * (1 - agreement))


def _suspect(
    errand: Errand, setup: Setup, base: Stock, notebook: Notebook, budget: Budget, show: Show
) -> Setup:  # fmt: skip
    """What a short profile of stock says would help, which the space then tries first."""
    diagnoses = notebook.diagnoses
    if diagnoses is None:
        if budget.left_s <= 0:
            return setup  # nothing is tried in this call: the one that goes on from here looks
        show(Progress(stage="look", detail="where the time of stock goes"))
        seconds = min(PROFILE_S, PROFILE_SHARE * budget.total_s, budget.left_s)
        diagnoses = suspect(setup.rig, base.result, seconds=seconds)
        notebook.store.save_rounds(notebook.id, PROFILE, 0, diagnoses_record(diagnoses))
    knobs = suspected_knobs(diagnoses, errand.request.objective)
    return replace(setup, diagnoses=diagnoses, surroundings=replace(setup.surroundings, suspected=knobs))


def _explore(errand: Errand, setup: Setup, notebook: Notebook, budget: Budget, show: Show) -> Setup:
    """Precision by layer, where the preset asks for it; the space then holds what came of it."""
    frontiers = notebook.frontiers
    if errand.preset.precision == PER_LAYER and not notebook.finalists:
        show(Progress(stage="precision", detail="which layers INT8 suits"))
        frontiers = explore(
            setup.rig,
            setup.surroundings,
            seconds=min(SHARE * budget.total_s, budget.left_s),
            known=frontiers,
            keep=lambda found: notebook.store.save_rounds(notebook.id, PRECISION, 0, concluding.frontier_record(found)),
        )
    return replace(
        setup,
        frontiers=frontiers,
        surroundings=replace(
            setup.surroundings,
            mixed=offered(frontiers),
            refuted=refuted(frontiers, tolerance=setup.rig.tolerance),
        ),
    )


def _screen(errand: Errand, setup: Setup, base: Stock, notebook: Notebook, budget: Budget, show: Show) -> Screened:
    """What the strategy asks for, as far as time allows; each trial is kept at once."""
    space = candidates(setup.surroundings, wide=errand.preset.space == "wide")
    known = set(space)
    problem = Problem(
        candidates=space,
        stock=stock(setup.surroundings),
        most=errand.preset.trials,
        seed=errand.request.seed,
        cores=min(setup.rig.machine.physical_cores, max(1, int(setup.rig.machine.usable_cores))),
        costs=costs_of(base),
        earlier=tuple(trial for trial in notebook.earlier if trial.config in known),
    )
    strategy = open_search(errand.strategy, problem)
    reserve = _reserve_s(base, budget)

    def goes_on(done: Sequence[Trial], waiting: Sequence[TrialConfig], cost_s: float) -> bool:
        spent = budget.elapsed_s + cost_s > SCREEN_SHARE * budget.total_s and len(done) > 0
        if notebook.finalists or spent or not budget.fits(cost_s, reserve_s=reserve):
            return False
        total = max(len(done) + len(waiting), min(problem.most, len(space)))
        show(Progress(stage="screen", done=len(done), total=total, detail=waiting[0].label))
        return True

    trials = screen(
        setup.rig,
        strategy,
        base,
        generator=setup.generator,
        done=[trial for trial in notebook.trials if trial.config in known],
        goes_on=goes_on,
        keep=lambda trial: notebook.store.save_trial(notebook.id, trial, phase=SCREEN),
    )
    search = Search(
        strategy=errand.strategy,
        configurations=len(space),
        screened=len(trials),
        earlier=len(problem.earlier) if errand.strategy in GUIDED else 0,
        chance_left=strategy.chance_left,
        suspected=offered_knobs(setup.surroundings.suspected, space, problem.stock),
    )
    promising = strategy.promising(trials, most=errand.preset.entrants)
    return Screened(trials=trials, promising=promising, search=search)


def _race(
    errand: Errand, setup: Setup, base: Stock, screened: Screened, notebook: Notebook, budget: Budget, show: Show
) -> Race | None:
    """The promising ones live at once; one alone needs no race."""
    trials, entrants = screened.trials, _affordable(setup.rig, screened.promising)
    by_key = {trial.config.key: trial.config for trial in entrants}
    finalists = 1 + errand.preset.rivals
    if notebook.finalists:
        survivors = tuple(key for key in notebook.finalists if any(trial.config.key == key for trial in trials))
        return concluding.settled_race(survivors, trials)
    reserve = _reserve_s(base, budget)
    # Everybody comes up once, and fewer than ten rounds would hardly eliminate anyone.
    least_s = (len(by_key) + 2) * (base.setup_s / 2 + LEAST_RACE * base.round_s)
    raced = concluding.settled_race(tuple(by_key), trials)
    if len(by_key) > 1 and budget.fits(least_s, reserve_s=reserve):
        show(Progress(stage="race", detail=f"{len(by_key)} configurations against stock"))
        found = race(
            setup.rig,
            by_key,
            base.result.config,
            generator=setup.generator,
            goes_on=lambda cost_s: budget.fits(cost_s, reserve_s=reserve),
            finalists=finalists,
            quiet=quiet_level(stock_levels([base.result, *trials])),
        )
        raced = concluding.break_ties(found, trials) if found.rounds else raced
    raced = replace(raced, survivors=concluding.finalists_of(raced, most=finalists))
    notebook.store.save_rounds(notebook.id, RACE, 0, {"finalists": list(raced.survivors), "rounds": raced.rounds})
    return raced


def _confirm(
    errand: Errand, setup: Setup, base: Stock, raced: Race | None, notebook: Notebook, budget: Budget, show: Show
) -> Confirmation | None:
    """Fresh processes, fresh data: the only source of claims."""
    if raced is None or not raced.survivors:
        return None
    contenders = {key: raced.configs[key] for key in raced.survivors}
    entry_s = max(base.setup_s, raced.entry_s)  # stock comes up faster than a contender may
    cost_s = SLACK * LOOKS[0] * (entry_s + FEWEST_ROUNDS * base.round_s)
    while len(contenders) > 1 and not budget.fits(cost_s * (len(contenders) + 2), reserve_s=WRITING_S):
        contenders.popitem()  # a proof of the winner comes before rivals
    setup_s = entry_s * (len(contenders) + 2)
    round_s = base.round_s * (len(contenders) + 2)
    rounds = plan_rounds(
        setup_s,
        round_s,
        round_noise=raced.round_noise,
        left_s=(budget.left_s - WRITING_S) / SLACK,
        objective=setup.rig.objective,
    )
    seen = list(notebook.epochs)

    def keep(epoch: Epoch) -> None:
        notebook.store.save_rounds(notebook.id, CONFIRM, len(seen), concluding.epoch_record(epoch))
        seen.append(epoch)

    def fits(cost_s: float) -> bool:
        show(Progress(stage="confirm", done=len(seen), total=errand.preset.epochs, detail=_names(contenders)))
        expected = cost_s or setup_s + rounds * round_s
        return budget.fits(expected, reserve_s=WRITING_S)

    return confirm(
        setup.rig,
        contenders,
        base.result.config,
        generator=setup.generator,
        rounds=rounds,
        most=errand.preset.epochs,
        fits=fits,
        done=notebook.epochs,
        keep=keep,
    )


def _names(contenders: Mapping[str, TrialConfig]) -> str:
    return ", ".join(config.label for config in contenders.values())


def _reserve_s(base: Stock, budget: Budget) -> float:
    """What is kept for the confirmation: its first look, of stock, its clone and the winner, within its share."""
    first_look = SLACK * LOOKS[0] * 3 * (base.setup_s + DEFAULT_ROUNDS * base.round_s)
    return min(first_look, (1 - SCREEN_SHARE) * budget.total_s) + WRITING_S


def _affordable(rig: Rig, entrants: Sequence[TrialResult]) -> tuple[TrialResult, ...]:
    """As many of the best as fit into memory at once, beside stock and its clone."""
    if rig.cap_bytes is None:
        return tuple(entrants)
    kept: list[TrialResult] = []
    used = 0
    for trial in entrants:
        used += trial.readings.peak_rss_bytes or 0
        if used * (len(kept) + 3) / (len(kept) + 1) > rig.cap_bytes and kept:
            break
        kept.append(trial)
    return tuple(kept)


def _throttling(before: int | None, after: int | None) -> tuple[Note, ...]:
    """A label, not a reason to discard: what a configuration does to itself with a quota is its own doing."""
    if before is None or after is None or after <= before:
        return ()
    text = f"the CPU quota of this control group held its threads back for {(after - before) / 1e9:.1f} s meanwhile"
    return (Note(caution=Caution.THROTTLED, text=text),)


def _result(errand: Errand, setup: Setup, outcome: Outcome, screened: Screened, budget: Budget) -> Tuning:
    return Tuning(
        verdict=outcome.verdict,
        reason=outcome.reason,
        objective=setup.rig.objective,
        model=setup.rig.facts,
        machine=setup.rig.machine,
        baseline=outcome.baseline,
        winner=outcome.winner,
        comparison=outcome.comparison,
        standings=outcome.standings,
        search=screened.search,
        frontiers=setup.frontiers,
        diagnoses=setup.diagnoses,
        plan=plan_of(setup.rig, outcome.baseline, outcome.winner, screened.trials),
        notes=(*setup.notes, *outcome.notes),
        bundle=str(errand.out),
        elapsed_s=budget.elapsed_s,
        budget_s=budget.total_s,
        settings=_settings(errand),
    )


def _settings(errand: Errand) -> dict[str, Any]:
    """What was asked for, as plain JSON types."""
    return errand.request.to_dict() | {
        "preset": {name: getattr(errand.preset, name) for name in errand.preset.__struct_fields__},
        "keep_default": errand.keep_default,
        "search": errand.strategy,
    }
