import math
from dataclasses import replace

import pytest

from fake_source import GIB, FakeSource, leak
from infer_opt.readings.samples import Observation, ProcessReading, Sample
from infer_opt.terminal.inventory import Device, in_order, take_inventory
from infer_opt.terminal.seen import KEPT, KEPT_OF_A_PROCESS, MEMORY_USED, Seen, Series


def watched(source: FakeSource, samples: int) -> Seen:
    seen = Seen()
    for _ in range(samples):
        observation = source.next()
        assert observation is not None
        seen.add(observation)
    return seen


def test_an_inventory_counts_as_people_do() -> None:
    keys = [f"cpu[{core}].busy" for core in (10, 2, 0, 1)] + [
        "cpu.busy",
        "disk[sda].busy",
        "disk[nvme10n1].busy",
        "disk[nvme2n1].busy",
    ]

    inventory = take_inventory(keys)

    assert inventory.cores == ("0", "1", "2", "10")
    assert inventory.disks == ("nvme2n1", "nvme10n1", "sda")
    assert in_order(["a10", "a9", "b", "7", "a"]) == ("7", "a", "a9", "a10", "b")


def test_parts_of_a_device_belong_to_it() -> None:
    inventory = take_inventory(
        ["gpu[1].power_watts", "gpu[0].power_watts", "gpu[0.mig2].sm_active", "gpu[0.mig1].sm_active"]
    )

    assert inventory.gpus == (Device(instance="0", parts=("0.mig1", "0.mig2")), Device(instance="1"))


def test_a_key_that_is_none_is_left_out_of_an_inventory() -> None:
    assert take_inventory(["nonsense", "cpu[0].busy"]).cores == ("0",)


def test_a_series_keeps_the_newest_values_and_not_many_more() -> None:
    series = Series(3)
    for value in (1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0):
        series.append(value)

    assert list(series.values) == [5.0, 6.0, 7.0]
    assert len(series._values) < 6


def test_a_gap_in_a_series_is_not_a_zero() -> None:
    series = Series(3)
    series.append(None)

    assert math.isnan(series.values[0])


def test_memory_does_not_grow_with_the_session() -> None:
    seen = watched(FakeSource(processes=3), 3 * KEPT)

    assert len(seen.series("cpu.busy")) == KEPT
    assert len(seen.series(MEMORY_USED)) == KEPT
    history = seen.history(1001)
    assert history is not None
    assert len(history.cpu_cores.values) == KEPT_OF_A_PROCESS


def test_the_course_of_a_reading_begins_with_the_session() -> None:
    seen = watched(FakeSource(), 5)

    assert len(seen.series("cpu.busy")) == 5
    assert math.isnan(seen.series("cpu.busy")[0])
    assert seen.length_s == 4.0
    assert seen.series("cpu[0].busy") == ()  # cores have meters, not graphs


def test_a_device_that_is_gone_takes_its_course_with_it() -> None:
    source = FakeSource(gpus=2)
    seen = watched(source, 3)
    assert [device.instance for device in seen.inventory.gpus] == ["0", "1"]

    source.gone.add(1)
    seen.add(Observation(sample=source.sample(3)))

    assert [device.instance for device in seen.inventory.gpus] == ["0"]
    assert seen.series("gpu[1].utilisation") == ()
    assert len(seen.series("gpu[0].utilisation")) == 4


def test_the_share_of_memory_is_made_from_used_and_total() -> None:
    values: dict[str, float | None] = {"memory.used_bytes": 6.0 * GIB, "memory.total_bytes": 24.0 * GIB}
    seen = Seen()
    seen.add(Observation(sample=Sample(number=0, at_s=0, clock_s=0, values=values)))
    seen.add(Observation(sample=Sample(number=1, at_s=1, clock_s=1, values={**values, "memory.total_bytes": None})))

    assert seen.series(MEMORY_USED)[0] == 0.25
    assert math.isnan(seen.series(MEMORY_USED)[1])


def test_a_number_that_is_given_out_anew_is_another_process() -> None:
    def sample(number: int, started_s: float) -> Observation:
        process = ProcessReading(pid=7, name="a", started_s=started_s, cpu_cores=1.0, rss_bytes=5)
        return Observation(sample=Sample(number=number, at_s=number, clock_s=number, values={}, processes=(process,)))

    seen = Seen()
    for number, started_s in enumerate((50.0, 50.004, 90.0)):
        seen.add(sample(number, started_s))
        history = seen.history(7)
        assert history is not None
        assert len(history.cpu_cores.values) == (1, 2, 1)[number]


def test_a_process_that_ended_is_forgotten() -> None:
    source = FakeSource(processes=4)
    seen = watched(source, 2)
    source.ended.add(2)
    seen.add(Observation(sample=source.sample(2)))

    assert seen.history(1002) is None
    assert seen.history(1001) is not None


def test_a_copy_stays_as_it_was() -> None:
    source = FakeSource(findings=[leak()])
    seen = watched(source, 2)
    copied = seen.copy()
    history = copied.history(1001)
    source.findings.append(replace(leak(), is_over=True))
    for _ in range(3):
        observation = source.next()
        assert observation is not None
        seen.add(observation)

    assert copied.sample is not None
    assert copied.sample.number == 1
    assert (len(copied.series("cpu.busy")), len(seen.series("cpu.busy"))) == (2, 5)
    assert history is not None
    assert len(history.cpu_cores.values) == 2
    assert (len(copied.ledger.open), len(seen.ledger.open)) == (1, 0)


def test_nothing_seen_is_nothing_known() -> None:
    seen = Seen()

    assert (seen.value("cpu.busy"), seen.at_s, seen.length_s, seen.processes) == (None, None, 0.0, ())
    assert not seen.has("cpu.busy")


@pytest.mark.parametrize("name", ["utilisation", "graphics_active"])
def test_devices_have_courses_of_their_own(name: str) -> None:
    seen = watched(FakeSource(gpus=2), 4)

    assert len(seen.series(f"gpu[1].{name}")) == 4
