"""Records a whole space: every configuration of a model, in several fresh processes, round by round, paired with stock.

What `tune` would look at in part is measured in full with the same machinery, so that a search can be replayed on it
thousands of times (python -m benchmarks.replay) and its answer be held against the best there was. In the first of the
processes each configuration is also checked against stock's outputs; what fails there is recorded with its reason.

In each process number the configurations come in a fresh random order, `--together` of them live at once beside stock
and a clone of stock; each round visits all of them in random order. A recording that was cut off goes on where it was
when the same command is given again.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import calls, record
from benchmarks.calls import Model
from benchmarks.grid_crew import Crew, Terms, bring_up, build
from benchmarks.grid_file import Grid, save
from benchmarks.grid_journal import Group, Journal, Lost, Trace, open_journal, pack

from infer_opt.budget import Budget
from infer_opt.config import TrialConfig
from infer_opt.errors import InferOptError, ModelError
from infer_opt.presets import parse_duration
from infer_opt.recipes import Recipe
from infer_opt.request import Request
from infer_opt.results import FailureKind
from infer_opt.rig import BASELINE, CLONE, Limits, Rig
from infer_opt.search.space import candidates
from infer_opt.search.surroundings import stock
from infer_opt.setting_up import Setup, scratch_folder, set_up
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.trials import DROP_RATIO, Stock, run_stock
from infer_opt.tuning import widened
from infer_opt.workers.messages import Opened
from infer_opt.workers.process import WorkerError
from infer_opt.workers.rounds import Round

NAME = "grids"
FOLDER = record.ROOT / "benchmarks" / "grids"
SETUP_BUDGET_S = 1200.0  # what time-outs of workers and builds are derived from
TRIES = 1.5  # rounds that a group may try for each that it needs
FEWEST_QUIET = 10  # undisturbed rounds that a trace should have; below it disturbed ones stand in
STOCK_RSS_BYTES = 400_000_000  # where the platform does not say what a worker takes


def record_grid(
    rig: Rig, journal: Journal, terms: Terms, *, tell: Callable[[str], None], fits: Callable[[float], bool]
) -> int:
    """Measure what the journal lacks, group by group. Gives the number of whole processes that it holds then.

    Arguments:
        fits: is asked before each group with the seconds that the dearest one so far took.

    Raises:
        ModelError: stock did not come up, or died.
    """
    configs = tuple(TrialConfig.from_dict(data) for data in journal.header["plan"]["configs"])
    stock_config = TrialConfig.from_dict(journal.header["plan"]["stock"])
    costs: list[float] = []
    for process in range(terms.processes):
        for members in waiting(journal, process, len(configs), terms):
            if not fits(max(costs, default=0.0)):
                return process
            tell(progress(journal, process, len(configs), terms))
            group = record_group(
                rig,
                {index: configs[index] for index in members},
                stock_config,
                generator=random.Random(f"{terms.seed}-{process}-{members}"),
                kind=(process, terms, {configs[index].recipe for index in journal.built}),
            )
            journal.add(group)
            costs.append(group.cost_s)
    return terms.processes


def waiting(journal: Journal, process: int, size: int, terms: Terms) -> Iterator[tuple[int, ...]]:
    """The groups that this process number still lacks, in an order of its own."""
    order = list(range(size))
    random.Random(f"{terms.seed}-{process}").shuffle(order)
    done = journal.seen(process) | (set(journal.failed) if process else set())
    left = [index for index in order if index not in done]
    for begin in range(0, len(left), terms.together):
        yield tuple(left[begin : begin + terms.together])


def progress(journal: Journal, process: int, size: int, terms: Terms) -> str:
    """Where the recording stands, and when it should be over, by what each trace has taken so far."""
    failed = journal.failed
    whole = size + (terms.processes - 1) * (size - len(failed))
    done = sum(len(one.traces) + len(one.lost) for one in journal.groups)
    line = f"process {process + 1} of {terms.processes}: {done} of {whole} traces"
    if not done:
        return line
    cost_s = sum(one.cost_s for one in journal.groups) / done
    return f"{line}, {len(failed)} failed; {(whole - done) * cost_s / 60:.1f} min left"


def record_group(
    rig: Rig, members: Mapping[int, TrialConfig], stock_config: TrialConfig, *, generator: random.Random,
    kind: tuple[int, Terms, set[Recipe]],
) -> Group:  # fmt: skip
    """Fresh processes of `members`, of stock and of its clone, and their rounds.

    Arguments:
        kind: the process number, the terms, and the recipes whose artefacts were timed before.
    """
    process, terms, built = kind
    begin = time.monotonic()
    configs = {str(index): config for index, config in members.items()}
    crew = Crew()
    builds = build(rig, configs, crew, built)
    wanted = {BASELINE: stock_config, CLONE: stock_config}
    wanted |= {key: config for key, config in configs.items() if key not in crew.lost}
    try:
        bring_up(rig, wanted, crew, generator=generator, terms=terms, check=process == 0)
        found = measure(rig, crew, generator, terms.rounds) if set(crew.entrants) - {BASELINE, CLONE} else []
    finally:
        for entrant in crew.entrants.values():
            entrant.worker.close()
    kept = quiet_enough(found, terms.rounds)
    costs = round_costs(kept)
    traces = {
        int(key): Trace(
            values=column(kept, key, terms.rounds),
            open_s=round(crew.open_s[key], 4),
            warm_s=round(crew.warm_s[key], 4),
            round_s=round(costs[key] + costs[BASELINE], 5),
            parity_s=round(crew.parity_s.get(key, 0.0), 4),
        )
        for key in crew.entrants
        if key in configs and key not in crew.lost
    }
    return Group(
        process=process,
        traces=traces,
        lost={int(key): lost for key, lost in crew.lost.items()},
        builds={int(key): round(seconds, 3) for key, seconds in builds.items()},
        stock=column(kept, BASELINE, terms.rounds),
        clone=column(kept, CLONE, terms.rounds),
        tried=len(found),
        discarded=sum(one.discarded is not None for one in found),
        cost_s=round(time.monotonic() - begin, 2),
    )


def measure(rig: Rig, crew: Crew, generator: random.Random, wanted: int) -> list[Round]:
    """Rounds of everyone that is live until `wanted` were undisturbed, or one and a half times as many were tried."""
    found: list[Round] = []
    live = dict(crew.entrants)
    while sum(one.discarded is None for one in found) < wanted and len(found) < TRIES * wanted:
        one = rig.round(live, len(found), generator)
        found.append(one)
        for key, error in one.lost.items():
            if key in (BASELINE, CLONE):
                raise ModelError(f"the stock session died in a round: {error.what}")
            reason = error.kind if isinstance(error, WorkerError) else FailureKind.ERROR
            crew.lost[key] = Lost(kind=reason, reason=error.what, cost_s=crew.spent_s(key))
            live.pop(key)
    return found


def quiet_enough(found: Sequence[Round], wanted: int) -> list[Round]:
    """The undisturbed rounds; where there are too few, disturbed ones too: pairs are disturbed alike."""
    quiet = [one for one in found if one.discarded is None]
    return quiet if len(quiet) >= min(FEWEST_QUIET, wanted) else list(found[:wanted])


def round_costs(found: Sequence[Round]) -> dict[str, float]:
    """What a block of each took of a round, in seconds: the round's time, shared out by the time of the timed runs."""
    shares: dict[str, list[float]] = {}
    for one in found:
        timed = {key: sum(block.latency_ns) for key, block in one.blocks.items()}
        for key, own in timed.items():
            shares.setdefault(key, []).append(one.cost_s * own / sum(timed.values()))
    return {key: sum(costs) / len(costs) for key, costs in shares.items()}


