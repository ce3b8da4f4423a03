"""What `infer-opt monitor` finds, and what it cries for nothing, on simulated series: one value a second.

*False alerts.* Fourteen kinds of series in which nothing happens (or what happens is ordinary: a load that comes and
goes, a day's wave, bursts), days of each, through the same watch as a monitor's readings; each day and series may have
one alert at most. The upper end is that of the exact 95 % interval of a Poisson rate. The first day stands alone too:
what is ordinary has to be learnt. *Drops.* A throughput falls by 10 %, with noise of 3 to 5 % of its level whose
neighbours are correlated by 0 to 0.7, after half an hour, and after six hours: how often it is found within 30 values.
Beside it what a chart reaches that knows level, noise and correlation beforehand, and whose limit lets it cry once a
day: no rule on this data can do better by much. *Leaks.* A process takes memory at a steady rate on a machine of 16 GB
of which 10 GB are free, beside noise: which share of what was free is gone when it is found. *Growth that is none.*
Memory that is collected, caches that fill, models that load, and wandering levels, days of each. *Cost.* CPU time of
this process a sample of 60 series, at one and at 20 samples a second, the median of an hour's batches.
"""

import math
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from benchmarks import record
from benchmarks.anomaly_series import DAY, NOISES, Array, autoregressive, made, with_drop
from benchmarks.record import Target

from infer_opt.anomalies.shifts import SeriesWatch
from infer_opt.anomalies.watcher import Watcher
from infer_opt.readings.findings import Finding, FindingKind
from infer_opt.readings.samples import Sample
from infer_opt.stats.charts import cusum_run_length

NAME = "anomalies"
DROP, WITHIN, SHARE_FOUND = 0.10, 30, 0.95
SPREADS, CORRELATIONS = (0.03, 0.04, 0.05), (0.0, 0.3, 0.7)
SOON, LATE = 1800, 21_600  # values before the drop
FREE, TOTAL = 10e9, 16e9
LEAK_MINUTES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 180.0, 360.0, 720.0, 1440.0)  # until what is free is gone
GLR_WINDOWS = (18, 21, 24, 27, 30)
LEAK_SEEDS = 20
COST_S = {1: 3600, 20: 600}  # samples a second, and for how long
COST_LIMIT_US = 300.0

