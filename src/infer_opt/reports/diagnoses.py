"""Diagnoses as lines for a terminal and as Markdown: ranked, with the time there is to be won, evidence and action."""

from collections.abc import Sequence

from infer_opt.causes import Cause, Diagnosis
from infer_opt.reports.columns import escaped
from infer_opt.reports.quantities import duration, percent
from infer_opt.reports.sentences import one_line, wrapped

TITLE = "What makes it slow, the most time to be won first"
NOTHING = "Nothing stands out: no rule found anything that would win 3 % of a call."
FOOTNOTE = "What several of them could win overlaps: it does not add up."
BESIDE_CALLS = frozenset({Cause.FIRST_RUN, Cause.SPINNING})
_NODES_SHOWN = 4


def table(diagnoses: Sequence[Diagnosis], *, latency_ns: float, width: int = 120) -> list[str]:
    """Lines of at most `width`, the title first. `latency_ns` is what a call takes, which gains are shares of."""
    if not diagnoses:
        return wrapped(NOTHING, width)
    lines = wrapped(TITLE, width)
    for number, one in enumerate(diagnoses, start=1):
        lines += wrapped(f"{number:>2}. {one.cause}: {gain(one, latency_ns)}", width, indent="    ")
        lines += _indented(one.what, width)
        lines += [piece for shown in one.evidence for piece in _indented(f"- {one_line(shown)}", width, hang=2)]
        lines += _indented(f"> {one_line(one.action)}", width, hang=2)
        lines += _indented(_nodes(one), width) if one.nodes else []
    return lines + wrapped(FOOTNOTE, width) * (sum(one.gain_ns is not None for one in diagnoses) > 1)


def markdown(diagnoses: Sequence[Diagnosis], *, latency_ns: float) -> list[str]:
    """Paragraphs, a heading first."""
    if not diagnoses:
        return [f"## {TITLE}", NOTHING]
    parts = [f"## {TITLE}"]
    for one in diagnoses:
        parts.append(f"**{one.cause}**: {gain(one, latency_ns)}. {escaped(one.what)}")
        parts.append("\n".join(f"- {escaped(one_line(shown))}" for shown in one.evidence))
        parts.append(f"What to do: {escaped(one_line(one.action))}")
    return parts + [FOOTNOTE] * (sum(one.gain_ns is not None for one in diagnoses) > 1)


def gain(diagnosis: Diagnosis, latency_ns: float) -> str:
    """`up to 1.20 ms of a call (34 %)`; or that it is no matter of a call's time."""
    if diagnosis.cause in BESIDE_CALLS:
        return "costs no time within a call"
    if diagnosis.gain_ns is None:
        return "how much of a call it costs cannot be told from a profile"
    share = f" ({percent(diagnosis.gain_ns / latency_ns)})" if latency_ns > 0 else ""
    return f"up to {duration(diagnosis.gain_ns)} of a call{share}"


def _nodes(diagnosis: Diagnosis) -> str:
    names = [one_line(name) for name in diagnosis.nodes]
    rest = len(names) - _NODES_SHOWN
    return f"nodes: {', '.join(names[:_NODES_SHOWN])}" + (f" and {rest:,} more" if rest > 0 else "")


def _indented(text: str, width: int, *, hang: int = 0) -> list[str]:
    return [f"    {line}" for line in wrapped(text, max(20, width - 4), indent=" " * hang)]
