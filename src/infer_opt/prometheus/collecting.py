"""The latest sample, the findings and the alerts as Prometheus metrics. What is not available is absent, never 0."""

import importlib.metadata
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from infer_opt.prometheus.names import PREFIX, Metric, metric_of
from infer_opt.readings.findings import AlertEvent, AlertState, Finding
from infer_opt.readings.samples import ProcessReading, Sample

MOST_PROCESSES = 50

# Of each chosen process: field of ProcessReading -> (the end of the name, unit, help).
PROCESS_FIELDS: dict[str, tuple[str, str, str]] = {
    "cpu_cores": ("cpu_cores", "cores", "Its CPU time over wall time, since the sample before (2.0 = two cores busy)"),
    "rss_bytes": ("rss_bytes", "bytes", "Memory that it holds now, pages that it shares included"),
    "threads": ("threads", "", "Its threads now"),
    "read_bytes_per_second": (
        "read_bytes_per_second", "bytes_per_second", "What it had read from disks, since the sample before",
    ),
    "written_bytes_per_second": (
        "written_bytes_per_second", "bytes_per_second", "What it had written to disks, since the sample before",
    ),
    "gpu_memory_bytes": ("gpu_memory_bytes", "bytes", "Device memory that it holds, over all GPUs"),
    "gpu_utilisation": (
        "gpu_utilisation_ratio", "ratio", "Share of time in which its kernels ran, as the driver samples it",
    ),
    "started_s": ("start_time_seconds", "seconds", "When it was started, as Unix time"),
}  # fmt: skip


class SampleCollector(Collector):
    """What Prometheus reads at each scrape. Nothing is measured for it: the latest sample is handed out again."""

    def __init__(
        self,
        *,
        latest: Callable[[], Sample | None],
        findings: Callable[[], Sequence[Finding]],
        alerts: Callable[[], Sequence[AlertEvent]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._latest = latest
        self._findings = findings
        self._alerts = alerts
        self._clock = clock

    def describe(self) -> Iterator[Family]:
        """Nothing beforehand: which readings there are is only known with a sample."""
        return iter(())

    def collect(self) -> Iterator[Family]:
        """All metrics, family by family."""
        build = {"version": _version(), "python": platform.python_version()}
        yield InfoMetricFamily(f"{PREFIX}_build", "The program that gives these metrics", value=build)
        sample = self._latest()
        if sample is not None:
            age = max(0.0, self._clock() - sample.clock_s)
            yield GaugeMetricFamily(
                f"{PREFIX}_sample_age_seconds", "Time since the sample that all readings here are of", age,
                unit="seconds",
            )  # fmt: skip
            yield GaugeMetricFamily(
                f"{PREFIX}_sample_timestamp_seconds", "When that sample was taken, as Unix time", sample.at_s,
                unit="seconds",
            )  # fmt: skip
            yield from _readings(sample.values)
            yield from _processes(sample.processes)
        yield _active(self._findings())
        yield _firing(self._alerts())


def _version() -> str:
    try:
        return importlib.metadata.version("infer-opt")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that nobody has installed
        return "unknown"


def _readings(values: Mapping[str, float | None]) -> Iterator[Family]:
    # A family's samples have to stand together, and keys come in any order.
    families: dict[str, Family] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for key, value in values.items():
        metric = metric_of(key)
        if value is None or math.isnan(value) or metric is None:
            continue
        labels = tuple(_text(content) for _, content in metric.labels)
        if (metric.name, labels) in seen:  # two keys that differ only in what no label can hold
            continue
        seen.add((metric.name, labels))
        family = families.get(metric.name)
        if family is None:
            family = families[metric.name] = _family(metric)
        family.add_sample(metric.exposed, dict(zip((name for name, _ in metric.labels), labels, strict=True)), value)
    yield from families.values()


def _family(metric: Metric) -> Family:
    labels = [name for name, _ in metric.labels]
    if metric.is_counter:
        return CounterMetricFamily(metric.name, metric.help, labels=labels, unit=metric.unit)
    return GaugeMetricFamily(metric.name, metric.help, labels=labels, unit=metric.unit)


def _processes(processes: Sequence[ProcessReading]) -> Iterator[Family]:
    """The chosen processes, the largest first where there are too many: a label for each is a series for each."""
    chosen = sorted(
        (process for process in processes if process.is_chosen), key=lambda one: (-(one.rss_bytes or 0), one.pid)
    )[:MOST_PROCESSES]
    for field, (name, unit, definition) in PROCESS_FIELDS.items():
        family = GaugeMetricFamily(f"{PREFIX}_process_{name}", definition, labels=("pid", "name"), unit=unit)
        for process in chosen:
            value = getattr(process, field)
            if value is not None:
                family.add_metric((str(process.pid), _text(process.name)), value)
        if family.samples:
            yield family


def _active(findings: Sequence[Finding]) -> Family:
    family = GaugeMetricFamily(
        f"{PREFIX}_finding_active", "1 for each finding that is not over",
        labels=("finding", "kind", "severity", "reading"),
    )  # fmt: skip
    there = {(one.name, one.kind.value, one.severity.value, one.key): None for one in findings if not one.is_over}
    for labels in there:
        family.add_metric([_text(label) for label in labels], 1)
    return family


def _firing(alerts: Sequence[AlertEvent]) -> Family:
    family = GaugeMetricFamily(
        f"{PREFIX}_alert_firing", "1 for each alert that fires", labels=("rule", "severity", "reading")
    )
    there = {(one.rule, one.severity.value, one.key): None for one in alerts if one.state is AlertState.FIRING}
    for labels in there:
        family.add_metric([_text(label) for label in labels], 1)
    return family


def _text(label: str) -> str:
    """A label that can be sent: names of processes and folders may be bytes that are no text."""
    return label.encode("utf-8", "replace").decode()
