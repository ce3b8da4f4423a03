"""Which points no other point beats on every count."""

from collections.abc import Sequence

Point = tuple[float | None, ...]


def front(points: Sequence[Point]) -> tuple[bool, ...]:
    """For each point, whether it is on the Pareto front. Lower is better in every coordinate.

    A point falls to another that is as good wherever the point has a value, and better at least once. None is a value
    that is not known: it never beats anything, and where it stands in the point, nothing can be said to beat it.
    """
    return tuple(not any(_dominates(other, point) for other in points) for point in points)


def _dominates(one: Point, other: Point) -> bool:
    pairs = list(zip(one, other, strict=True))
    known = [(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
    return (
        len(known) == len(pairs)
        and all(mine <= theirs for mine, theirs in known)
        and any(mine < theirs for mine, theirs in known)
    )
