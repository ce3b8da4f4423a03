from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from alerting import event, finding
from full_sample import full_sample, process
from infer_opt.prometheus.collecting import MOST_PROCESSES, SampleCollector
from infer_opt.prometheus.names import metric_of
from infer_opt.readings.catalogue import CATALOGUE
from infer_opt.readings.findings import AlertEvent, AlertState, Finding, Severity
from infer_opt.readings.samples import ProcessReading, Sample
from promlint import problems

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def registry(
    sample: Sample | None, findings: Sequence[Finding] = (), alerts: Sequence[AlertEvent] = (), clock_s: float = 1002.5
) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(
        SampleCollector(latest=lambda: sample, findings=lambda: findings, alerts=lambda: alerts, clock=lambda: clock_s)
    )
    return made


def written(
    sample: Sample | None, findings: Sequence[Finding] = (), alerts: Sequence[AlertEvent] = (), clock_s: float = 1002.5
) -> str:
    """The metrics in the text format."""
    content: bytes = generate_latest(registry(sample, findings, alerts, clock_s))
    return content.decode()


def parsed(text: str) -> list[Metric]:
    """What the official parser makes of it."""
    return list(text_string_to_metric_families(text))


def families(
    sample: Sample | None, findings: Sequence[Finding] = (), alerts: Sequence[AlertEvent] = (), clock_s: float = 1002.5
) -> list[Metric]:
    return parsed(written(sample, findings, alerts, clock_s))


def series(found: list[Metric]) -> Series:
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in found for one in family.samples}


def only(values: dict[str, float | None], processes: tuple[ProcessReading, ...] = ()) -> Sample:
    return Sample(number=0, at_s=1_700_000_000.0, clock_s=1000.0, values=values, processes=processes)


def test_every_reading_of_a_sample_comes_out_with_its_value_and_labels() -> None:
    sample = full_sample()
    found = series(families(sample))

    for key, value in sample.values.items():
        metric = metric_of(key)
        assert metric is not None
        assert found[metric.exposed, tuple(sorted(metric.labels))] == value


def test_the_metrics_are_as_promtool_wants_them() -> None:
    text = written(full_sample(), [finding("memory-leak", "memory.used_bytes")], [event()])

    assert len(parsed(text)) > len(CATALOGUE)
    assert problems(text) == []


def test_openmetrics_parses_to_the_same_series() -> None:
    made = registry(full_sample(), [finding("memory-leak", "memory.used_bytes")], [event()])
    text = openmetrics.generate_latest(made).decode()  # type: ignore[no-untyped-call]

    found = list(parse_openmetrics(text))  # type: ignore[no-untyped-call]
    assert series(found) == series(parsed(generate_latest(made).decode()))
    units = {family.name: family.unit for family in found}
    assert units["infer_opt_memory_available_bytes"] == "bytes"
    assert units["infer_opt_cpu_busy_ratio"] == "ratio"
    assert units["infer_opt_gpu_energy_joules"] == "joules"
    assert units["infer_opt_cpu_runnable"] == ""


def test_what_is_not_available_is_absent_and_never_zero() -> None:
    found = families(only({"cpu.busy": None, "memory.total_bytes": float("nan"), "memory.swap_used_bytes": 0.0}))

    assert {name for name, _ in series(found) if name.startswith("infer_opt_") and "sample" not in name} == {
        "infer_opt_build_info",
        "infer_opt_memory_swap_used_bytes",
    }


def test_before_the_first_sample_there_is_only_the_build() -> None:
    found = series(families(None))

    (((name, labels), value),) = found.items()
    assert (name, value, dict(labels)["version"]) == ("infer_opt_build_info", 1.0, version("infer-opt"))


def test_the_age_of_the_sample_tells_a_monitor_that_stands_still() -> None:
    found = series(families(only({}), clock_s=1060.0))

    assert found["infer_opt_sample_age_seconds", ()] == 60.0
    assert found["infer_opt_sample_timestamp_seconds", ()] == 1_700_000_000.0
    assert series(families(only({}), clock_s=999.0))["infer_opt_sample_age_seconds", ()] == 0.0