def column(found: Sequence[Round], key: str, wanted: int) -> tuple[float | None, ...]:
    """A member's values by round, None at the end where rounds are lacking."""
    values = [None if key not in one.values else round(one.values[key], 6) for one in found]
    return (*values, *([None] * (wanted - len(values))))


def settled(setup: Setup, base: Stock) -> Rig:
    """The rig that knows how far stock agrees with itself, as in a tuning."""
    rig = replace(setup.rig, checked=base.checked, baseline_metric=base.metric)
    return rig if base.is_deterministic else replace(rig, tolerance=widened(rig.tolerance, base.self_parity.score))


def launch_seconds(rig: Rig, stock_config: TrialConfig, generator: random.Random) -> float:
    """What a process takes from its start until it has opened, besides opening its session and the first run."""
    starting = rig.start(stock_config, generator)
    with starting.worker as worker:
        opened: Opened = worker.receive(timeout_s=rig.timeout_s)
        return max(0.0, time.monotonic() - starting.began_s - (opened.open_ns + opened.first_run_ns) / 1e9)


def affordable(rig: Rig, base: Stock, wanted: int) -> int:
    """How many fit into memory beside stock and its clone, each as large as stock was at its peak."""
    if rig.cap_bytes is None:
        return wanted
    each = base.result.readings.peak_rss_bytes or STOCK_RSS_BYTES
    return max(1, min(wanted, rig.cap_bytes // each - 2))


def record_model(model: Model, options: argparse.Namespace, argv: Sequence[str], budget: Budget) -> Grid | None:
    """One model from its inspection to its file; None where the time was out before two processes were whole."""
    limits = Limits(min_parity=options.min_parity)
    request = Request(model=model.path, inputs=model.inputs, limits=limits, seed=options.seed)
    with scratch_folder() as scratch, ArtefactCache(scratch / "artefacts") as cache:
        setup = set_up(request, scratch, cache, budget_s=SETUP_BUDGET_S)
        stock_config = stock(setup.surroundings)
        configs = candidates(setup.surroundings, wide=options.wide)[: options.limit]
        base = run_stock(setup.rig, stock_config, setup.generator)
        base.entrant.worker.close()
        rig = settled(setup, base)
        terms = Terms(
            seed=options.seed,
            processes=options.processes,
            rounds=options.rounds,
            together=affordable(rig, base, options.together),
            launch_s=launch_seconds(rig, stock_config, setup.generator),
            drop_above_ns=DROP_RATIO * base.entrant.latency_ns / stock_config.batch,
        )
        path = options.folder / f"{model.name}-{len(configs)}.npz"
        plan = plan_of(setup, configs, stock_config, terms)
        about = asdict(record.begin(NAME, argv)) | {"is_wide": options.wide, "notes": [n.text for n in setup.notes]}
        header = {"model": model.name, "cores": max(1, int(setup.rig.machine.usable_cores)), "plan": plan}
        journal = open_journal(path.with_suffix(".jsonl"), header | {"about": about})
        print(f"{model.name}: {len(configs)} configurations, {terms.together} at once", file=sys.stderr)
        whole = record_grid(
            rig, journal, terms, tell=lambda line: print(f"{model.name}: {line}", file=sys.stderr), fits=budget.fits
        )
    if whole < min(2, options.processes):
        return None
    grid = pack(journal, processes=whole)
    save(grid, path)
    print(f"{model.name}: {path} ({path.stat().st_size / 1000:.0f} kB, {whole} processes)", file=sys.stderr)
    return grid


def plan_of(setup: Setup, configs: Sequence[TrialConfig], stock_config: TrialConfig, terms: Terms) -> dict[str, Any]:
    """What must not change while a recording goes on."""
    rig = setup.rig
    return {
        "content_hash": rig.facts.content_hash,
        "machine": rig.machine.fingerprint,
        "versions": dict(rig.machine.versions),
        "seed": terms.seed,
        "rounds": terms.rounds,
        "tolerance": rig.tolerance,
        "stock": stock_config.to_dict(),
        "configs": [config.to_dict() for config in configs],
    }


def row(grid: Grid) -> list[object]:
    """A line for people: how many ran, the fastest, and how noisy a process is."""
    ratios = grid.log_ratios()
    traces = {
        index: [float(np.nanmedian(ratios[index, process])) for process in grid.processes_of(index)]
        for index in range(grid.size)
        if grid.processes_of(index)
    }
    if not traces:
        return [grid.model, grid.size, 0, len(grid.failures), None, None, None]
    best = min(traces, key=lambda index: float(np.mean(traces[index])))
    spreads = [float(np.std(values, ddof=1)) for values in traces.values() if len(values) > 1]
    speed, spread = float(np.exp(-np.mean(traces[best]))), float(np.median(spreads)) if spreads else None
    return [grid.model, grid.size, len(traces), len(grid.failures), grid.configs[best].label, speed, spread]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{NAME}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="names in models/, or paths")
    parser.add_argument("--wide", action="store_true", help="the wide space, of up to 2,000 configurations")
    parser.add_argument("--processes", type=int, default=3, help="fresh processes of each configuration (default 3)")
    parser.add_argument("--rounds", type=int, default=30, help="rounds in each of them (default 30)")
    parser.add_argument("--together", type=int, default=12, help="configurations that are live at once (default 12)")
    parser.add_argument("--limit", type=int, help="only the first so many of the space")
    parser.add_argument("--time", default="2h", help="stop before a group that would end later (default 2h)")
    parser.add_argument("--min-parity", type=float, help="agreement with stock's outputs that is asked for")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where grids lie (default benchmarks/grids)")
    parser.add_argument("--seed", type=int, default=0, help="seed of random orders (default 0)")
    options = parser.parse_args(argv)
    if min(options.processes, options.rounds, options.together) < 1:
        parser.error("--processes, --rounds and --together must be 1 or more")
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    budget = Budget(total_s=parse_duration(options.time))
    found = []
    try:
        for model in calls.models(options.models):
            grid = record_model(model, options, argv, budget)
            if grid is None:
                print(f"{model.name}: the time is out; the same command goes on from here", file=sys.stderr)
                return 1
            found.append(grid)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except InferOptError as error:
        print(f"{error.what}; the same command goes on from here", file=sys.stderr)
        return error.exit_code
    headings = ["model", "configurations", "ran", "failed", "fastest", "x stock's speed", "process spread (ln)"]
    return record.report(headings, [row(grid) for grid in found], (), options.folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
