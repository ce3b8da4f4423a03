"""A flame graph as one HTML file that asks nothing of a network: CPU time, waiting, the GIL and memory, each a tab."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from infer_opt.profiles.surrounding import Stack, SurroundingProfile
from infer_opt.reports.quantities import number, percent, size
from infer_opt.reports.sentences import one_line
from infer_opt.reports.surroundings import by_function, total

ASSETS = Path(__file__).parent / "assets"
SMALLEST_SHARE = 0.0005  # of a tab's whole: what is smaller is less than a pixel wide, until it is zoomed in on
MOST_ROWS = 100
# Inside a script, JSON must not end the script or begin a comment.
_RISKY = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One flame graph: what its widths are, and the stacks. `unit` is `s` for samples at `rate_hz`, or `B`."""

    name: str
    about: str
    stacks: Sequence[Stack]
    unit: str
    rate_hz: int = 1

    def value(self, samples: float) -> str:
        """Samples or bytes, for people."""
        return size(samples) if self.unit == "B" else f"{number(samples / self.rate_hz)} s"


def tabs_of(profile: SurroundingProfile) -> list[Tab]:
    """The tabs for which there is something to be seen, CPU time first; that one is always there."""
    rate = profile.rate_hz
    found = [
        Tab(name="CPU", about="running or ready to run, all threads", stacks=profile.stacks, unit="s", rate_hz=rate),
        Tab(name="GIL held", about="held Python's lock", stacks=profile.holding or (), unit="s", rate_hz=rate),
        Tab(
            name="GIL wanted", about="waited for Python's lock", stacks=profile.waiting_for_gil or (), unit="s",
            rate_hz=rate,
        ),
        Tab(name="Waiting", about="waited for anything else", stacks=profile.waiting or (), unit="s", rate_hz=rate),
        Tab(name="Memory", about="held when most was held, by who allocated it", stacks=profile.memory or (), unit="B"),
    ]  # fmt: skip
    return [tab for tab in found if tab.stacks or tab.name == "CPU"]


def page(profile: SurroundingProfile) -> str:
    """The whole HTML file. Without JavaScript, its tables say the same."""
    tabs = tabs_of(profile)
    subject = escape(one_line(profile.subject))
    data = json.dumps([_data(tab) for tab in tabs], separators=(",", ":"), ensure_ascii=False).translate(_RISKY)
    lead = escape(
        f"{profile.seconds:.1f} s sampled {profile.rate_hz} times a second"
        + (f", {profile.processes} processes" if profile.processes > 1 else "")
    )
    notes = "".join(f"<li>{escape(one_line(note))}</li>" for note in profile.notes)
    css, script = ((ASSETS / name).read_text(encoding="utf-8") for name in ("flame.css", "flame.js"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{subject}: flame graph</title>
<link rel="icon" href="data:,">
<style>
{css}</style>
</head>
<body>
<header>
<h1>{subject}</h1>
<p>{lead}</p>
{f"<ul>{notes}</ul>" if notes else ""}
</header>
<main>
<div id="flame" hidden></div>
{"".join(_table(tab) for tab in tabs)}
</main>
<script type="application/json" id="stacks">{data}</script>
<script>
{script}</script>
</body>
</html>
"""


def _data(tab: Tab) -> dict[str, Any]:
    names: dict[str, int] = {}
    whole = total(tab.stacks) or 0
    tree = _tree(tab.stacks, names, smallest=SMALLEST_SHARE * whole)
    return {
        "name": tab.name, "about": tab.about, "unit": tab.unit, "rate": tab.rate_hz, "whole": whole,
        "names": list(names), "tree": tree,
    }  # fmt: skip


def _tree(stacks: Sequence[Stack], names: dict[str, int], *, smallest: float) -> list[Any]:
    """[[index of the name, samples, children], ...], the largest first; without what is too small to be seen."""
    root: dict[str, Any] = {}
    for stack in stacks:
        level = root
        for frame in stack.frames:
            node = level.setdefault(frame, [0, {}])
            node[0] += stack.samples
            level = node[1]
    return _listed(root, names, smallest)


def _listed(level: dict[str, Any], names: dict[str, int], smallest: float) -> list[Any]:
    kept = sorted(
        ((frame, found) for frame, found in level.items() if found[0] >= smallest and found[0] > 0),
        key=lambda item: (-item[1][0], item[0]),
    )
    listed = []
    for frame, (samples, children) in kept:
        place = names.setdefault(one_line(frame), len(names))
        listed.append([place, samples, _listed(children, names, smallest)])
    return listed


def _table(tab: Tab) -> str:
    """The tab in words: what each function took by itself, and with all that it called."""
    whole = total(tab.stacks) or 0
    rows = "".join(
        f'<tr><td>{escape(one_line(name))}</td><td class="number">{percent(own / whole)}</td>'
        f'<td class="number">{tab.value(own)}</td><td class="number">{percent(count / whole)}</td>'
        f'<td class="number">{tab.value(count)}</td></tr>'
        for name, (own, count) in list(by_function(tab.stacks).items())[:MOST_ROWS]
    )
    if not rows:
        return f"<section><h2>{escape(tab.name)}</h2><p>Nothing was seen.</p></section>"
    return (
        f'<section><h2>{escape(tab.name)}: {escape(tab.about)}</h2><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(tab.name)} as a table"><table><thead><tr><th scope="col">function</th>'
        '<th scope="col" colspan="2">by itself</th><th scope="col" colspan="2">with what it calls</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )
