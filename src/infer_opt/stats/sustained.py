"""The best rate that is kept up, from rates of which every disturbance takes something away."""

from collections.abc import Sequence

import numpy as np

from infer_opt.errors import EvidenceError
from infer_opt.results import Estimate
from infer_opt.stats.intervals import as_sample
from infer_opt.stats.tails import band_ranks

QUANTILE = 0.9


def sustained(rates: Sequence[float]) -> Estimate:
    """The 90 % quantile of rates seen, with the 95 % band of order statistics; the whole range where they are few.

    What disturbs a measurement (steal, other processes, a clock that is low, a page that is not there yet) makes it
    slower and never faster, so that rates pile up below an edge, which is what the machine can do. The mean is that
    edge minus whatever neighbours happened to take, and moves with them. The largest is one block, and trusts a
    timer that was late once. The 90 % quantile is reached by one block in ten, however often the others were disturbed:
    with half of all blocks slowed down it is the upper fifth of the rest.

    Raises:
        EvidenceError: no rates, or one that is not above 0.

    Source: the band is that of Clopper & Pearson 1934.
    """
    ordered = np.sort(as_sample(rates))
    if not ordered[0] > 0.0:
        raise EvidenceError(f"a rate of {ordered[0]:g} was measured: the clock is coarser than what it times")
    lower, upper = band_ranks(ordered.size, QUANTILE)
    return Estimate(
        value=float(np.quantile(ordered, QUANTILE)),
        low=float(ordered[max(0, lower - 1)]),
        high=float(ordered[min(ordered.size, upper) - 1]),
    )
