"""Series that were read off a real machine while something known happened from second 60 on.

`python -m scripts.record_series EVENT` recorded them: one line a second over two minutes, on two cores and 25 GB.
"""

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from infer_opt.anomalies.watcher import Watcher
from infer_opt.readings.findings import Finding
from infer_opt.readings.samples import ProcessReading, Sample

SERIES = Path(__file__).parents[2] / "recorded_series"
BEGIN_S = 60.0
AT_S = 1.7e9  # of the first sample
Values = dict[str, float | None]


def recorded(event: str, *, also: Callable[[Values], Mapping[str, float | None]] = lambda values: {}) -> list[Sample]:
    """The samples of a series; `also` gives further readings of each."""
    with (SERIES / f"{event}.csv").open(newline="") as file:
        rows = [{key: float(text) for key, text in row.items()} for row in csv.DictReader(file)]
    first_s = rows[0]["clock_s"]
    samples = []
    for number, row in enumerate(rows):
        clock_s = row.pop("clock_s")
        values: Values = {key: None if math.isnan(value) else value for key, value in row.items()}
        chosen = () if values["process.rss_bytes"] is None else (ProcessReading(pid=70, name="load", is_chosen=True),)
        samples.append(
            Sample(
                number=number,
                at_s=AT_S + clock_s - first_s,
                clock_s=clock_s,
                values={**values, **also(values)},
                processes=chosen,
            )
        )
    return samples


def found(samples: list[Sample]) -> list[Finding]:
    """What begins in them."""
    watcher = Watcher()
    return [finding for sample in samples for finding in watcher.see(sample) if not finding.is_over]


def second(finding: Finding) -> tuple[float, float]:
    """When it began, and when it was found, in seconds of the series."""
    return finding.since_s - AT_S, finding.at_s - AT_S


def named(findings: list[Finding], key: str) -> Finding:
    return next(finding for finding in findings if finding.key == key)


def test_an_idle_machine_is_nothing_to_speak_of() -> None:
    assert found(recorded("idle")) == []


@pytest.mark.parametrize("event", ["corunner", "leak", "disk"])
def test_nothing_is_found_before_it_happens(event: str) -> None:
    assert found(recorded(event)[: int(BEGIN_S)]) == []


def test_a_process_that_is_busy_half_of_the_time_is_found_and_dated() -> None:
    shift = named(found(recorded("corunner")), "cpu.busy")

    since_s, at_s = second(shift)
    assert shift.name == "level-shift"
    assert "another program started" in shift.causes
    assert since_s == pytest.approx(BEGIN_S, abs=3.0)
    assert at_s - since_s <= 30.0


def test_a_disk_that_is_written_as_fast_as_it_takes_is_found_by_what_waits_for_it() -> None:
    findings = found(recorded("disk"))

    waits = named(findings, "pressure.io_full")
    since_s, at_s = second(waits)
    assert waits.name == "disk-bound"
    assert since_s == pytest.approx(BEGIN_S, abs=3.0)
    assert at_s - since_s <= 20.0
    assert second(named(findings, "cpu.waiting"))[0] == pytest.approx(BEGIN_S, abs=3.0)


def test_a_leak_is_found_before_half_of_a_container_of_2_gb_is_gone_and_told_when_it_is_full() -> None:
    limit, others = 2e9, 2e8
    samples = recorded(
        "leak",
        also=lambda values: {
            "cgroup.memory_limit_bytes": limit,
            "cgroup.memory_bytes": others + (values["process.rss_bytes"] or 0.0),
        },
    )
    leak = next(finding for finding in found(samples) if finding.name == "memory-leak")

    then = next(sample for sample in samples if sample.at_s >= leak.at_s).values["process.rss_bytes"]
    assert then is not None
    assert leak.key == "process.rss_bytes"
    assert then < limit / 2
    assert leak.since_s - AT_S == pytest.approx(BEGIN_S, abs=5.0)
    assert leak.forecast is not None
    left_s = (limit - others - then) / 20e6  # it takes 20 MB a second, and asks the system for a little more
    assert leak.forecast.in_s == pytest.approx(left_s, rel=0.1)
    assert leak.forecast.high_s is not None
    assert leak.forecast.low_s < leak.forecast.in_s < leak.forecast.high_s


def test_a_leak_of_a_twentieth_of_what_is_free_is_not_cried_out_yet() -> None:
    assert [finding for finding in found(recorded("leak")) if finding.name == "memory-leak"] == []
