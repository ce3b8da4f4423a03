"""Samples by what they are spent on."""

from collections import Counter
from collections.abc import Iterable

from infer_opt.surrounding.frames import what_for
from infer_opt.surrounding.stacks import Sampled


def shares_of(samples: Iterable[Sampled]) -> tuple[tuple[str, float], ...]:
    """(what, share of all samples), the largest first; they add up to 1, and there are none without samples."""
    counted: Counter[str] = Counter()
    for sampled in samples:
        counted[what_for(sampled.frames)] += sampled.samples
    whole = sum(counted.values())
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple((name, count / whole) for name, count in ordered if count > 0)
