"""How to serve many callers, and what was measured that says so. Numbers carry their unit; n/a is None, never 0."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPoint:
    """Throughput and latency of one batch size of one configuration, the instances at once.

    `name` is the configuration without its batch. `speedup` is items a second over stock's, in the screen's paired
    rounds. `is_knee` marks the batch beyond which doubling it gains too little; `limit` says which limit it breaks.
    """

    name: str
    instances: int
    threads: int
    batch: int
    items_per_s: float
    p50_ns: float | None
    p99_ns: float | None
    speedup: float | None
    is_stock: bool = False
    is_chosen: bool = False
    is_knee: bool = False
    limit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to serve many callers: sessions and threads, the hardware threads of each, and how far to batch.

    `cores` is empty where the sessions are not pinned. `max_batch` and `max_wait_s` are for `submit`,
    None where nothing was proven that would say so.
    """

    instances: int
    threads: int
    cores: tuple[tuple[int, ...], ...]
    batch: int
    max_batch: int | None
    max_wait_s: float | None
    points: tuple[LoadPoint, ...] = ()
