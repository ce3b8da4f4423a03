"""The table of proof: each promise of the measurement with its target and its figure side by side."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.evidence import Evidence
from tabulate import tabulate

from infer_opt.errors import ConfigError

BEGIN, END = "<!-- proof -->", "<!-- /proof -->"
HEADINGS = ("#", "test", "how", "under what", "target", "figure", "")
WIDTHS = (3, 24, 9, 44, 32, 20, 12)  # of a terminal's columns; Markdown wraps by itself
STALL = 12

# The contract's table of tests, by its own numbers.
TESTS = {
    1: "A/A of a pair",
    2: "whole tune over equals",
    3: "hostile surroundings",
    4: "power",
    5: "coverage of intervals",
    6: "re-measurement later",
    7: "winner's curse",
    8: "regret on recorded grids",
    9: "warm-up",
    10: "discards are blind",
    11: "harness overhead",
    STALL: "a stall under open load",
}
NOT_RUN = "not run"
NOT_BUILT = "not built yet: there is no open-loop load test in this release"


def rows(found: Sequence[Evidence]) -> list[tuple[str, ...]]:
    """One row for each line of evidence, in the contract's order, and one for each test without any."""
    table = []
    for number, test in TESTS.items():
        lines = [one for one in found if one.row == number]
        table += [_row(one) for one in lines]
        if not lines:
            table.append((str(number), test, "", "", "", NOT_BUILT if number == STALL else NOT_RUN, ""))
    return table


def _row(one: Evidence) -> tuple[str, ...]:
    target = one.target
    word = {True: "met", False: "MISSED", None: "not measured"}[target.is_met]
    limit = f"at most {target.at_most:,.4g}" if target.at_most is not None else f"at least {target.at_least:,.4g}"
    figure = "nothing" if target.measured is None else f"{target.measured:,.4g}"
    figure += "" if target.high is None else f" (up to {target.high:,.4g})"
    under = f"{one.setting}. {one.cause[:1].upper()}{one.cause[1:]}" if one.cause else one.setting
    return (
        str(one.row),
        TESTS[one.row],
        str(one.tier),
        under,
        f"{target.name}: {limit} {target.unit}",
        f"{figure} {target.unit}" if target.measured is not None else figure,
        word,
    )


def terminal(found: Sequence[Evidence]) -> str:
    """For a terminal."""
    return tabulate(rows(found), HEADINGS, tablefmt="simple", maxcolwidths=list(WIDTHS), disable_numparse=True)


def markdown(found: Sequence[Evidence], machine: Mapping[str, object], when: str) -> str:
    """For the documentation: the table, and where it was made."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows(found)]
    table = tabulate(cells, HEADINGS, tablefmt="github", disable_numparse=True)
    return f"{table}\n\nMade by `make prove` on {when[:10]}, {machine.get('cpu_model', 'an unknown CPU')}."


def put(path: Path, text: str, *, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Put `text` between the marks in the file at `path`, by rename; a file that is not there yet is made.

    Raises:
        ConfigError: the file has no such marks, so that there is no place for it.
    """
    opening, closing = marks
    old = path.read_text("utf-8") if path.is_file() else f"{opening}\n{closing}\n"
    before, begin, rest = old.partition(opening)
    _, end, after = rest.partition(closing)
    if not begin or not end:
        raise ConfigError(f"{path} has no place for the table", hint=f"put {opening} and {closing} where it belongs")
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{before}{opening}\n{text}\n{closing}{after}")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
