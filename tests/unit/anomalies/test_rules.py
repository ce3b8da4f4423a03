from collections.abc import Mapping, Sequence

import pytest

from infer_opt.anomalies.physical import RULES, Rule
from infer_opt.anomalies.rules import LOST_S, RuleWatch
from infer_opt.readings.catalogue import CATALOGUE, split
from infer_opt.readings.findings import Finding, FindingKind, Severity

Values = Mapping[str, float | None]
GB = 1e9

QUIET: dict[str, float | None] = {
    "gpu[0].throttled_by_heat": 0.0,
    "gpu[0].throttled_by_power": 0.0,
    "gpu[0].temperature_celsius": 60.0,
    "gpu[0].power_watts": 300.0,
    "gpu[0].power_limit_watts": 700.0,
    "gpu[0].sm_clock_hertz": 1.9e9,
    "gpu[0].sm_clock_most_hertz": 1.98e9,
    "gpu[0].utilisation": 0.9,
    "gpu[0].process_memory_bytes": 3 * GB,
    "gpu[0].foreign_processes": 0.0,
    "gpu[0].uncorrected_errors": 5.0,
    "gpu[0].memory_free_bytes": 60 * GB,
    "gpu[0].memory_total_bytes": 80 * GB,
    "gpu[0].pcie_width": 16.0,
    "gpu[0].pcie_width_most": 16.0,
    "gpu[0].pcie_generation": 5.0,
    "gpu[0].pcie_generation_most": 5.0,
    "cpu.steal": 0.0,
    "cpu.busy": 0.95,
    "pressure.cpu_some": 0.1,
    "pressure.memory_full": 0.0,
    "pressure.io_full": 0.0,
    "process.threads": 64.0,
    "process.cpu_cores": 1.8,
    "process.major_faults_per_second": 0.0,
    "cgroup.throttled": 0.0,
    "cgroup.throttled_cores": 0.0,
    "cgroup.quota_cores": 2.0,
    "cgroup.oom_kills": 0.0,
    "memory.swapped_in_bytes_per_second": 0.0,
    "memory.swapped_out_bytes_per_second": 0.0,
    "memory.available_bytes": 8 * GB,
    "memory.total_bytes": 16 * GB,
    "memory.oom_kills": 2.0,
    "disk.busy": 0.1,
    "filesystem[/].free_bytes": 100 * GB,
    "filesystem[/].total_bytes": 500 * GB,
    "network.errors_per_second": 0.0,
    "network.dropped_per_second": 0.0,
}

