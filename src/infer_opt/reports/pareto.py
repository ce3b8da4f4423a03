"""Which points no other point beats on every count."""

from collections.abc import Sequence

Point = tuple[float | None, ...]


def front(points: Sequence[Point]) -> tuple[bool, ...]:
    """For each point, whether it is on the Pareto front. Lower is better in every coordinate.

    A point falls to another that is nowhere worse and somewhere better. None is a value that nobody knows: no point
    falls to a None, and a None saves no point that falls in the other coordinates.
    """
    return tuple(not any(_beats(other, point) for other in points) for point in points)


def _beats(one: Point, other: Point) -> bool:
    pairs = list(zip(one, other, strict=True))
    nowhere_worse = all(theirs is None or (mine is not None and mine <= theirs) for mine, theirs in pairs)
    return nowhere_worse and any(mine is not None and theirs is not None and mine < theirs for mine, theirs in pairs)
