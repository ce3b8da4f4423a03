from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from alerting import WALL_S, finding, rules, sample
from infer_opt.alerts.evaluating import Alerts
from infer_opt.readings.findings import AlertEvent, AlertState, Severity

HOT = """
rules:
  - name: hot
    reading: gpu.temperature_celsius
    above: 85C
    for: 30s
    clear: 80C
    clear_for: 20s
    severity: critical
"""
TEMPERATURE = "gpu[0].temperature_celsius"
FREE = "filesystem[/].free_bytes"
Values = Mapping[str, float | None]


def run(alerts: Alerts, series: Iterable[Values], *, first_s: float = 0.0, every_s: float = 10.0) -> list[AlertEvent]:
    """All events of a series of samples, one every ten seconds."""
    return [
        event for index, values in enumerate(series) for event in alerts.see(sample(first_s + index * every_s, values))
    ]


def told(events: Iterable[AlertEvent]) -> list[tuple[str, str, float]]:
    """(state, key, second) of events."""
    return [(event.state.value, event.key, event.at_s - WALL_S) for event in events]


def test_an_alert_fires_after_its_duration_and_is_resolved_below_its_lower_bound(tmp_path: Path) -> None:
    alerts = Alerts(rules(tmp_path, HOT))
    series = [70, 86, 90, 90, 91, 84, 81, 80, 79, 79, 79]

    fired, resolved = run(alerts, [{TEMPERATURE: value} for value in series])

    assert told([fired, resolved]) == [("firing", TEMPERATURE, 40.0), ("resolved", TEMPERATURE, 90.0)]
    assert (fired.rule, fired.severity, fired.value) == ("hot", Severity.CRITICAL, 91.0)
    assert fired.what == "gpu[0].temperature_celsius is 91 °C, above 85 °C for 30 s"
    assert resolved.what == "gpu[0].temperature_celsius is 79 °C, at or below 80 °C for 20 s"
    assert fired.since_s == resolved.since_s == WALL_S + 10.0


def test_the_bound_itself_does_not_fire_and_the_lower_one_resolves(tmp_path: Path) -> None:
    text = "rules:\n- {name: hot, reading: gpu.temperature_celsius, above: 85, clear: 80}\n"
    alerts = Alerts(rules(tmp_path, text))

    assert run(alerts, [{TEMPERATURE: 85.0}]) == []
    assert told(run(alerts, [{TEMPERATURE: 85.1}, {TEMPERATURE: 80.1}, {TEMPERATURE: 80.0}], first_s=10.0)) == [
        ("firing", TEMPERATURE, 10.0),
        ("resolved", TEMPERATURE, 30.0),
    ]


def test_each_instance_goes_its_own_way(tmp_path: Path) -> None:
    alerts = Alerts(rules(tmp_path, HOT))
    other = "gpu[1].temperature_celsius"
    series: list[Values] = [{TEMPERATURE: 90, other: 50 if second < 20 else 90} for second in range(0, 60, 10)]

    assert told(run(alerts, series)) == [("firing", TEMPERATURE, 30.0), ("firing", other, 50.0)]
    assert [event.key for event in alerts.firing()] == [TEMPERATURE, other]


def test_a_rule_without_an_instance_is_also_about_the_plain_reading(tmp_path: Path) -> None:
    text = "rules:\n- {name: busy, reading: cpu.busy, above: 90%}\n"
    alerts = Alerts(rules(tmp_path, text))

    found = run(alerts, [{"cpu.busy": 0.95, "cpu[0].busy": 0.99, "cpu[1].busy": 0.5, "cpu.user": 0.99}])

    assert [event.key for event in found] == ["cpu.busy", "cpu[0].busy"]


def test_a_rule_about_one_instance_leaves_the_others_alone(tmp_path: Path) -> None:
    text = "rules:\n- {name: busy, reading: 'cpu[1].busy', above: 90%}\n"
    alerts = Alerts(rules(tmp_path, text))

    found = run(alerts, [{"cpu.busy": 0.95, "cpu[0].busy": 0.99, "cpu[1].busy": 0.91, "cpu[11].busy": 0.99}])

    assert [event.key for event in found] == ["cpu[1].busy"]


def test_a_share_of_another_reading_is_taken_of_the_same_instance(tmp_path: Path) -> None:
    text = """
rules:
  - name: full
    reading: filesystem.free_bytes
    below: 10% of filesystem.total_bytes
    clear: 20% of filesystem.total_bytes
"""
    alerts = Alerts(rules(tmp_path, text))
    data = "filesystem[/data].free_bytes"
    sizes = {"filesystem[/].total_bytes": 100e9, "filesystem[/data].total_bytes": 1000e9}

    fired = run(alerts, [{FREE: 50e9, data: 50e9, **sizes}])
    assert run(alerts, [{FREE: 50e9, data: 150e9, **sizes}], first_s=10.0) == []
    resolved = run(alerts, [{FREE: 50e9, data: 200e9, **sizes}], first_s=20.0)

    assert [event.what for event in fired + resolved] == [
        "filesystem[/data].free_bytes is 50 GB, below 10 % of filesystem.total_bytes (100 GB)",
        "filesystem[/data].free_bytes is 200 GB, at or above 20 % of filesystem.total_bytes (200 GB)",
    ]


def test_a_share_of_a_reading_of_another_family_is_taken_of_that_one(tmp_path: Path) -> None:
    text = "rules:\n- {name: large, reading: process.rss_bytes, above: 50% of memory.total_bytes}\n"
    alerts = Alerts(rules(tmp_path, text))

    assert told(run(alerts, [{"process[7].rss_bytes": 6e9, "process.rss_bytes": 4e9, "memory.total_bytes": 10e9}])) == [
        ("firing", "process[7].rss_bytes", 0.0)
    ]


def test_while_the_whole_is_not_known_its_share_is_not_either(tmp_path: Path) -> None:
    text = "rules:\n- {name: low, reading: memory.available_bytes, below: 10% of memory.total_bytes, clear_for: 10s}\n"
    alerts = Alerts(rules(tmp_path, text))
    low: Values = {"memory.available_bytes": 1e9, "memory.total_bytes": 100e9}
    unknown: Values = {"memory.available_bytes": 1e9, "memory.total_bytes": None}

    found = run(alerts, [unknown, low, unknown, low, unknown, unknown])

    assert told(found) == [
        ("firing", "memory.available_bytes", 10.0),
        ("resolved", "memory.available_bytes", 50.0),
    ]


@pytest.mark.parametrize("gone", [{TEMPERATURE: None}, {TEMPERATURE: float("nan")}, {}])
def test_a_reading_that_goes_missing_neither_fires_nor_resolves_until_it_has_lasted(
    tmp_path: Path, gone: Values
) -> None:
    alerts = Alerts(rules(tmp_path, HOT))
    hot: Values = {TEMPERATURE: 90}

    (fired,) = run(alerts, [hot, hot, hot, gone, hot, hot])
    assert told([fired]) == [("firing", TEMPERATURE, 40.0)]
    found = run(alerts, [gone, gone, hot, gone, gone, gone], first_s=60.0)

    assert told(found) == [("resolved", TEMPERATURE, 110.0)]
    assert found[0].what == "gpu[0].temperature_celsius is n/a for 20 s: resolved, though it is not known to be well"
    assert found[0].value is None
    assert alerts.firing() == ()


def test_durations_are_those_of_the_monotonic_clock_when_the_time_of_day_is_set(tmp_path: Path) -> None:
    alerts = Alerts(rules(tmp_path, HOT))
    found: list[AlertEvent] = []
    for second in range(0, 40, 10):
        one = sample(second, {TEMPERATURE: 90})
        moved = -86_400.0 if second >= 20 else 0.0
        found += alerts.see(type(one)(number=0, at_s=one.at_s + moved, clock_s=one.clock_s, values=one.values))

    (fired,) = found
    assert fired.at_s == WALL_S + 30 - 86_400
    assert fired.at_s - fired.since_s == pytest.approx(30.0)


def test_missing_is_for_what_was_there_before(tmp_path: Path) -> None:
    text = "rules:\n- {name: lost, reading: gpu.memory_total_bytes, missing: true, for: 20s}\n"
    alerts = Alerts(rules(tmp_path, text))
    key, never = "gpu[0].memory_total_bytes", "gpu[1].memory_total_bytes"
    there: Values = {key: 80e9, never: None}

    fired = run(alerts, [there, there, {}, {key: None}, {}])
    resolved = run(alerts, [there], first_s=60.0)

    # Back for as long as it had to be gone: 20 s.
    assert told(fired + resolved) == [("firing", key, 40.0)]
    assert told(run(alerts, [there, there], first_s=70.0)) == [("resolved", key, 80.0)]
    assert fired[0].what == "gpu[0].memory_total_bytes is n/a for 20 s"


def test_missing_of_one_instance_holds_from_the_beginning(tmp_path: Path) -> None:
    text = "rules:\n- {name: lost, reading: 'gpu[1].memory_total_bytes', missing: true, clear_for: 0}\n"
    alerts = Alerts(rules(tmp_path, text))

    found = run(alerts, [{"gpu[0].memory_total_bytes": 80e9}, {"gpu[1].memory_total_bytes": 80e9}])

    key = "gpu[1].memory_total_bytes"
    assert told(found) == [("firing", key, 0.0), ("resolved", key, 10.0)]
    assert found[1].what == "gpu[1].memory_total_bytes is there again: 80 GB"


def test_a_counter_fires_when_it_grows_and_not_for_what_it_was_at_the_beginning(tmp_path: Path) -> None:
    text = "rules:\n- {name: oom, reading: memory.oom_kills, grows: true, clear_for: 30s}\n"
    alerts = Alerts(rules(tmp_path, text))
    series = [7, 7, None, 8, 9, 9, 9, 9, 0, 0, 1]

    found = run(alerts, [{"memory.oom_kills": value} for value in series])

    assert told(found) == [
        ("firing", "memory.oom_kills", 30.0),
        ("resolved", "memory.oom_kills", 80.0),
        ("firing", "memory.oom_kills", 100.0),
    ]
    assert [event.what for event in found[:2]] == [
        "memory.oom_kills grew from 7 to 8",
        "memory.oom_kills has not grown for 30 s",
    ]


LEAK = "rules:\n- {name: leak, finding: memory-leak, at_least: warning}\n"


def test_a_finding_fires_while_it_is_not_over(tmp_path: Path) -> None:
    alerts = Alerts(rules(tmp_path, LEAK))
    key = "process.rss_bytes"
    begins = finding("memory-leak", key, severity=Severity.CRITICAL)

    (fired,) = alerts.see(sample(0, {key: 3e9}), [begins])
    assert alerts.see(sample(10, {key: 3e9})) == ()
    (resolved,) = alerts.see(sample(20, {key: 3e9}), [finding("memory-leak", key, is_over=True)])

    assert (fired.key, fired.severity, fired.value, fired.what) == (key, Severity.CRITICAL, 3e9, begins.what)
    assert (resolved.state, resolved.what) == (AlertState.RESOLVED, "memory-leak of process.rss_bytes is over")
    assert alerts.firing() == ()


def test_findings_of_another_name_or_below_the_severity_are_left_alone(tmp_path: Path) -> None:
    alerts = Alerts(rules(tmp_path, LEAK))
    key = "process.rss_bytes"
    below = finding("memory-leak", key, severity=Severity.INFO)

    assert alerts.see(sample(0), [finding("level-shift", key), below]) == ()
    assert told(alerts.see(sample(10), [finding("memory-leak", key)])) == [("firing", key, 10.0)]


def test_two_findings_about_one_reading_are_two_alerts_of_a_rule_for_any(tmp_path: Path) -> None:
    alerts = Alerts(rules(tmp_path, "rules:\n- {name: all, finding: any, severity: info}\n"))
    key = "process.rss_bytes"

    found = alerts.see(sample(0), [finding("level-shift", key), finding("memory-leak", key)])
    assert [(event.key, event.severity) for event in found] == [(key, Severity.INFO)] * 2
    (resolved,) = alerts.see(sample(10), [finding("level-shift", key, is_over=True)])

    assert resolved.what == "level-shift of process.rss_bytes is over"
    assert len(alerts.firing()) == 1


def test_a_message_of_ones_own_tells_what_it_was_given(tmp_path: Path) -> None:
    text = """
rules:
  - name: low
    reading: filesystem.free_bytes
    below: 10% of filesystem.total_bytes
    message: "{rule} ({severity}): {instance} has {value}, below {bound} {{{reading}}}"
  - {name: leak, finding: any, message: "look: {what}"}
"""
    alerts = Alerts(rules(tmp_path, text))
    low = {FREE: 5e9, "filesystem[/].total_bytes": 100e9}

    found = alerts.see(sample(0, low), [finding("memory-leak", "memory.used_bytes")])

    assert [event.what for event in found] == [
        "low (warning): / has 5 GB, below 10 % of filesystem.total_bytes (10 GB) {filesystem[/].free_bytes}",
        "look: memory.used_bytes grows by 1 MB/s",
    ]


def test_events_come_in_the_order_of_the_rules(tmp_path: Path) -> None:
    text = """
rules:
  - {name: second, reading: cpu.user, above: 10%}
  - {name: first, reading: cpu.busy, above: 10%}
"""
    alerts = Alerts(rules(tmp_path, text))

    found = run(alerts, [{"cpu[1].busy": 0.5, "cpu.busy": 0.5, "cpu.user": 0.5}])

    assert [(event.rule, event.key) for event in found] == [
        ("second", "cpu.user"),
        ("first", "cpu.busy"),
        ("first", "cpu[1].busy"),
    ]


def test_processes_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    text = "rules:\n- {name: large, reading: process.rss_bytes, above: 5GB}\n"
    alerts = Alerts(rules(tmp_path, text))
    series: list[Values] = [{f"process[{number}].rss_bytes": 1e9, "odd key": 1.0} for number in range(10_050)]

    assert run(alerts, series) == []
    assert len(alerts._watches) <= 1
    assert len(alerts._matching) <= 10_000


def test_an_alert_of_a_process_that_ended_is_resolved_too(tmp_path: Path) -> None:
    text = "rules:\n- {name: large, reading: process.rss_bytes, above: 5GB}\n"
    alerts = Alerts(rules(tmp_path, text))

    found = run(alerts, [{"process[1].rss_bytes": 6e9}, {}, {}])

    assert told(found) == [("firing", "process[1].rss_bytes", 0.0), ("resolved", "process[1].rss_bytes", 20.0)]
    assert alerts._watches == {}
