"""Which buckets are worth a trial for a distribution of sizes: one for all, and the two that waste least."""

from collections.abc import Mapping

from infer_opt.config import Distribution
from infer_opt.recipes import Buckets


def paddings(distributions: Mapping[str, Distribution]) -> tuple[Buckets, ...]:
    """All to the largest size; and two buckets a dimension, where one of them has more than two sizes."""
    if not distributions:
        return ()
    largest = tuple((name, (max(size for size, _ in found),)) for name, found in distributions.items())
    if all(len(found) <= 2 for found in distributions.values()):
        return (largest,)  # two buckets for two sizes would be no padding at all
    return largest, tuple((name, _two(found)) for name, found in distributions.items() if len(found) > 2)


def _two(found: Distribution) -> tuple[int, int]:
    """The two buckets with the smallest expected size: the largest, and one below it."""
    sizes = sorted(size for size, _ in found)

    def expected(lower: int) -> float:
        return sum(share * (lower if size <= lower else sizes[-1]) for size, share in found)

    return min(sizes[:-1], key=expected), sizes[-1]
