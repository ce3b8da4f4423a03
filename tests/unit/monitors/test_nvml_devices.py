from typing import Any

import pynvml
import pytest

from fake_nvml import FakeGpu, FakeMig, FakeNvml, StillClock, open_fake
from infer_opt.monitors.nvml_devices import SELDOM_S

GIB = 1 << 30

# What NVML does not say -> the readings that are missing then.
SILENCES: list[tuple[dict[str, Any], set[str]]] = [
    ({"utilisation": None}, {"utilisation", "memory_utilisation"}),
    ({"memory_total": None}, {f"memory_{part}_bytes" for part in ("used", "free", "total", "reserved")}),
    ({"power_mw": None}, {"power_watts"}),
    ({"power_limit_mw": None}, {"power_limit_watts"}),
    ({"temperature": None}, {"temperature_celsius"}),
    ({"memory_temperature": None}, {"memory_temperature_celsius"}),
    ({"errors": {"nvmlDeviceGetFieldValues": pynvml.NVMLError_NotSupported()}}, {"memory_temperature_celsius"}),
    ({"sm_clock": None}, {"sm_clock_hertz"}),
    ({"sm_clock_most": None}, {"sm_clock_most_hertz"}),
    ({"memory_clock": None}, {"memory_clock_hertz"}),
    ({"reasons": None}, {"throttle_reasons", "throttled_by_heat", "throttled_by_power"}),
    ({"energy_mj": None}, {"energy_joules"}),
    ({"fan": None}, {"fan"}),
    ({"state": None}, {"performance_state"}),
    ({"state": pynvml.NVML_PSTATE_UNKNOWN}, {"performance_state"}),
    ({"pcie_generation": None}, {"pcie_generation"}),
    ({"pcie_width": None}, {"pcie_width"}),
    ({"pcie_generation_most": None}, {"pcie_generation_most"}),
    ({"pcie_width_most": None}, {"pcie_width_most"}),
    ({"pcie_kb": None}, {"pcie_received_bytes_per_second", "pcie_sent_bytes_per_second"}),
    ({"encoder": None}, {"encoder_utilisation"}),
    ({"decoder": None}, {"decoder_utilisation"}),
    ({"uncorrected": None}, {"uncorrected_errors"}),
    ({"processes": None}, {"process_memory_bytes", "process_utilisation", "foreign_processes"}),
    ({"samples": None}, {"process_utilisation"}),
    ({"drawing": None}, set()),
    ({"gpm": None}, {"graphics_active", "sm_active", "sm_occupancy", "tensor_active", "dram_active"}),
    ({"errors": {"nvmlDeviceGetMigMode": pynvml.NVMLError_NotSupported()}}, set()),
]


def second_read(device: FakeGpu, pids: tuple[int, ...] = (5,)) -> dict[str, float | None]:
    clock = StillClock()
    monitor = open_fake(device, clock=clock)
    monitor.read(pids)
    clock.now_s += 1
    return {key.removeprefix("gpu[0]."): value for key, value in monitor.read(pids).items()}


def test_nvmls_units_become_ours() -> None:
    readings = second_read(FakeGpu(processes=[(5, 2 * GIB)], uncorrected=3, state=8, reasons=0x44))

    assert readings == {
        "utilisation": pytest.approx(0.37),
        "memory_utilisation": pytest.approx(0.21),
        "memory_used_bytes": 3 * GIB,
        "memory_free_bytes": 80 * GIB - 3 * GIB - GIB // 2,
        "memory_total_bytes": 80 * GIB,
        "memory_reserved_bytes": GIB // 2,
        "sm_clock_hertz": 1.98e9,
        "sm_clock_most_hertz": 2.01e9,
        "memory_clock_hertz": 2.619e9,
        "temperature_celsius": 61,
        "memory_temperature_celsius": 72,
        "power_watts": pytest.approx(250.5),
        "power_limit_watts": 700,
        "energy_joules": pytest.approx(12345.678),
        "fan": pytest.approx(0.3),
        "performance_state": 8,
        "throttle_reasons": 0x44,
        "throttled_by_heat": 1,
        "throttled_by_power": 1,
        "pcie_received_bytes_per_second": 1_200_000,
        "pcie_sent_bytes_per_second": 3_400_000,
        "pcie_generation": 5,
        "pcie_width": 16,
        "pcie_generation_most": 5,
        "pcie_width_most": 16,
        "encoder_utilisation": pytest.approx(0.07),
        "decoder_utilisation": pytest.approx(0.08),
        "uncorrected_errors": 3,
        "process_memory_bytes": 2 * GIB,
        "process_utilisation": 0,
        "foreign_processes": 0,
        "graphics_active": pytest.approx(0.8),
        "sm_active": pytest.approx(0.64),
        "sm_occupancy": pytest.approx(0.25),
        "tensor_active": pytest.approx(0.125),
        "dram_active": pytest.approx(0.5),
    }