def test_only_chosen_processes_have_series_and_no_command_line_is_shown() -> None:
    sample = only({}, (process(), ProcessReading(pid=1, name="init", rss_bytes=1)))
    text = written(sample)

    assert 'infer_opt_process_rss_bytes{name="python3",pid="70"} 3e+09' in text
    assert 'infer_opt_process_start_time_seconds{name="python3",pid="70"} 1.699999e+09' in text
    assert "init" not in text
    assert "secret" not in text


def test_of_very_many_processes_the_largest_have_series() -> None:
    many = tuple(replace(process(), pid=number, rss_bytes=number) for number in range(1, 2 * MOST_PROCESSES + 1))
    found = series(families(only({}, many)))

    pids = {int(dict(labels)["pid"]) for name, labels in found if name == "infer_opt_process_rss_bytes"}
    assert pids == set(range(MOST_PROCESSES + 1, 2 * MOST_PROCESSES + 1))


def test_what_is_not_known_of_a_process_is_absent() -> None:
    found = series(families(only({}, (ProcessReading(pid=5, name="p", is_chosen=True, threads=2),))))

    assert [name for name, _ in found if "_process_" in name] == ["infer_opt_process_threads"]


def test_alerts_that_fire_and_findings_that_go_on_are_series() -> None:
    alerts = [event(), event(), event("cold", state=AlertState.RESOLVED)]
    key = "memory.used_bytes"
    findings = [finding("memory-leak", key), finding("memory-leak", key), finding("shift", key, is_over=True)]

    found = series(families(only({}), findings, alerts))

    assert {place: value for place, value in found.items() if "alert" in place[0] or "finding" in place[0]} == {
        (
            "infer_opt_alert_firing",
            (("reading", "gpu[0].temperature_celsius"), ("rule", "gpu-hot"), ("severity", "warning")),
        ): 1.0,
        (
            "infer_opt_finding_active",
            (("finding", "memory-leak"), ("kind", "trend"), ("reading", key), ("severity", "warning")),
        ): 1.0,
    }


@pytest.mark.parametrize("name", ['we"ird', "new\nline", "back\\slash", "é", "\udcff\udcfe", "{}"])
def test_names_that_are_hard_to_write_come_through(name: str) -> None:
    sample = only({f"filesystem[{name}].free_bytes": 5.0}, (replace(process(), name=name),))
    alert = event(name, severity=Severity.INFO)
    found = series(families(sample, (), [alert]))

    shown = name.encode("utf-8", "replace").decode()
    assert ("infer_opt_filesystem_free_bytes", (("mountpoint", shown),)) in found
    assert ("infer_opt_process_threads", (("name", shown), ("pid", "70"))) in found
    text = openmetrics.generate_latest(registry(sample, (), [alert])).decode()  # type: ignore[no-untyped-call]
    assert list(parse_openmetrics(text))  # type: ignore[no-untyped-call]


def test_two_names_that_cannot_be_told_apart_give_one_series() -> None:
    places = ["\udcff", "\udcfe"]
    text = written(only({f"filesystem[{place}].free_bytes": 5.0 for place in places}))

    assert problems(text) == []


def test_keys_that_the_catalogue_does_not_know_are_left_out() -> None:
    assert series(families(only({"odd": 1.0, "cpu.nothing": 2.0}))).keys() == series(families(only({}))).keys()


def test_the_checker_finds_what_is_wrong() -> None:
    text = """
# TYPE app_latency_milliseconds gauge
app_latency_milliseconds 1
# HELP app_requests Requests.
# TYPE app_requests counter
app_requests 1
# HELP app_items_total Items.
# TYPE app_items_total gauge
app_items_total 1
# HELP app_gauge_kb A gauge.
# TYPE app_gauge_kb gauge
app_gauge_kb{leName="x"} 1
# HELP app_count Things.
# TYPE app_count gauge
app_count{le="3"} 1
"""
    found = problems(text)

    for part in (
        "app_latency_milliseconds: no help text",
        "app_latency_milliseconds: milliseconds is not a base unit",
        "app_requests: a counter does not end in _total",
        "app_items_total: _total is for counters",
        "app_gauge_kb: the type gauge is in the name",
        "app_gauge_kb: kb is an abbreviated unit",
        "app_gauge_kb: the label leName is not in snake_case",
        "app_count: the suffix _count is reserved",
        "app_count: the label le is reserved",
    ):
        assert part in found
