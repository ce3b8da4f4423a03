"""What makes a model slow and what would help, ranked: the same of a profile, and of what a tuning saw of stock."""

from collections.abc import Sequence

from infer_opt.causes import Diagnosis
from infer_opt.reports.diagnoses import FOOTNOTE, NOTHING, gain
from infer_opt.reports.html.layout import Section, items, paragraphs
from infer_opt.reports.html.markup import Markup, element, joined
from infer_opt.reports.sentences import one_line

_NODES_NAMED = 3


def section(diagnoses: Sequence[Diagnosis], *, latency_ns: float, title: str) -> Section:
    """A card for each, the largest gain first; one sentence where nothing was found.

    Arguments:
        latency_ns: what a call takes, which gains are shares of.
    """
    ranked = sorted(diagnoses, key=lambda one: -(one.gain_ns or 0.0))
    if not ranked:
        return Section(identity="diagnoses", title=title, parts=(paragraphs([NOTHING]),))
    cards = items([_card(one, latency_ns) for one in ranked], ordered=True, class_="diagnoses")
    overlapping = sum(one.gain_ns is not None for one in ranked) > 1
    lead = "The most time to be won first." + f" {FOOTNOTE}" * overlapping
    return Section(identity="diagnoses", title=title, parts=(cards,), lead=lead)


def _card(found: Diagnosis, latency_ns: float) -> Markup:
    named = ", ".join(one_line(name) for name in found.nodes[:_NODES_NAMED])
    rest = len(found.nodes) - _NODES_NAMED
    nodes = f"Nodes: {named}{f' and {rest:,} more' * (rest > 0)}." if named else None
    won = element("span", gain(found, latency_ns), class_="gain")
    return joined(
        (
            element("h3", found.what),
            element("p", element("span", found.cause.value, class_="tag"), " ", won),
            element("p", element("strong", found.action)),
            element("p", "; ".join(found.evidence) + ".", class_="evidence") if found.evidence else None,
            element("p", nodes, class_="evidence") if nodes else None,
        )
    )
