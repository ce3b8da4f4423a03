"""Searches replayed on recorded grids: how much slower what they pick is than the best, and what share they looked at.

A recorded grid (python -m benchmarks.grids) stands in for the machine. A trial takes one of the recorded processes of a
configuration and five consecutive rounds of it; the race of the best eight runs on whole processes, others than those
screened where there are any; a confirmation of four fresh processes decides which finalist holds. Each run of a
strategy has a seed of its own. Usual spaces are tuned as the preset default says, wide ones as thorough.

Regret is held against the shrunk truth of the grid (benchmarks/replaying/truth.py): what the pick loses, as is to be
expected, against the best pick of somebody who had the whole grid. Raw regret, against the lowest recorded mean, also
counts the grid's own noise; held-out regret compares on processes that the run did not draw, without a model. The share
is the seconds of the screen by the seconds of screening every configuration once; the race is counted apart.
"""

import argparse
import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import record
from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.grid_file import load
from benchmarks.record import Target
from benchmarks.replaying.machine import RecordedMachine
from benchmarks.replaying.run import AS_TUNE, VARIANTS, Outcome, Plan, replay
from benchmarks.replaying.truth import Truth, find_truth
from tabulate import tabulate

from infer_opt.presets import Preset, load_preset
from infer_opt.search.strategies import STRATEGIES

NAME = "replay"
ROW = 8
FOLDER = record.ROOT / "benchmarks" / "grids"
SEEDS = 1000
CHUNK = 5  # runs that a worker does at a time
LARGE = 550  # configurations, half way from 200 to 1,500: above it the promise for large spaces holds
PRESETS = {"about 200": "default", "about 1,500": "thorough"}  # whose search, trials, entrants and rivals are replayed
PROMISES = {"about 200": (1.5, 35.0), "about 1,500": (2.0, 12.0)}  # p95 regret and share of the grid's cost, in %
FAR = 0.03  # regret that counts as a wrong answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Runs of one strategy on one grid."""

    grid: Path
    strategy: str
    most: int
    seeds: tuple[int, ...]
    variants: tuple[str, ...]
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the runs of one strategy on one grid came to, by one way of racing and confirming.

    Regrets and shares in %; `p95_beyond` is that of the regret which the grid's own error does not explain; `held_out`
    is the mean over runs, with its standard error. `expected_left` is the mean of the strategy's own probability that
    something better was left; `better_left` how often that was so.
    """

    grid: str
    size: int
    strategy: str
    variant: str
    runs: int
    median: float
    p95: float
    p95_beyond: float
    far: float
    raw_median: float
    raw_p95: float
    held_out: float | None
    held_out_error: float | None
    share: float
    share_p95: float
    trials: float
    race_rounds: float
    race_share: float
    better_left: float
    expected_left: float | None
    seconds: float


def run(task: Task) -> tuple[list[Outcome], float]:
    """The outcomes of a task, and the seconds that it took."""
    machine, truth = _opened(task.grid)
    begin = time.perf_counter()
    found = [
        replay(machine, truth, task.strategy, most=task.most, seed=seed, plan=task.plan, variants=task.variants)
        for seed in task.seeds
    ]
    return found, time.perf_counter() - begin


@lru_cache(maxsize=1)
def _opened(path: Path) -> tuple[RecordedMachine, Truth]:
    machine = RecordedMachine(load(path))
    return machine, find_truth(machine)


def run_all(tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, list[Outcome], float]]:
    """Every task, in order, on so many processes; in this one when it is one."""
    if workers == 1:
        for task in tasks:
            yield task, *run(task)
        return
    with _single_threaded(), ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for task, (found, seconds) in zip(tasks, pool.map(run, tasks), strict=True):
            yield task, found, seconds


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes that start meanwhile do their linear algebra on one thread: threads of two that wait for each other
    by spinning on two cores make a run of the Gaussian process take twenty times as long.
    """
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def chunks(task: Task) -> list[Task]:
    """The same runs in pieces that keep every core busy to the end."""
    pieces = [task.seeds[begin : begin + CHUNK] for begin in range(0, len(task.seeds), CHUNK)]
    return [replace(task, seeds=piece) for piece in pieces]


def replay_all(tasks: Sequence[Task], *, workers: int) -> Mapping[Task, tuple[list[Outcome], float]]:
    """The outcomes of each task by its seeds, and the seconds that its runs took together."""
    found: dict[Task, tuple[list[Outcome], float]] = {task: ([], 0.0) for task in tasks}
    pieces = [(task, piece) for task in tasks for piece in chunks(task)]
    owners = iter(task for task, _ in pieces)
    for _, outcomes, seconds in run_all([piece for _, piece in pieces], workers):
        task = next(owners)
        found[task] = ([*found[task][0], *outcomes], found[task][1] + seconds)
        if len(found[task][0]) == len(task.seeds):
            each_s = found[task][1] / len(task.seeds)
            print(f"{task.grid.stem}: {task.strategy}, {len(task.seeds)} runs of {each_s:.2f} s", file=sys.stderr)
    return found