# rule, the reading that it concerns, what is different then, what its sentence holds, and how sure it is
EVENTS: Sequence[tuple[str, str, Values, str, float]] = (
    (
        "gpu-throttled-by-heat",
        "gpu[0].throttled_by_heat",
        {"gpu[0].throttled_by_heat": 1.0, "gpu[0].temperature_celsius": 91.0},
        "GPU 0: heat holds the clock down at 91 °C",
        1.0,
    ),
    (
        "gpu-throttled-by-power",
        "gpu[0].throttled_by_power",
        {"gpu[0].throttled_by_power": 1.0, "gpu[0].power_watts": 699.0},
        "699 W of 700 W",
        1.0,
    ),
    ("gpu-slow-clock", "gpu[0].sm_clock_hertz", {"gpu[0].sm_clock_hertz": 0.99e9}, "990 MHz, 50% of its highest", 1.0),
    (
        "gpu-idle-with-work",
        "gpu[0].utilisation",
        {"gpu[0].utilisation": 0.0},
        "idle while the chosen processes hold 3 GB there and keep 1.8 CPU cores busy",
        0.8,
    ),
    ("gpu-shared", "gpu[0].foreign_processes", {"gpu[0].foreign_processes": 2.0}, "2 other processes", 1.0),
    ("gpu-memory-errors", "gpu[0].uncorrected_errors", {"gpu[0].uncorrected_errors": 6.0}, "1 memory error", 1.0),
    ("gpu-memory-nearly-full", "gpu[0].memory_free_bytes", {"gpu[0].memory_free_bytes": 0.1 * GB}, "100 MB", 1.0),
    ("pcie-narrow", "gpu[0].pcie_width", {"gpu[0].pcie_width": 8.0}, "PCIe runs 8 of 16 lanes", 1.0),
    ("pcie-slow", "gpu[0].pcie_generation", {"gpu[0].pcie_generation": 3.0}, "generation 3, not 5", 1.0),
    ("cpu-stolen", "cpu.steal", {"cpu.steal": 0.12}, "cpu: the hypervisor gives 12 % of CPU time to others", 1.0),
    ("cpu-oversubscribed", "pressure.cpu_some", {"pressure.cpu_some": 0.6}, "have 64 threads", 0.9),
    (
        "cgroup-throttled",
        "cgroup.throttled",
        {"cgroup.throttled": 0.4, "cgroup.throttled_cores": 1.5},
        "in 40 % of the periods, 1.5 cores' time lost; its quota is 2 cores",
        1.0,
    ),
    (
        "thrashing",
        "memory.swapped_in_bytes_per_second",
        {"memory.swapped_in_bytes_per_second": 30e6, "pressure.memory_full": 0.08},
        "from swap at 30 MB/s; everything waits for it 8 % of the time",
        1.0,
    ),
    ("memory-stalls", "pressure.memory_full", {"pressure.memory_full": 0.3}, "waits for memory 30 % of the time", 1.0),
    ("memory-nearly-full", "memory.available_bytes", {"memory.available_bytes": 0.3 * GB}, "300 MB left of 16 GB", 1.0),
    ("oom-kill", "memory.oom_kills", {"memory.oom_kills": 3.0}, "memory: the kernel ended 1 process", 1.0),
    ("oom-kill", "cgroup.oom_kills", {"cgroup.oom_kills": 2.0}, "cgroup: the kernel ended 2 processes", 1.0),
    ("disk-bound", "pressure.io_full", {"pressure.io_full": 0.5, "disk.busy": 1.0}, "busiest is busy 100 %", 1.0),
    (
        "weights-read-again",
        "process.major_faults_per_second",
        {"process.major_faults_per_second": 4000.0},
        "4,000 page faults a second",
        0.9,
    ),
    ("disk-nearly-full", "filesystem[/].free_bytes", {"filesystem[/].free_bytes": 5 * GB}, "/: 5 GB left", 1.0),
    ("network-errors", "network.errors_per_second", {"network.errors_per_second": 12.0}, "12 packets", 1.0),
    ("network-drops", "network.dropped_per_second", {"network.dropped_per_second": 50.0}, "50 packets", 1.0),
)


def watch_of(values: Values = QUIET, rules: Sequence[Rule] = RULES) -> RuleWatch:
    watch = RuleWatch(rules)
    for key in values:
        watch.discover(key)
    return watch


def seen(watch: RuleWatch, *spells: tuple[Values, int], start: int = 0) -> list[Finding]:
    """What is found in seconds that differ from quiet ones by these values, for so long each."""
    found, at = [], start
    for different, seconds in spells:
        for _ in range(seconds):
            found += watch.see(float(at), {**QUIET, **different})
            at += 1
    return found


def test_a_quiet_machine_shows_nothing() -> None:
    assert seen(watch_of(), ({}, 300)) == []


def test_every_rule_has_an_event_below() -> None:
    assert {(rule.name, rule.key.replace("*", "0")) for rule in RULES if "filesystem" not in rule.key} == {
        (name, key) for name, key, *_ in EVENTS if "filesystem" not in key
    }
    assert any(name == "disk-nearly-full" for name, *_ in EVENTS)


@pytest.mark.parametrize(("name", "key", "different", "words", "confidence"), EVENTS)
def test_each_rule_finds_its_event_once_and_says_when_it_is_over(
    name: str, key: str, different: Values, words: str, confidence: float
) -> None:
    found = seen(watch_of(), ({}, 30), (different, 60), (different, 40), ({**QUIET}, 1), ({}, 200))

    mine = [one for one in found if (one.name, one.key) == (name, key)]
    assert mine == found
    assert [one.is_over for one in mine] == [False, True]
    assert words in mine[0].what
    assert mine[0].kind is FindingKind.RULE
    assert mine[0].since_s == mine[1].since_s == 30.0
    assert mine[0].at_s <= 41.0
    assert mine[0].confidence == pytest.approx(confidence, abs=0.11)
    assert mine[0].causes
    assert " after " in mine[1].what


