from collections.abc import Collection
from pathlib import Path

import pytest

from fake_machine import FakePsutil, SetClock
from file_tree import write
from infer_opt.errors import UnavailableError
from infer_opt.monitors.cpu import CpuMonitor

KINDS = ("user", "nice", "system", "idle", "waiting", "irq", "softirq", "steal")


def row(number: int | str, **ticks: int) -> str:
    assert ticks.keys() <= set(KINDS)
    return f"cpu{number} " + " ".join(str(ticks.get(kind, 0)) for kind in KINDS) + " 0 0\n"


def stat(*rows: str, switches: int = 1000, running: int = 3, blocked: int = 1) -> dict[str, str]:
    text = "".join(rows) + "intr 5 0 0\n" + f"ctxt {switches}\nprocs_running {running}\nprocs_blocked {blocked}\n"
    return {"proc/stat": text, "proc/loadavg": "0.79 0.77 0.45 3/99 6231\n"}


def monitor(root: Path, clock: SetClock | None = None, allowed: Collection[int] = (0, 1)) -> CpuMonitor:
    return CpuMonitor(root=root, clock=SetClock() if clock is None else clock, allowed=lambda: allowed)


def test_the_first_read_has_what_is_now_and_no_shares(tmp_path: Path) -> None:
    write(tmp_path, stat(row("", user=3, idle=5), row(0, user=3, idle=5)))

    readings = monitor(tmp_path).read([])

    assert readings == {
        "cpu.busy": None, "cpu.user": None, "cpu.system": None, "cpu.waiting": None, "cpu.steal": None,
        "cpu.runnable": 2, "cpu.blocked": 1, "cpu.switches_per_second": None,
        "cpu.load_1m": 0.79, "cpu.load_5m": 0.77, "cpu.load_15m": 0.45,
        "cpu.frequency_hertz": None, "cpu[0].busy": None, "cpu[0].frequency_hertz": None,
    }  # fmt: skip


def test_shares_are_of_the_time_that_passed_on_all_cpus(tmp_path: Path) -> None:
    clock = SetClock()
    write(tmp_path, stat(row(0, idle=100), row(1, idle=100)))
    reader = monitor(tmp_path, clock)
    reader.read([])
    clock.now_s += 2
    busy = row(0, user=30, nice=10, system=20, idle=110, waiting=10, irq=5, softirq=5, steal=10)
    write(tmp_path, stat(busy, row(1, idle=200), switches=1500))

    readings = reader.read([])

    assert readings["cpu.user"] == pytest.approx(40 / 200)
    assert readings["cpu.system"] == pytest.approx(30 / 200)
    assert readings["cpu.busy"] == pytest.approx(70 / 200)
    assert readings["cpu.waiting"] == pytest.approx(10 / 200)
    assert readings["cpu.steal"] == pytest.approx(10 / 200)
    assert readings["cpu[0].busy"] == pytest.approx(0.7)
    assert readings["cpu[1].busy"] == 0.0
    assert readings["cpu.switches_per_second"] == 250


def test_only_cpus_that_we_may_use_count_in_the_sums_and_each_has_its_own(tmp_path: Path) -> None:
    write(tmp_path, stat(row(0), row(1), row(2)))
    reader = monitor(tmp_path, allowed=[1])
    reader.read([])
    write(tmp_path, stat(row(0, user=100), row(1, user=25, idle=75), row(2, user=100)))

    readings = reader.read([])

    assert readings["cpu.busy"] == 0.25
    assert readings["cpu[2].busy"] == 1.0


def test_cpus_that_are_numbered_anew_in_a_container_are_all_ours(tmp_path: Path) -> None:
    write(tmp_path, stat(row(0), row(1)))
    reader = monitor(tmp_path, allowed=[34, 35])
    reader.read([])
    write(tmp_path, stat(row(0, user=100), row(1, idle=100)))

    assert reader.read([])["cpu.busy"] == 0.5


def test_a_cpu_that_goes_offline_and_comes_back_spoils_nothing(tmp_path: Path) -> None:
    reader = monitor(write(tmp_path, stat(row(0, user=10), row(1, user=10))))
    reader.read([])
    write(tmp_path, stat(row(0, user=60, idle=50)))
    without = reader.read([])
    write(tmp_path, stat(row(0, user=60, idle=150), row(1, user=10, idle=3)))
    back = reader.read([])
    write(tmp_path, stat(row(0, user=60, idle=250), row(1, user=110, idle=3)))
    settled = reader.read([])

    assert without["cpu.busy"] == 0.5
    assert "cpu[1].busy" not in without
    assert (back["cpu.busy"], back["cpu[1].busy"]) == (0.0, None)
    assert (settled["cpu.busy"], settled["cpu[1].busy"]) == (0.5, 1.0)