@pytest.mark.parametrize(("silence", "missing"), SILENCES, ids=lambda names: ",".join(sorted(names)))
def test_what_a_device_does_not_say_is_not_available_and_all_else_is(
    silence: dict[str, Any], missing: set[str]
) -> None:
    readings = second_read(FakeGpu(**{"processes": [(5, GIB)], **silence}))

    assert {name for name, value in readings.items() if value is None} == missing


def test_an_idle_device_reads_zero_and_not_none() -> None:
    readings = second_read(
        FakeGpu(utilisation=0, memory_utilisation=0, fan=0, encoder=0, decoder=0, pcie_kb=(0, 0), gpm={1: 0.0, 2: 0.0})
    )

    names = (
        "utilisation",
        "memory_utilisation",
        "fan",
        "encoder_utilisation",
        "pcie_sent_bytes_per_second",
        "sm_active",
    )
    assert [readings[name] for name in names] == [0] * len(names)


@pytest.mark.parametrize(
    ("bits", "heat", "power"),
    [
        (0x0, 0, 0),
        (0x1, 0, 0),  # idle
        (0x4, 0, 1),  # software power cap
        (0x8, 0, 0),  # a hardware slowdown that does not say why
        (0x20, 1, 0),  # software thermal
        (0x40 | 0x8, 1, 0),  # hardware thermal
        (0x80 | 0x8, 0, 1),  # power brake
        (0x20 | 0x4, 1, 1),
    ],
)
def test_heat_and_power_are_told_from_other_reasons_for_a_low_clock(bits: int, heat: int, power: int) -> None:
    readings = second_read(FakeGpu(reasons=bits))

    assert readings["throttle_reasons"] == bits
    assert (readings["throttled_by_heat"], readings["throttled_by_power"]) == (heat, power)


def test_a_field_is_taken_from_the_member_that_the_driver_names() -> None:
    class Signed(FakeNvml):
        def nvmlDeviceGetFieldValues(self, handle: FakeGpu, fieldIds: Any) -> Any:
            values = super().nvmlDeviceGetFieldValues(handle, fieldIds)
            values[0].valueType, values[0].value.dVal = pynvml.NVML_VALUE_TYPE_DOUBLE, 64.5
            return values

    assert open_fake(nvml=Signed(FakeGpu())).read([])["gpu[0].memory_temperature_celsius"] == 64.5


def test_what_never_changes_is_asked_once() -> None:
    driver = FakeNvml(FakeGpu())
    clock = StillClock()
    monitor = open_fake(nvml=driver, clock=clock)

    for _ in range(3):
        clock.now_s += 1
        monitor.read([])

    once = ("nvmlDeviceGetMaxClockInfo", "nvmlGpmQueryDeviceSupport", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName")
    assert [driver.calls[name] for name in once] == [1] * len(once)


def test_what_does_not_answer_at_first_is_asked_again() -> None:
    device = FakeGpu(sm_clock_most=None)
    monitor = open_fake(device)
    assert monitor.read([])["gpu[0].sm_clock_most_hertz"] is None

    device.sm_clock_most = 1500

    assert monitor.read([])["gpu[0].sm_clock_most_hertz"] == 1.5e9


def test_what_changes_slowly_is_asked_once_a_second_however_often_somebody_reads() -> None:
    device = FakeGpu(processes=[(5, GIB)])
    driver, clock = FakeNvml(device), StillClock()
    monitor = open_fake(nvml=driver, clock=clock)

    for _ in range(20):
        monitor.read([5])
        clock.now_s += 0.05

    # 20 reads over a second: the first asks, and the one after 0.9 s.
    for name in ("nvmlDeviceGetFanSpeed", "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMigMode"):
        assert driver.calls[name] == 2
    assert driver.calls["nvmlDeviceGetPowerUsage"] == 20
    device.fan = 90
    clock.now_s += SELDOM_S
    assert monitor.read([5])["gpu[0].fan"] == pytest.approx(0.9)


def test_processes_that_are_asked_about_may_change_between_two_lists_of_them() -> None:
    monitor = open_fake(FakeGpu(processes=[(5, GIB), (6, 2 * GIB)]))

    found = [monitor.read(pids)["gpu[0].process_memory_bytes"] for pids in ([5], [6], [5, 6], [])]

    assert found == [GIB, 2 * GIB, 3 * GIB, None]


def test_a_divided_gpu_has_no_utilisation_whatever_the_driver_says() -> None:
    readings = second_read(FakeGpu(utilisation=0, mig=[FakeMig()]))

    assert (readings["utilisation"], readings["memory_utilisation"]) == (None, None)
    assert readings["sm_active"] == pytest.approx(0.64)
