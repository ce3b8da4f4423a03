"""Counts against promised rates. Live cases are few: a count is held to what luck leaves of the promise.

"At most 5 % false verdicts" cannot be proven by 30 cases. What 30 cases can show is that it is broken: when more are
false than a true rate of 5 % gives in 95 of 100 such series. That number is the limit; beside the count stands the
interval of the true rate, which says how little or much the cases prove. The simulated lines prove the rates.
"""

from collections import Counter
from collections.abc import Iterable

from benchmarks.record import Target

CONFIDENCE = 0.95


def clopper_pearson(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a true rate, as shares, when `found` of `of` cases had it.

    Source: Clopper & Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the binomial".
    """
    from scipy.stats import beta

    tail = (1.0 - CONFIDENCE) / 2.0
    low = 0.0 if found == 0 else float(beta.ppf(tail, found, of - found + 1))
    high = 1.0 if found == of else float(beta.ppf(1.0 - tail, found + 1, of - found))
    return low, high


def most_by_luck(of: int, rate: float) -> int:
    """The most cases that a true rate of `rate` gives in 95 of 100 series of `of`."""
    from scipy.stats import binom

    return int(binom.ppf(CONFIDENCE, of, rate))


def least_by_luck(of: int, rate: float) -> int:
    """The fewest cases that a true rate of `rate` gives in 95 of 100 series of `of`."""
    return of - most_by_luck(of, 1.0 - rate)


def seldom(what: str, found: int, of: int, *, rate: float) -> Target:
    """A promise that something happens in at most `rate` of all cases; a rate of 0 allows none.

    Unmeasured where there are no cases, or too few to break it.
    """
    limit = most_by_luck(of, rate) if of and rate else 0
    return Target(
        name=f"{what}, promised at most {rate:.3g}{_interval(found, of)}",
        unit=f"of {of}",
        measured=float(found) if limit < of else None,
        at_most=float(limit),
    )


def often(what: str, found: int, of: int, *, rate: float) -> Target:
    """A promise that something happens in at least `rate` of all cases; a rate of 0 promises nothing.

    Unmeasured where there are no cases, or too few to break it.
    """
    limit = least_by_luck(of, rate) if of and rate else 0
    is_measured = of > 0 and (limit > 0 or rate == 0.0)
    return Target(
        name=f"{what}, promised at least {rate:.3g}{_interval(found, of)}" if rate else f"{what}, nothing promised",
        unit=f"of {of}",
        measured=float(found) if is_measured else None,
        at_least=float(limit),
    )


def counts(words: Iterable[str]) -> str:
    """`5 equivalent, 1 inconclusive`: the commonest first."""
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())


def _interval(found: int, of: int) -> str:
    if not of:
        return ""
    low, high = clopper_pearson(found, of)
    return f" (true rate {low:.3g} to {high:.3g})"
