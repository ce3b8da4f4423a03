"""Where warm-up ends."""

import math

import numpy as np

from infer_opt.stats.intervals import Values, as_sample

BATCH_RUNS = 5
BATCHES_WANTED = 20  # short series take smaller batches rather than fewer: five batches cannot show a trend
SHARE_ALWAYS_KEPT = 0.4  # the rule is blind at the end of a series, where few values look alike by chance
FEWEST_BATCHES_KEPT = 3
DRIFT = 0.005  # ln(time) over a window: what is less than half a per cent is left alone
DRIFT_ERRORS = 2.5  # standard errors: steady runs are doubted once in a hundred windows


def mser5_truncation(log_times: Values) -> int:
    """The index of the first run to keep, from ln(run time) in order: what is before it is warm-up.

    Cuts where the marginal standard error of the rest, var / n over batches of five runs, is smallest. Below 100 runs
    the batches are smaller. The last 40 % (at least three runs) are never cut.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: White 1997, "An effective truncation heuristic for bias reduction in simulation output" (MSER-5).
    """
    return _truncation(log_times)[0]


def has_steady_state(log_times: Values, *, before: Values = ()) -> bool:
    """Whether the runs settled: the truncation point lies in the first half, a later one was possible, and no drift.

    What is kept must neither have a trend nor lie apart from `before`, the runs of a window just before. Fewer than
    four runs cannot show it, so they have not.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: White 1997 (a cut in the second half, or at the last admissible point, means a series too short to say).
    """
    truncation, is_last_possible = _truncation(log_times)
    sample = as_sample(log_times)
    if truncation > sample.size / 2 or is_last_possible:
        return False
    kept = sample[truncation:]
    return not has_trend(kept) and not (len(before) and lies_apart(before, kept))


def has_trend(values: Values) -> bool:
    """Whether the least-squares line rises or falls by more than 0.5 % over the values, beyond what chance explains.

    MSER is blind to a slow drift under noise: a line that fell by 6 % over a window with 1 % noise passed it half of
    the time, with as much as 40 % still to come.

    Raises:
        EvidenceError: no values, or one that is not finite.
    """
    sample = as_sample(values)
    if sample.size < 4:
        return False
    steps = np.arange(sample.size) - (sample.size - 1) / 2.0
    scatter = float(steps @ steps)
    slope = float(steps @ sample) / scatter
    rest = sample - sample.mean() - slope * steps
    error = math.sqrt(float(rest @ rest) / (sample.size - 2) / scatter)
    return abs(slope) * sample.size > DRIFT and abs(slope) > DRIFT_ERRORS * error


def lies_apart(before: Values, after: Values) -> bool:
    """Whether two windows differ by more than 0.5 % in the mean, beyond what chance explains.

    Windows a fifth of a second apart show a slow drift that neither of them shows alone.

    Raises:
        EvidenceError: no values, or one that is not finite.

    Source: Welch 1947, "The generalization of Student's problem when several different population variances are
    involved".
    """
    first, second = as_sample(before), as_sample(after)
    if min(first.size, second.size) < 3:
        return False
    gap = abs(float(first.mean() - second.mean()))
    error = math.sqrt(float(first.var(ddof=1)) / first.size + float(second.var(ddof=1)) / second.size)
    return gap > DRIFT and gap > DRIFT_ERRORS * error


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
