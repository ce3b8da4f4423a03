"""Where warm-up ends."""

import math

import numpy as np

from infer_opt.stats.intervals import Values, as_sample

BATCH_RUNS = 5
BATCHES_WANTED = 20  # short series take smaller batches rather than fewer: five batches cannot show a trend
SHARE_ALWAYS_KEPT = 0.4  # the rule is blind at the end of a series, where few values look alike by chance
FEWEST_BATCHES_KEPT = 3


def mser5_truncation(log_times: Values) -> int:
    """The index of the first run to keep, from ln(run time) in order: what is before it is warm-up.

    Cuts where the marginal standard error of the rest, var / n over batches of five runs, is smallest. Below 100 runs
    the batches are smaller. The last 40 % (at least three runs) are never cut.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: White 1997, "An effective truncation heuristic for bias reduction in simulation output" (MSER-5).
    """
    return _truncation(log_times)[0]


def has_steady_state(log_times: Values) -> bool:
    """Whether the runs settled: the truncation point lies in the first half, and a later one was possible.

    Fewer than four runs cannot show it, so they have not.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: White 1997 (a cut in the second half, or at the last admissible point, means a series too short to say).
    """
    truncation, is_last_possible = _truncation(log_times)
    return truncation <= as_sample(log_times).size / 2 and not is_last_possible


def _truncation(log_times: Values) -> tuple[int, bool]:
    """The first kept run, and whether no later cut was possible."""
    sample = as_sample(log_times)
    size = max(1, min(BATCH_RUNS, sample.size // BATCHES_WANTED))
    batches = sample.size // size
    offset = sample.size - batches * size  # an incomplete batch is left out at the front, where warm-up is
    means = sample[offset:].reshape(batches, size).mean(axis=1)
    kept = min(batches, max(FEWEST_BATCHES_KEPT, math.ceil(SHARE_ALWAYS_KEPT * batches)))
    errors = [float(means[cut:].var()) / (batches - cut) for cut in range(batches - kept + 1)]
    cut = int(np.argmin(errors))
    return (offset + cut * size if cut else 0), cut == batches - kept
