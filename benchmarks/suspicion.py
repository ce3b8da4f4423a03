"""How much sooner a suspicion finds what is best, and how much later a wrong one: trials, counted on recorded grids.

A tuning tries first what a profile of stock suspects (infer_opt/search/promise.py). Here each group of knobs that a
diagnosis may name is suspected in each recorded space in turn, and searches are replayed with and without that. What is
counted are trials until one of the configurations within 3 % of the grid's best is screened: nothing is timed, so it
may run beside anything. A search that never screens one counts with all its trials and one more.
"""

import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from benchmarks import record
from benchmarks.grid_file import load
from benchmarks.record import Target
from benchmarks.replaying.machine import RecordedMachine
from benchmarks.replaying.truth import find_truth
from tabulate import tabulate

from infer_opt.config import TrialConfig
from infer_opt.presets import load_preset
from infer_opt.results import Trial
from infer_opt.search.promise import sets, suspected_first
from infer_opt.search.strategies import Problem, open_strategy

NAME = "suspicion"
FOLDER = record.ROOT / "benchmarks" / "grids"
NEAR = 0.03  # ln(time) above the grid's best: as good
PRESETS = ("quick", "default")
KNOBS = (("quantise",), ("fuse", "rewrite"), ("intra_threads",), ("graph_level",), ("spin",), ("flush_denormals",))
WINS = 0.1  # ln(time) by which something must beat stock, or there is nothing to be found sooner
LATER = 1.1  # times as many trials, on the mean, where the suspicion is wrong
METHOD = """
On each recorded space of about 200 configurations, each preset's own search is replayed with the order of promise as it
is, and with each group of knobs suspected; the same seeds for both. Counted are trials until a configuration within 3 %
of the best (shrunk truth) is screened. A suspicion is right where the best configuration sets one of its knobs.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Mean trials until one of the best was screened, over the same seeds, without and with a suspicion."""

    grid: str
    preset: str
    knobs: str
    is_right: bool
    without: float
    with_it: float

    @property
    def ratio(self) -> float:
        """How many trials it took of those without it."""
        return self.with_it / self.without


class Space:
    """A recorded space, and which of its configurations are as good as the best."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.machine = RecordedMachine(load(path))
        grid, truth = self.machine.grid, find_truth(self.machine).shrunk
        best = np.flatnonzero(truth <= np.nanmin(truth) + NEAR)
        self.stock: TrialConfig = grid.stock_config
        self.best = frozenset(grid.configs[index] for index in best)
        self.fastest: TrialConfig = grid.configs[int(np.nanargmin(truth))]
        self.has_winner = bool(np.nanmin(truth) < -WINS)

    def trials(self, strategy: str, knobs: Sequence[str], *, most: int, seed: int) -> int:
        """How many were screened when one of the best was."""
        grid, generator = self.machine.grid, random.Random(f"screen-{seed}")
        problem = Problem(
            candidates=tuple(suspected_first(grid.configs, knobs, self.stock)),
            stock=self.stock,
            most=most,
            seed=seed,
            cores=grid.cores,
            costs=self.machine.costs(),
        )
        searching, done = open_strategy(strategy, problem), list[Trial]()
        while waiting := searching.next(done):
            done.append(self.machine.trial(waiting[0], generator).trial)
            if waiting[0] in self.best:
                return len(done)
        return len(done) + 1


def lines_of(space: Space, seeds: Sequence[int]) -> list[Line]:
    """Each preset and each group of knobs that the space has anything of."""
    found = []
    for name in PRESETS:
        preset = load_preset(name)

        def mean(knobs: Sequence[str], *, strategy: str = preset.search, most: int = preset.trials) -> float:
            return statistics.fmean(space.trials(strategy, knobs, most=most, seed=seed) for seed in seeds)

        without = mean(())
        for knobs in KNOBS:
            if any(sets(config, knob, space.stock) for config in space.machine.grid.configs for knob in knobs):
                found.append(
                    Line(
                        grid=space.name,
                        preset=name,
                        knobs=", ".join(knobs),
                        is_right=any(sets(space.fastest, knob, space.stock) for knob in knobs),
                        without=without,
                        with_it=mean(knobs),
                    )
                )
    return found


def targets_of(lines: Sequence[Line]) -> list[Target]:
    """Sooner where the suspicion is right, and not much later where it is wrong."""
    right = [line.ratio for line in lines if line.is_right]
    wrong = [line.ratio for line in lines if not line.is_right]
    return [
        Target(
            name="trials with a right suspicion, of those without",
            unit="times",
            measured=statistics.geometric_mean(right) if right else None,
            at_most=1.0,
        ),
        Target(
            name="trials with a wrong suspicion, of those without",
            unit="times",
            measured=statistics.geometric_mean(wrong) if wrong else None,
            at_most=LATER,
        ),
    ]


def main(argv: Sequence[str]) -> int:
    """Run, print, write; 1 where a promise was not kept."""
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--grids", nargs="+", type=Path, help="recorded grids (default: those of about 200)")
    parser.add_argument("--seeds", type=int, default=20, help="replays of each (default 20)")
    options = parser.parse_args(argv)
    running = record.begin(NAME, argv)
    paths = options.grids or [path for path in sorted(FOLDER.glob("*.npz")) if int(path.stem.split("-")[-1]) < 550]
    spaces = [space for space in map(Space, paths) if space.has_winner]
    lines = [line for space in spaces for line in lines_of(space, range(options.seeds))]
    rows = [(one.grid, one.preset, one.knobs, one.is_right, one.without, one.with_it, one.ratio) for one in lines]
    print(tabulate(rows, headers=("grid", "preset", "suspected", "right", "without", "with", "ratio"), floatfmt=".3g"))
    targets = targets_of(lines)
    print(*(target.sentence for target in targets), sep="\n")
    running.write(
        options.result,
        method=METHOD,
        targets=targets,
        results={"lines": [asdict(line) | {"ratio": line.ratio} for line in lines]},
        samples={"fastest": {space.name: space.fastest.label for space in spaces}},
    )
    return 0 if all(target.is_met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