Name = TypeVar("Name")
Drops = tuple[dict[str, Any], list[int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """False alerts in so many days of one kind of series: of each series, how many a day on its first day, and all."""

    days: int
    series: int
    first_day: int
    total: int

    @property
    def a_day(self) -> float:
        """A day and series."""
        return self.total / (self.days * self.series)

    @property
    def first_day_rate(self) -> float:
        """Of the first day of each series alone: what is ordinary has yet to be learnt."""
        return self.first_day / self.series

    @property
    def high(self) -> float:
        """The upper end of the rate's 95 % interval (Garwood 1936)."""
        from scipy.special import gammaincinv

        return float(gammaincinv(self.total + 1, 0.975)) / (self.days * self.series)


def false_alerts(name: str, *, seed: int, days: int, series: int) -> Alarms:
    """What a watch cries over `series` series of that noise, each `days` long."""
    first = total = 0
    for number in range(series):
        watch = SeriesWatch(name, NOISES[name].watched)
        values = made(name, seed + 1000 * number, days * DAY)
        found = [at for at, value in enumerate(values) for one in watch.see(float(at), value) if not one.is_over]
        first += sum(at < DAY for at in found)
        total += len(found)
    return Alarms(days=days, series=series, first_day=first, total=total)


def delays(*, spread: float, correlation: float, before: int, seeds: Iterable[int]) -> list[int | None]:
    """How many values after a drop of 10 % it was found, for each seed; None for not within five minutes."""
    found: list[int | None] = []
    for seed in seeds:
        rng = np.random.default_rng([seed, round(1000 * spread), round(10 * correlation)])
        values = with_drop(rng, spread=spread, correlation=correlation, at=before, count=before + 300, by=DROP)
        found.append(_delay(values.tolist(), before))
    return found


def _delay(values: Sequence[float], before: int) -> int | None:
    watch = SeriesWatch("throughput")
    for at, value in enumerate(values):
        if any(not one.is_over for one in watch.see(float(at), value)) and at >= before:
            return at - before + 1
    return None


def share_within(found: Sequence[int | None], limit: int = WITHIN) -> float:
    """How many of them were found in time."""
    return sum(delay is not None and delay <= limit for delay in found) / len(found)


def best_possible(*, spread: float, correlation: float, seed: int, days: int, trials: int) -> float:
    """The share found in time by a chart that knows level, noise and correlation, and cries once a day.

    The generalised likelihood ratio of a step, over windows of 18 to 30 values.
    """
    rng = np.random.default_rng(seed)
    quiet = np.concatenate([_clumps(_ratio(rng.standard_normal(DAY), correlation)) for _ in range(days)])
    limit = float(np.sort(quiet)[-days])  # exceeded once a day
    shift = DROP / spread / math.sqrt(1.0 - correlation**2)
    step = np.zeros(100 + WITHIN)
    step[100], step[101:] = shift, shift * (1.0 - correlation)
    noise = rng.standard_normal((trials, step.size))
    found = [bool((_ratio(row + step, correlation)[100:] >= limit).any()) for row in noise]
    return sum(found) / trials


def _ratio(innovations: Array, correlation: float) -> Array:
    sums = np.concatenate([[0.0], np.cumsum(innovations)])
    best = np.zeros(innovations.size)
    carried = 1.0 - correlation
    for width in GLR_WINDOWS:
        starts = np.arange(innovations.size - width + 1)
        rest = sums[starts + width] - sums[starts + 1]
        z = (innovations[starts] + carried * rest) / math.sqrt(1.0 + (width - 1) * carried * carried)
        best[width - 1 :] = np.maximum(best[width - 1 :], np.abs(z))
    return best


def _clumps(ratios: Array) -> Array:
    """The highest ratio of each minute: what lies together is one alarm."""
    return np.asarray(ratios.reshape(-1, 60).max(axis=1))


def samples(rss: Iterable[float]) -> Iterator[Sample]:
    """A machine of 16 GB, 10 GB of them free at first, whose one process holds `rss`."""
    began = None
    for at, held in enumerate(rss):
        began = held if began is None else began
        left = max(0.0, FREE - (held - began))
        values = {
            "process.rss_bytes": held,
            "memory.available_bytes": left,
            "memory.used_bytes": TOTAL - left,
            "memory.total_bytes": TOTAL,
        }
        yield Sample(number=at, at_s=float(at), clock_s=float(at), values=values)


def growth_found(rss: Iterable[float]) -> Iterator[tuple[int, Finding]]:
    """(second, finding) of what is found to grow."""
    watcher = Watcher()
    for sample in samples(rss):
        for one in watcher.see(sample):
            if one.kind is FindingKind.TREND and not one.is_over and one.key == "process.rss_bytes":
                yield sample.number, one


def gone_when_found(minutes: float, *, seed: int, quiet_s: int = 300) -> float | None:
    """The share of free memory that a leak has taken when it is found; None when it never was.

    It leaves nothing after `minutes`. Beside it the process's own memory wanders by 20 MB.
    """
    rng = np.random.default_rng([seed, round(10 * minutes)])
    length = round(60 * minutes)
    wander = 20e6 * autoregressive(rng, quiet_s + length, 0.9)
    leak = np.concatenate([np.zeros(quiet_s), np.arange(length) * FREE / length])
    rss = 2e9 + wander + leak
    for at, _ in growth_found(rss.tolist()):
        if at >= quiet_s:
            return (at - quiet_s) / length
    return None


def harmless_growth(name: str, rng: np.random.Generator, count: int) -> Array:
    """Memory that grows and leads nowhere."""
    at = np.arange(count)
    wander = 20e6 * autoregressive(rng, count, 0.9)
    if name == "collected now and then":
        return np.asarray(2e9 + wander + 1.5e9 * ((at / rng.uniform(300, 1800)) % 1.0))
    if name == "caches that fill":
        return np.asarray(2e9 + wander + 3e9 * (1.0 - np.exp(-at / rng.uniform(60, 3600))))
    if name == "models that load":
        steps = np.zeros(count)
        for begin in rng.integers(0, count, 6):
            length = int(rng.integers(5, 60))
            steps[begin : begin + length] += np.linspace(0.0, 1.0, length)[: count - begin]
            steps[begin + length :] += 1.0
        return np.asarray(2e9 + wander + 1e9 * steps)
    return np.asarray(4e9 + 400e6 * autoregressive(rng, count, 0.9995) + wander)


HARMLESS = ("collected now and then", "caches that fill", "models that load", "wandering")


def false_growth(name: str, *, seed: int, days: int) -> Alarms:
    """Growth that is found where there is none, each day a series of its own."""
    found = 0
    for day in range(days):
        rng = np.random.default_rng([seed, day, *name.encode()])
        found += sum(1 for _ in growth_found(harmless_growth(name, rng, DAY).tolist()))
    return Alarms(days=1, series=days, first_day=found, total=found)


def cost_us(rate: int, *, seed: int, seconds: int) -> list[float]:
    """CPU time a sample, in µs, of each batch of 60 samples: the readings of a machine with two GPUs and 60 series."""
    rng = np.random.default_rng(seed)
    keys = sixty()
    levels = rng.uniform(0.2, 0.8, len(keys))
    watcher, batches, spent = Watcher(), [], 0
    for number in range(seconds * rate):
        values = dict(zip(keys, (levels * (1.0 + 0.04 * rng.standard_normal(len(keys)))).tolist(), strict=True))
        at = number / rate
        sample = Sample(number=number, at_s=at, clock_s=at, values=values)
        begin = time.process_time_ns()
        watcher.see(sample)
        spent += time.process_time_ns() - begin
        if number % 60 == 59:
            batches.append(spent / 60 / 1e3)
            spent = 0
    return batches


def sixty() -> list[str]:
    """Sixty readings, as of a machine with two GPUs."""
    host = [
        "cpu.busy", "cpu.user", "cpu.system", "cpu.waiting", "cpu.steal", "cpu.runnable", "cpu.frequency_hertz",
        "pressure.cpu_some", "pressure.memory_some", "pressure.memory_full", "pressure.io_some", "pressure.io_full",
        "memory.total_bytes", "memory.available_bytes", "memory.used_bytes", "memory.swapped_in_bytes_per_second",
        "disk.read_bytes_per_second", "disk.written_bytes_per_second", "disk.busy", "filesystem[/].free_bytes",
        "filesystem[/].total_bytes", "network.received_bytes_per_second", "network.sent_bytes_per_second",
        "network.errors_per_second", "cgroup.cpu_cores", "cgroup.throttled", "process.cpu_cores", "process.rss_bytes",
    ]  # fmt: skip
    gpu = [
        "utilisation", "memory_utilisation", "memory_used_bytes", "memory_free_bytes", "memory_total_bytes",
        "sm_clock_hertz", "sm_clock_most_hertz", "temperature_celsius", "power_watts", "power_limit_watts",
        "throttled_by_heat", "throttled_by_power", "pcie_width", "pcie_generation", "process_memory_bytes", "sm_active",
    ]  # fmt: skip
    return host + [f"gpu[{number}].{name}" for number in (0, 1) for name in gpu]


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--days", type=int, default=4, help="days of each series (default 4)")
    parser.add_argument("--series", type=int, default=6, help="series of each kind of noise (default 6)")
    parser.add_argument("--drops", type=int, default=400, help="drops of each kind (default 400)")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    seed, days, series = options.seed, options.days, options.series
    quiet = {name: false_alerts(name, seed=seed, days=days, series=series) for name in _told(NOISES)}
    drops = dict(_drops(seed, options.drops))
    leaks = {
        minutes: [gone_when_found(minutes, seed=number) for number in range(seed, seed + LEAK_SEEDS)]
        for minutes in _told(LEAK_MINUTES)
    }
    harmless = {name: false_growth(name, seed=seed, days=days * series) for name in _told(HARMLESS)}
    costs = {rate: cost_us(rate, seed=seed, seconds=COST_S[rate]) for rate in _told(COST_S)}
    targets = _targets(quiet | harmless, drops, leaks, costs)
    begun.write(
        options.result,
        method=__doc__ or "",
        targets=targets,
        results={
            "false_alerts": {name: _figures(one) for name, one in quiet.items()},
            "false_alerts_of_a_textbook_cusum": {"a day and series": DAY / cusum_run_length()},
            "drops": {name: figures for name, (figures, _) in drops.items()},
            "leaks": {f"{minutes:g} minutes": max(map(_or_all, shares)) for minutes, shares in leaks.items()},
            "growth_that_is_none": {name: _figures(one) for name, one in harmless.items()},
            "cost_us": {f"{rate} samples a second": statistics.median(found) for rate, found in costs.items()},
        },
        samples={
            **{f"values until a drop was found, {name}": found for name, (_, found) in drops.items()},
            **{f"share gone when found, {minutes:g} minutes": shares for minutes, shares in leaks.items()},
            **{f"CPU us a sample, {rate} samples a second": found for rate, found in costs.items()},
        },
    )
    rows: list[list[object]] = [[name, one.a_day, one.high, one.first_day_rate] for name, one in quiet.items()]
    rows += [[name, one.a_day, one.high, one.first_day_rate] for name, one in harmless.items()]
    rows += [[name, *figures.values()] for name, (figures, _) in drops.items()]
    headings = ["series", "alerts a day / found in time", "up to / median delay", "first day / best possible"]
    return record.report(headings, rows, targets, options.result)


def _drops(seed: int, count: int) -> Iterator[tuple[str, Drops]]:
    for before in _told((SOON, LATE)):
        for correlation in CORRELATIONS:
            for spread in SPREADS:
                if before == LATE and spread != SPREADS[1]:
                    continue  # six hours of each value take long: the middle one tells whether time spoils anything
                seeds = range(seed, seed + count)
                found = delays(spread=spread, correlation=correlation, before=before, seeds=seeds)
                best = best_possible(spread=spread, correlation=correlation, seed=seed, days=30, trials=2000)
                known = [delay for delay in found if delay is not None]
                figures = {
                    "share_in_time": share_within(found),
                    "median_values": statistics.median(known) if known else None,
                    "best_possible_share": best,
                }
                yield f"noise {spread:.0%}, correlation {correlation:g}, after {before // 60} minutes", (figures, found)


def _targets(
    alarms: Mapping[str, Alarms],
    drops: Mapping[str, Drops],
    leaks: Mapping[float, Sequence[float | None]],
    costs: Mapping[int, Sequence[float]],
) -> list[Target]:
    unit = "a day and series"
    targets = [
        Target(name=f"false alerts, {name}", unit=unit, measured=one.a_day, high=one.high, at_most=1.0)
        for name, one in alarms.items()
    ]
    targets += [
        Target(
            name=f"drop of 10 % found within {WITHIN} values, {name}",
            unit="of drops",
            measured=figures["share_in_time"],
            at_least=SHARE_FOUND,
        )
        for name, (figures, _) in drops.items()
    ]
    worst = max(max(map(_or_all, shares)) for shares in leaks.values())
    targets.append(Target(name="leak, the most gone when found", unit="of free memory", measured=worst, at_most=0.5))
    targets += [
        Target(
            name=f"CPU time a sample of 60 series, {rate} a second",
            unit="µs",
            measured=statistics.median(found),
            at_most=COST_LIMIT_US,
        )
        for rate, found in costs.items()
    ]
    return targets


def _figures(one: Alarms) -> dict[str, float]:
    return {"a_day": one.a_day, "high": one.high, "on_the_first_day": one.first_day_rate}


def _or_all(share: float | None) -> float:
    """A leak that was never found took everything."""
    return 1.0 if share is None else share


def _told(names: Iterable[Name]) -> Iterator[Name]:
    for name in names:
        print(f"now: {name}", file=sys.stderr, flush=True)
        yield name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