def test_counters_that_begin_anew_have_no_share(tmp_path: Path) -> None:
    reader = monitor(write(tmp_path, stat(row(0, user=500, idle=500), switches=9000)))
    reader.read([])
    write(tmp_path, stat(row(0, user=5, idle=5), switches=10))

    readings = reader.read([])

    assert (readings["cpu.busy"], readings["cpu[0].busy"], readings["cpu.switches_per_second"]) == (None, None, None)


def test_waiting_that_goes_back_a_little_as_the_kernel_warns_is_none_at_all(tmp_path: Path) -> None:
    reader = monitor(write(tmp_path, stat(row(0, waiting=50))))
    reader.read([])
    write(tmp_path, stat(row(0, user=50, idle=50, waiting=48)))

    readings = reader.read([])

    assert (readings["cpu.busy"], readings["cpu.waiting"]) == (0.5, 0.0)


def test_two_reads_within_a_tick_have_no_share(tmp_path: Path) -> None:
    reader = monitor(write(tmp_path, stat(row(0, user=5, idle=5))))
    reader.read([])

    assert reader.read([])["cpu.busy"] is None


def test_old_kernels_without_steal_are_read(tmp_path: Path) -> None:
    write(tmp_path, {"proc/stat": "cpu 1 0 0 1\ncpu0 1 0 0 1\n"})
    reader = monitor(tmp_path)
    reader.read([])
    write(tmp_path, {"proc/stat": "cpu 2 0 0 2\ncpu0 2 0 0 2\n"})

    readings = reader.read([])

    assert (readings["cpu.busy"], readings["cpu.runnable"], readings["cpu.load_1m"]) == (0.5, None, None)


def test_garbage_is_left_out(tmp_path: Path) -> None:
    text = "cpu x\ncpu0 1 2 x 4 5 6 7 8\ncpuid 1 2 3 4 5 6 7 8\ncpu1 1 0 0 1\nctxt many\nprocs_running \n"
    write(tmp_path, {"proc/stat": text, "proc/loadavg": "high high higher\n"})

    readings = monitor(tmp_path).read([])

    assert [key for key in readings if key.endswith("].busy")] == ["cpu[1].busy"]
    assert set(readings.values()) == {None}


def test_files_that_disappear_are_none(tmp_path: Path) -> None:
    write(tmp_path, stat(row(0, user=1)))
    reader = monitor(tmp_path)
    reader.read([])
    (tmp_path / "proc/stat").unlink()
    (tmp_path / "proc/loadavg").unlink()

    readings = reader.read([])

    assert readings["cpu.busy"] is None
    assert set(readings.values()) == {None}


def test_a_machine_without_proc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="proc/stat cannot be read"):
        monitor(tmp_path)


def test_clocks_come_from_cpufreq(tmp_path: Path) -> None:
    clock = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    write(tmp_path, {**stat(row(0), row(1), row(2)), clock.format(0): "3000000\n", clock.format(1): "1000000\n"})

    readings = monitor(tmp_path).read([])

    assert (readings["cpu[0].frequency_hertz"], readings["cpu[1].frequency_hertz"]) == (3e9, 1e9)
    assert readings["cpu[2].frequency_hertz"] is None
    assert readings["cpu.frequency_hertz"] == 2e9


CPUINFO = """processor\t: 0
flags\t\t: fpu {0}
cpu MHz\t\t: 2300.500

processor\t: 1
flags\t\t: fpu {0}
cpu MHz\t\t: 1000.000
"""


def test_clocks_come_from_cpuinfo_where_cycles_are_counted(tmp_path: Path) -> None:
    write(tmp_path, {**stat(row(0), row(1)), "proc/cpuinfo": CPUINFO.format("aperfmperf")})

    readings = monitor(tmp_path).read([])

    assert readings["cpu[0].frequency_hertz"] == pytest.approx(2.3005e9)
    assert readings["cpu[1].frequency_hertz"] == pytest.approx(1e9)


def test_the_nominal_clock_of_a_virtual_machine_is_no_reading(tmp_path: Path) -> None:
    write(tmp_path, {**stat(row(0), row(1)), "proc/cpuinfo": CPUINFO.format("hypervisor")})

    readings = monitor(tmp_path).read([])

    assert (readings["cpu.frequency_hertz"], readings["cpu[0].frequency_hertz"]) == (None, None)


def test_systems_without_proc_are_read_through_psutil() -> None:
    clock, psutil = SetClock(), FakePsutil()
    reader = CpuMonitor(clock=clock, allowed=list, psutil=psutil)
    reader.read([])
    clock.now_s += 1
    psutil.user_s, psutil.idle_s, psutil.switches = 11.0, 53.0, 1600

    readings = reader.read([])

    assert (readings["cpu.busy"], readings["cpu[0].busy"], readings["cpu.load_5m"]) == (0.25, 0.25, 0.25)
    assert (readings["cpu.switches_per_second"], readings["cpu.runnable"]) == (600, None)


def test_what_psutil_may_not_say_is_none() -> None:
    readings = CpuMonitor(psutil=FakePsutil(works=False)).read([])

    assert set(readings.values()) == {None}
