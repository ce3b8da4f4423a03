"""Samples by the second, and stores to record them in: for the tests of recordings."""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from infer_opt.readings.findings import AlertEvent, AlertState, Finding, FindingKind, Forecast, Severity
from infer_opt.readings.samples import Observation, ProcessReading, Sample
from infer_opt.store.recorder import Recorder

BEGAN_S = 1_790_000_000.0  # Unix time of second 0
BOOTED_S = 5_000.0  # the monotonic clock at second 0

FINDING = Finding(
    kind=FindingKind.TREND,
    name="memory-leak",
    key="memory.available_bytes",
    what="available memory falls by 2 MB a minute",
    at_s=BEGAN_S + 30,
    since_s=BEGAN_S,
    confidence=0.9,
    severity=Severity.CRITICAL,
    causes=("a leak", "a cache that grows"),
    forecast=Forecast(bound=0.0, in_s=600.0, low_s=500.0, high_s=None),
)
ALERT = AlertEvent(
    rule="hot",
    state=AlertState.FIRING,
    severity=Severity.WARNING,
    key="gpu[0].temperature_celsius",
    value=91.5,
    what="gpu[0].temperature_celsius is above 90",
    at_s=BEGAN_S + 40,
    since_s=BEGAN_S + 35,
)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def sample(
    number: int,
    values: Mapping[str, float | None],
    *,
    interval_s: float = 1.0,
    processes: tuple[ProcessReading, ...] = (),
) -> Sample:
    """The sample of that number, at its time."""
    return Sample(
        number=number,
        at_s=BEGAN_S + number * interval_s,
        clock_s=BOOTED_S + number * interval_s,
        values=values,
        processes=processes,
    )


def step(number: int, values: Mapping[str, float | None], *, interval_s: float = 1.0) -> Observation:
    """A sample in which nothing was found."""
    return Observation(sample=sample(number, values, interval_s=interval_s))


def process(pid: int, *, cpu: float | None = 0.5, rss: int = 1_000_000, chosen: bool = False) -> ProcessReading:
    """A process that reads and writes nothing."""
    return ProcessReading(
        pid=pid,
        name=f"worker-{pid}",
        parent_pid=1,
        command=f"python worker.py {pid}",
        user="me",
        state="running",
        started_s=BEGAN_S - pid,
        cpu_cores=cpu,
        rss_bytes=rss,
        threads=4,
        read_bytes_per_second=0.0,
        written_bytes_per_second=None,
        is_chosen=chosen,
    )


def noisy(count: int, keys: Iterable[str], *, seed: int = 1, interval_s: float = 1.0) -> list[Sample]:
    """Samples of readings of several kinds: noise, whole pages, and what never changes."""
    noise = random.Random(seed)
    names = list(keys)

    def value(place: int) -> float:
        if place % 3 == 0:
            return noise.random()
        return 4096.0 * noise.randrange(1000, 2000) if place % 3 == 1 else 7.0

    return [
        sample(number, {key: value(place) for place, key in enumerate(names)}, interval_s=interval_s)
        for number in range(count)
    ]


def record(recorder: Recorder, samples: Iterable[Sample]) -> None:
    """All of them, with nothing found."""
    for one in samples:
        recorder.add(Observation(sample=one))
