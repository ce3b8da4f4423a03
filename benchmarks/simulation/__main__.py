"""What infer-opt's verdicts and intervals are worth on simulated noise, beside the rules that others use.

Six models of noise, 6 % a round: Gaussian, Student t3, bursts in a tenth of blocks, correlated rounds, drift and steps
of the whole machine, and processes that differ by 1 %. Data is drawn; every verdict comes from what a tuning
calls. Nothing is timed, so the figures are the same on every machine for the same seed and scale.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import record
from benchmarks.simulation import evidence, pictures

NAME = "simulation"
REPLAY = record.RESULTS / "replay.json"


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the repeats to take (default 1)")
    parser.add_argument("--pictures", type=Path, help="folder to draw SVGs into (none by default)")
    parser.add_argument("--replay", type=Path, default=REPLAY, help="result of benchmarks.replay, to draw regret from")
    parser.add_argument("--draw-only", action="store_true", help="draw what --result holds, and simulate nothing")
    options = parser.parse_args(argv)
    if options.draw_only:
        return _draw(options)
    begun = record.begin(NAME, argv)
    found = evidence(options.scale, options.seed)
    targets = [one.target for one in found.evidence]
    lines = [{"row": one.row, "setting": one.setting, "cause": one.cause} for one in found.evidence]
    results = {"lines": lines, **found.results}
    begun.write(options.result, method=__doc__ or "", targets=targets, results=results, samples={})
    if options.pictures is not None:
        _draw(options)
    headings = ["row", "setting", "figure", "cause of a miss"]
    rows = [[one.row, one.setting, one.target.sentence, one.cause] for one in found.evidence]
    return record.report(headings, rows, targets, options.result)


def _draw(options: argparse.Namespace) -> int:
    if options.pictures is None:
        sys.exit("--draw-only needs --pictures FOLDER")
    results = json.loads(options.result.read_text())["results"]
    regrets = pictures.regrets_of(json.loads(options.replay.read_text())) if options.replay.is_file() else []
    for path in pictures.draw_all(results["contest"], regrets, options.pictures):
        print(f"drawn: {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
