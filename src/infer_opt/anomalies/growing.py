"""What may run full: which readings grow towards which bound, and what is usually behind it."""

from collections.abc import Callable
from dataclasses import dataclass

from infer_opt.readings.findings import Severity

HOT_CELSIUS = 85.0  # boards begin to slow down between 83 and 92


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """One reading that must not reach its bound. `*` in keys as for rules.

    `bound` takes the values of `key`, `needs` and `may_have`, in that order, and gives the value at which it is too
    late, in the unit of the reading; None where there is none. `is_falling`: it shrinks towards it.
    """

    name: str
    key: str
    bound: Callable[..., float | None]
    then: str  # what has happened when it is reached
    needs: tuple[str, ...] = ()
    may_have: tuple[str, ...] = ()
    is_falling: bool = False
    severity: Severity = Severity.WARNING
    causes: tuple[str, ...] = ()


def _with_what_is_left(held: float, available: float, limit: float | None, charged: float | None) -> float:
    """A process may take what the machine still has, and what its group may still be charged."""
    left = available if limit is None or charged is None else min(available, limit - charged)
    return held + max(left, 0.0)


GROWING: tuple[Growing, ...] = (
    Growing(
        name="memory-leak",
        key="process.rss_bytes",
        needs=("memory.available_bytes",),
        may_have=("cgroup.memory_limit_bytes", "cgroup.memory_bytes"),
        bound=_with_what_is_left,
        then="memory is full",
        causes=(
            "results or inputs that are kept: a list, a cache without a limit, a closure",
            "a model or data set that is still being loaded",
            "an allocator that keeps what shapes of all sizes once needed (arenas)",
        ),
    ),
    Growing(
        name="memory-filling",
        key="memory.used_bytes",
        needs=("memory.total_bytes",),
        bound=lambda _, total: total,
        then="memory is full",
        causes=("a process that leaks, or still loads", "files in a memory file system (/dev/shm, tmpfs)"),
    ),
    Growing(
        name="memory-leak",
        key="gpu[*].memory_used_bytes",
        needs=("gpu[*].memory_free_bytes",),
        bound=lambda used, free: used + free,
        then="device memory is full",
        causes=(
            "outputs or caches of keys and values that are kept on the device",
            "a library's pool that grows with new shapes",
            "a model that is still being loaded",
        ),
    ),
    Growing(
        name="memory-filling",
        key="cgroup.memory_bytes",
        needs=("cgroup.memory_limit_bytes",),
        bound=lambda _, limit: limit,
        then="the group's limit is reached",
        severity=Severity.INFO,
        causes=("files that are read or written and kept in memory: harmless, they make way", "a process that leaks"),
    ),
    Growing(
        name="disk-filling",
        key="filesystem[*].free_bytes",
        bound=lambda _: 0.0,
        then="it is full",
        is_falling=True,
        causes=("logs, checkpoints or caches", "a download or an export"),
    ),
    Growing(
        name="heating-up",
        key="gpu[*].temperature_celsius",
        bound=lambda celsius: HOT_CELSIUS if 65.0 <= celsius < HOT_CELSIUS else None,
        then=f"{HOT_CELSIUS:.0f} °C are reached",
        severity=Severity.INFO,
        causes=("a fan or the airflow", "full load for longer than before", "the room"),
    ),
)