@pytest.mark.parametrize(("name", "key", "different", "words", "confidence"), EVENTS)
def test_without_its_own_reading_no_rule_says_anything(
    name: str, key: str, different: Values, words: str, confidence: float
) -> None:
    assert seen(watch_of(), ({**different, key: None}, 60)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {rule.key}")
def test_rules_read_what_the_catalogue_knows_and_every_one_says_why(rule: Rule) -> None:
    for key in (rule.key, *rule.needs, *rule.may_have):
        family, _, name = split(key)
        assert (family, name) in CATALOGUE
    assert rule.causes
    assert 0.0 < rule.directness <= 1.0
    assert rule.clear_s >= rule.hold_s


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {rule.key}")
def test_what_a_rule_may_have_may_also_be_missing(rule: Rule) -> None:
    needed = [1e9] * (1 + len(rule.needs))
    missing = [None] * len(rule.may_have)

    assert rule.holds(*needed, *missing) in (True, False)
    assert rule.says(*needed, *missing)


def test_a_rule_without_what_it_needs_cannot_tell() -> None:
    assert seen(watch_of(), ({"gpu[0].sm_clock_hertz": 0.5e9, "gpu[0].utilisation": None}, 60)) == []


def test_a_slow_clock_of_an_idle_device_is_ordinary() -> None:
    idle = {"gpu[0].sm_clock_hertz": 0.3e9, "gpu[0].utilisation": 0.03, "process.cpu_cores": 0.0}

    assert seen(watch_of(), (idle, 60)) == []


def test_an_idle_device_without_work_is_ordinary() -> None:
    assert seen(watch_of(), ({"gpu[0].utilisation": 0.0, "process.cpu_cores": 0.1}, 60)) == []
    assert seen(watch_of(), ({"gpu[0].utilisation": 0.0, "gpu[0].process_memory_bytes": 0.0}, 60)) == []


def test_swap_without_pressure_readings_takes_both_ways_for_thrashing() -> None:
    into = {"memory.swapped_in_bytes_per_second": 5e6, "pressure.memory_full": None}

    assert seen(watch_of(), (into, 60)) == []
    assert len(seen(watch_of(), ({**into, "memory.swapped_out_bytes_per_second": 5e6}, 60))) == 1


def test_a_short_event_is_no_finding() -> None:
    assert seen(watch_of(), ({}, 10), ({"cpu.steal": 0.5}, 4), ({}, 60)) == []


def test_what_flickers_is_one_finding() -> None:
    watch = watch_of()
    spells = [spell for _ in range(30) for spell in (({"cgroup.throttled": 0.5}, 4), ({}, 1))]

    found = seen(watch, *spells)

    assert len(found) == 1
    assert found[0].confidence == pytest.approx(0.8, abs=0.06)
    assert watch.open() == (found[0],)


def test_a_counter_that_begins_anew_is_no_event() -> None:
    assert seen(watch_of(), ({}, 5), ({"memory.oom_kills": 0.0}, 60)) == []


def test_each_device_has_findings_of_its_own() -> None:
    watch = watch_of()
    watch.discover("gpu[1].throttled_by_heat")
    watch.discover("gpu[1].temperature_celsius")

    found = seen(watch, ({"gpu[1].throttled_by_heat": 1.0}, 10))

    assert [one.key for one in found] == ["gpu[1].throttled_by_heat"]
    assert found[0].what == "GPU 1: heat holds the clock down"


def test_a_finding_whose_device_is_lost_is_over_after_a_minute() -> None:
    watch = watch_of()

    found = seen(watch, ({"gpu[0].throttled_by_heat": 1.0}, 10), ({"gpu[0].throttled_by_heat": None}, 90))

    assert [one.is_over for one in found] == [False, True]
    assert found[1].at_s == 9 + LOST_S
    assert "no longer measured" in found[1].what
    assert watch.open() == ()


def test_what_is_gone_for_good_is_not_asked_for_again() -> None:
    watch = watch_of()

    watch.forget(["cpu.steal"])

    assert seen(watch, ({"cpu.steal": 0.9}, 60)) == []


def test_a_gap_begins_what_had_not_held_for_long_enough_anew() -> None:
    watch = watch_of()
    seen(watch, ({"cpu.steal": 0.5}, 8))

    watch.interrupt()

    assert seen(watch, ({"cpu.steal": 0.5}, 8), start=20) == []


def test_what_needs_somebody_now_is_critical() -> None:
    critical = {rule.name for rule in RULES if rule.severity is Severity.CRITICAL}

    assert critical == {"gpu-memory-errors", "thrashing", "memory-nearly-full", "oom-kill"}
