"""Whether the machine was slow while something was measured: told by stock, which is measured beside everything.

On a virtual machine a core can run at a fraction of its speed for minutes, with no sign of it but that things take
longer. Ratios to stock do not cancel that: stock runs on all cores, a session of one thread on one of them.
"""

import math

import numpy as np

from infer_opt.stats.intervals import Values

QUIET_SHARE = 0.15  # of what was measured, taken to have been measured on a quiet machine
SLOW = math.log(1.1)  # ln(time) above its level on the quiet machine by which stock shows that the machine is slow


def quiet_level(levels: Values) -> float | None:
    """The level of stock on the quiet machine, from its levels (ln ns an item) at many times; None without any."""
    return float(np.quantile(levels, QUIET_SHARE)) if len(levels) else None


def is_slow(level: float, quiet: float | None) -> bool:
    """Whether stock's `level` shows a slow machine; what nothing is known of counts as quiet."""
    return quiet is not None and level > quiet + SLOW