def summarise(task: Task, outcomes: Sequence[Outcome], seconds: float) -> list[Summary]:
    """A line for each variant."""
    machine, _ = _opened(task.grid)
    shares = [100 * outcome.share for outcome in outcomes]
    chances = [outcome.chance_left for outcome in outcomes if outcome.chance_left is not None]
    lines = []
    for variant in task.variants:
        picked = [outcome.picked[variant] for outcome in outcomes]
        regrets, raw = ([100 * getattr(one, name) for one in picked] for name in ("regret", "raw_regret"))
        held = [100 * one.held_out for one in picked if one.held_out is not None]
        lines.append(
            Summary(
                grid=task.grid.stem,
                size=machine.grid.size,
                strategy=task.strategy,
                variant=variant,
                runs=len(outcomes),
                median=float(np.median(regrets)),
                p95=float(np.percentile(regrets, 95)),
                p95_beyond=float(np.percentile([100 * one.beyond for one in picked], 95)),
                far=100 * sum(regret > 100 * FAR for regret in regrets) / len(regrets),
                raw_median=float(np.median(raw)),
                raw_p95=float(np.percentile(raw, 95)),
                held_out=float(np.mean(held)) if held else None,
                held_out_error=float(np.std(held, ddof=1) / len(held) ** 0.5) if len(held) > 1 else None,
                share=float(np.median(shares)),
                share_p95=float(np.percentile(shares, 95)),
                trials=float(np.mean([outcome.trials for outcome in outcomes])),
                race_rounds=float(np.mean([one.race_rounds for one in picked])),
                race_share=100 * float(np.mean([one.race_s for one in picked])) / machine.whole_s,
                better_left=100 * sum(outcome.is_better_left for outcome in outcomes) / len(outcomes),
                expected_left=100 * float(np.mean(chances)) if chances else None,
                seconds=seconds / len(outcomes),
            )
        )
    return lines


def promise_of(size: int) -> str:
    """Which of the promises holds for a space of so many configurations."""
    return "about 1,500" if size > LARGE else "about 200"


def preset_of(path: Path) -> Preset:
    """The preset that a grid of this size is tuned by."""
    return load_preset(PRESETS[promise_of(_opened(path)[0].grid.size)])


def task_of(path: Path, strategy: str | None, seeds: Sequence[int], variants: Sequence[str] = (AS_TUNE,)) -> Task:
    """Runs as the preset for that grid says, with its own strategy unless another is named."""
    preset = preset_of(path)
    return Task(
        grid=path,
        strategy=strategy or preset.search,
        most=preset.trials,
        seeds=tuple(seeds),
        variants=tuple(variants),
        plan=Plan(entrants=preset.entrants, rivals=preset.rivals),
    )


def lines_of(summaries: Sequence[Summary]) -> list[Evidence]:
    """Row 8 of the contract's tests: each recorded grid with its preset's strategy, and what was not recorded."""
    found = []
    shipped = {name: load_preset(preset).search for name, preset in PRESETS.items()}
    chosen = [one for one in summaries if (one.strategy, one.variant) == (shipped[promise_of(one.size)], AS_TUNE)]
    for one in chosen:
        regret, share = PROMISES[promise_of(one.size)]
        setting = f"{one.grid}, {one.size:,} configurations, {one.strategy}, {one.runs:,} seeds"
        targets = (
            Target(name=f"{one.grid}: p95 regret", unit="%", measured=one.p95, at_most=regret),
            Target(name=f"{one.grid}: share of the grid's cost", unit="%", measured=one.share, at_most=share),
        )
        cause = f"its best differ by less than the recording's own error: beyond that, p95 is {one.p95_beyond:.2g} %"
        found += [_line(setting, targets[0], cause * (not targets[0].is_met)), _line(setting, targets[1])]
    for name in sorted(set(PROMISES) - {promise_of(one.size) for one in chosen}):
        regret, _ = PROMISES[name]
        target = Target(name=f"N {name}: p95 regret", unit="%", measured=None, at_most=regret)
        cause = "no grid of that size is recorded: python -m benchmarks.grids MODEL" + " --wide" * (name != "about 200")
        found.append(_line(f"N {name}", target, cause))
    return found


def _line(setting: str, target: Target, cause: str = "") -> Evidence:
    return Evidence(row=ROW, tier=Tier.REPLAYED, setting=setting, target=target, cause=cause)


def evidence(scale: float, seed: int, *, folder: Path = FOLDER, workers: int = 2) -> Findings:
    """Row 8 for the default strategy on the committed grids, with `scale` times 1,000 seeds from `seed` on."""
    seeds = range(seed, seed + max(1, round(scale * SEEDS)))
    tasks = [task_of(path, None, seeds) for path in sorted(folder.glob("*.npz"))]
    found = replay_all(tasks, workers=workers)
    summaries = [line for task, (outcomes, seconds) in found.items() for line in summarise(task, outcomes, seconds)]
    return Findings(
        evidence=lines_of(summaries),
        results={one.grid: asdict(one) for one in summaries},
    )


