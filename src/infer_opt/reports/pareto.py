"""Which points no other point beats, where values are only known within intervals."""

from collections.abc import Sequence

# One coordinate: the lowest and the highest that it may be, equal for what is exact; None for what nobody knows.
Coordinate = tuple[float, float] | None
Point = tuple[Coordinate, ...]


def front(points: Sequence[Point]) -> tuple[bool, ...]:
    """For each point, whether it is on the Pareto front. Lower is better in every coordinate.

    A point falls to another that is clearly worse nowhere and clearly better somewhere: intervals that overlap are a
    tie, for which is the lower of them cannot be told. None is a value that nobody knows: no point falls to a None,
    and a None saves no point that falls in the other coordinates.
    """
    return tuple(not any(_beats(other, point) for other in points) for point in points)


def _beats(one: Point, other: Point) -> bool:
    pairs = list(zip(one, other, strict=True))
    nowhere_worse = all(theirs is None or (mine is not None and mine[0] <= theirs[1]) for mine, theirs in pairs)
    return nowhere_worse and any(
        mine is not None and theirs is not None and mine[1] < theirs[0] for mine, theirs in pairs
    )
