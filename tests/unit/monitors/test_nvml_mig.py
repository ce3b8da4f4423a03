import pynvml
import pytest

from fake_nvml import FakeGpu, FakeMig, FakeNvml, StillClock, open_fake
from infer_opt.monitors.nvml_asking import Asker
from infer_opt.monitors.nvml_mig import instances, is_divided

GIB = 1 << 30
MIG_READINGS = {
    "utilisation",
    "memory_used_bytes",
    "memory_free_bytes",
    "memory_total_bytes",
    "memory_reserved_bytes",
    "process_memory_bytes",
    "process_utilisation",
    "foreign_processes",
    "graphics_active",
    "sm_active",
    "sm_occupancy",
    "tensor_active",
    "dram_active",
}


def asker(device: FakeGpu) -> Asker:
    driver = FakeNvml(device)
    driver.nvmlInit()
    return Asker(driver)


def divided(*mig: FakeMig | None, **settings: object) -> FakeGpu:
    return FakeGpu(utilisation=None, samples=None, mig=list(mig), **settings)  # type: ignore[arg-type]


def of(readings: dict[str, float | None], instance: str) -> dict[str, float | None]:
    prefix = f"gpu[{instance}]."
    return {key.removeprefix(prefix): value for key, value in readings.items() if key.startswith(prefix)}


def test_whether_a_gpu_is_divided() -> None:
    whole, parts = FakeGpu(), divided()
    old = FakeGpu(errors={"nvmlDeviceGetMigMode": pynvml.NVMLError_NotSupported()})

    assert [is_divided(asker(gpu), gpu) for gpu in (whole, parts, old)] == [False, True, False]


def test_empty_places_for_instances_are_passed_over_and_numbers_stay() -> None:
    device = divided(None, FakeMig(gpu_instance=3), None, FakeMig(gpu_instance=5, processes=[(9, GIB)]))

    found = instances(asker(device), device)

    assert [(part.index, part.gpu_instance, part.usage.computing) for part in found] == [(1, 3, {}), (3, 5, {9: GIB})]


def test_each_instance_has_its_own_memory_processes_and_activity() -> None:
    first = FakeMig(memory_used=2 * GIB, processes=[(5, GIB), (7, GIB)], gpu_instance=1, gpm={2: 30.0})
    second = FakeMig(memory_total=20 * GIB, processes=[(6, GIB)], gpu_instance=2, gpm={2: 90.0})
    whole = divided(first, second, processes=[(5, GIB), (7, GIB), (6, GIB)])
    monitor = open_fake(FakeGpu(), whole, pid_exists=lambda pid: True)
    monitor.read([5])

    readings = dict(monitor.read([5]))

    one, two = of(readings, "1.mig0"), of(readings, "1.mig1")
    assert set(one) == set(two) == MIG_READINGS
    assert (one["memory_used_bytes"], one["memory_free_bytes"], two["memory_total_bytes"]) == (
        2 * GIB,
        8 * GIB,
        20 * GIB,
    )
    assert (one["process_memory_bytes"], two["process_memory_bytes"]) == (GIB, None)
    assert (one["foreign_processes"], two["foreign_processes"]) == (1, 1)
    assert [one["sm_active"], two["sm_active"]] == pytest.approx([0.3, 0.9])
    assert (one["tensor_active"], one["utilisation"], one["process_utilisation"]) == (None, None, None)
    assert of(readings, "1")["foreign_processes"] == 2
    assert of(readings, "1")["utilisation"] is None
    assert of(readings, "0")["utilisation"] is not None
    assert not [key for key in readings if key.startswith("gpu[0.")]


@pytest.mark.parametrize("told", [None, []])
def test_where_only_administrators_are_told_of_the_whole_gpu_its_parts_are_put_together(
    told: list[object] | None,
) -> None:
    device = divided(FakeMig(processes=[(5, GIB)]), FakeMig(processes=[(5, GIB), (6, GIB)]), processes=told)
    monitor = open_fake(device)

    readings = monitor.read([5])

    assert readings["gpu[0].process_memory_bytes"] == 2 * GIB
    assert readings["gpu[0].foreign_processes"] == 1
    assert monitor.by_process() == {5: (2 * GIB, None), 6: (GIB, None)}


def test_an_instance_that_does_not_list_its_processes_is_not_taken_for_empty() -> None:
    monitor = open_fake(divided(FakeMig(processes=None), processes=None))

    readings = monitor.read([5])

    assert (readings["gpu[0].foreign_processes"], readings["gpu[0.mig0].foreign_processes"]) == (None, None)


def test_an_instance_without_its_number_is_not_given_the_activity_of_the_whole_gpu() -> None:
    monitor = open_fake(divided(FakeMig(gpu_instance=None)))
    monitor.read([])

    readings = monitor.read([])

    assert readings["gpu[0.mig0].sm_active"] is None
    assert readings["gpu[0].sm_active"] is not None


def test_instances_come_and_go_and_leave_nothing_behind() -> None:
    first, second = FakeMig(gpu_instance=1), FakeMig(gpu_instance=2)
    device, clock = divided(first, None), StillClock()
    driver = FakeNvml(device)
    monitor = open_fake(nvml=driver, clock=clock)
    monitor.read([])
    held = len(driver.samples)

    device.mig = [None, second]
    clock.now_s += 1
    readings = dict(monitor.read([]))

    assert of(readings, "0.mig0") == {}
    assert set(of(readings, "0.mig1")) == MIG_READINGS
    assert len(driver.samples) == held == 4


def test_a_place_that_another_instance_took_is_not_compared_with_the_one_before() -> None:
    device, clock = divided(FakeMig(gpu_instance=1)), StillClock()
    driver = FakeNvml(device)
    monitor = open_fake(nvml=driver, clock=clock)
    monitor.read([])

    device.mig = [FakeMig(gpu_instance=4)]
    clock.now_s += 1
    first = monitor.read([])["gpu[0.mig0].sm_active"]
    second = monitor.read([])["gpu[0.mig0].sm_active"]

    assert first is None
    assert second == pytest.approx(0.64)


def test_a_divided_gpu_that_is_lost_gives_none_for_its_instances_too() -> None:
    device = divided(FakeMig(), FakeMig(gpu_instance=2))
    monitor = open_fake(device, FakeGpu())
    before = dict(monitor.read([]))

    device.lost = True
    after = dict(monitor.read([]))

    assert after.keys() == before.keys()
    assert {value for key, value in after.items() if key.startswith("gpu[0")} == {None}


def test_two_instances_in_one_gpu_instance_share_its_activity() -> None:
    monitor = open_fake(divided(FakeMig(gpu_instance=7), FakeMig(gpu_instance=7)))
    monitor.read([])

    readings = monitor.read([])

    assert readings["gpu[0.mig0].sm_active"] == readings["gpu[0.mig1].sm_active"] == pytest.approx(0.64)