def by_strategy(text: str, names: Sequence[str]) -> dict[str, int]:
    """`1000` for all of `names`, or `gp=200,1000`: so many for gp, 1,000 for the others.

    Raises:
        ValueError: a number is not one, or a name is none of `names`.
    """
    given: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        if name and name not in names:
            raise ValueError(f"{name!r} is none of {', '.join(names)}")
        given[name] = int(number)
    missing = [name for name in names if name not in given and "" not in given]
    if missing:
        raise ValueError(f"{text!r} gives no number for {', '.join(missing)}")
    return {name: given.get(name, given.get("", 0)) for name in names}


def details(path: Path) -> dict[str, Any]:
    """What a grid is, for the record: its own noise above all."""
    machine, truth = _opened(path)
    grid = machine.grid
    best = int(np.nanargmin(truth.shrunk)) if np.isfinite(truth.shrunk).any() else None
    return {
        "model": grid.model,
        "configurations": grid.size,
        "failed": len(grid.failures),
        "processes": grid.values.shape[1],
        "rounds": grid.values.shape[2],
        "cost_s": machine.whole_s,
        "fastest": None if best is None else grid.configs[best].label,
        "fastest_log_ratio": None if best is None else float(truth.shrunk[best]),
        "process_spread": truth.process_spread,
        "interaction_spread": truth.interaction_spread,
        "standard_error": float(np.nanmean(truth.error)),
        "blind": truth.blind,
        "command": grid.about.get("command"),
        "commit": grid.about.get("commit"),
        "began": grid.about.get("began"),
    }


SHOWN = 12  # of a grid's details, on the screen: its size and its noise
HEADINGS = (
    "grid", "strategy", "variant", "runs", "median %", "p95 %", "beyond error", "> 3 %", "raw median", "raw p95",
    "held out",
    "share %", "trials", "race rounds", "race share %", "better left %", "expected %", "s a run",
)  # fmt: skip


def row(one: Summary) -> list[object]:
    """A line for people."""
    return [
        one.grid, one.strategy, one.variant, one.runs, one.median, one.p95, one.p95_beyond, one.far, one.raw_median,
        one.raw_p95, one.held_out, one.share, one.trials, one.race_rounds, one.race_share, one.better_left,
        one.expected_left, one.seconds,
    ]  # fmt: skip


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; numbers by strategy are made out."""
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--grids", nargs="+", type=Path, help="recorded grids (default: all in benchmarks/grids)")
    parser.add_argument("--strategies", default=",".join(STRATEGIES), help=f"of {','.join(STRATEGIES)} (default: all)")
    parser.add_argument("--seeds", default=str(SEEDS), help="runs of each: 1000, or gp=200,1000 (default 1000)")
    parser.add_argument("--trials", help="most trials of each, as --seeds (default: the preset's)")
    parser.add_argument("--variants", default=AS_TUNE, help=f"all, or of: {', '.join(VARIANTS)} (default: {AS_TUNE})")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    options = parser.parse_args(argv)
    options.strategies = options.strategies.split(",")
    split = [part.strip() for part in options.variants.split(";")]
    options.variants = list(VARIANTS) if options.variants == "all" else split
    unknown = [*(set(options.strategies) - set(STRATEGIES)), *(set(options.variants) - set(VARIANTS))]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    try:
        options.seeds = by_strategy(options.seeds, options.strategies)
        options.trials = by_strategy(options.trials, options.strategies) if options.trials else {}
    except ValueError as error:
        parser.error(str(error))
    options.grids = options.grids or sorted(FOLDER.glob("*.npz"))
    if not options.grids:
        parser.error(f"there is no grid in {FOLDER}: python -m benchmarks.grids MODEL records one")
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    begun = record.begin(NAME, argv)
    tasks = [
        task_of(path, strategy, range(options.seed, options.seed + options.seeds[strategy]), options.variants)
        for path in options.grids
        for strategy in options.strategies
    ]
    tasks = [replace(task, most=options.trials.get(task.strategy, task.most)) for task in tasks]
    found = replay_all(tasks, workers=options.workers)
    summaries = [line for task, (outcomes, seconds) in found.items() for line in summarise(task, outcomes, seconds)]
    targets = [line.target for line in lines_of(summaries)]
    begun.write(
        options.result,
        method=__doc__ or "",
        targets=targets,
        results={"grids": {path.stem: details(path) for path in options.grids}, "runs": list(map(asdict, summaries))},
        samples={f"{task.grid.stem} {task.strategy}": samples(outcomes) for task, (outcomes, _) in found.items()},
    )
    described = list(map(details, options.grids))
    print(tabulate([list(grid.values())[:SHOWN] for grid in described], list(described[0])[:SHOWN]))
    print()
    return record.report(HEADINGS, [row(one) for one in summaries], targets, options.result)


def samples(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The runs behind a summary: shares and trials, and each variant's regrets, in %."""
    return {
        "share": [round(100 * outcome.share, 2) for outcome in outcomes],
        "trials": [outcome.trials for outcome in outcomes],
        **{
            variant: [round(100 * outcome.picked[variant].regret, 3) for outcome in outcomes]
            for variant in outcomes[0].picked
        },
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
