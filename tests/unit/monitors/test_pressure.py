from pathlib import Path

import pytest

from fake_machine import SetClock
from file_tree import write
from infer_opt.errors import UnavailableError
from infer_opt.monitors.pressure import PressureMonitor


def pressure(**totals: tuple[int, int]) -> dict[str, str]:
    """Microseconds of (some, full) by resource."""
    averages = "avg10=8.83 avg60=2.94 avg300=1.16"
    return {
        f"proc/pressure/{name}": f"some {averages} total={some}\nfull {averages} total={full}\n"
        for name, (some, full) in totals.items()
    }


def test_shares_are_what_the_totals_gained_and_not_the_kernels_averages(tmp_path: Path) -> None:
    clock = SetClock()
    reader = PressureMonitor(root=write(tmp_path, pressure(cpu=(0, 0), memory=(5, 0), io=(0, 0))), clock=clock)
    first = reader.read([])
    clock.now_s += 2
    write(tmp_path, pressure(cpu=(1_000_000, 0), memory=(500_005, 200_000), io=(2_000_300, 10_000)))

    second = reader.read([])

    assert set(first.values()) == {None}
    assert second == {
        "pressure.cpu_some": 0.5,
        "pressure.memory_some": 0.25,
        "pressure.memory_full": 0.1,
        "pressure.io_some": 1.0,
        "pressure.io_full": 0.005,
    }


def test_a_resource_that_is_not_kept_is_none_and_the_others_go_on(tmp_path: Path) -> None:
    clock = SetClock()
    reader = PressureMonitor(
        root=write(tmp_path, {**pressure(cpu=(0, 0)), "proc/pressure/io": "some garbage\n"}), clock=clock
    )
    reader.read([])
    clock.now_s += 1
    write(tmp_path, pressure(cpu=(250_000, 0)))

    readings = reader.read([])

    assert (readings["pressure.cpu_some"], readings["pressure.io_some"], readings["pressure.memory_full"]) == (
        0.25,
        None,
        None,
    )


def test_totals_that_begin_anew_have_no_share(tmp_path: Path) -> None:
    clock = SetClock()
    reader = PressureMonitor(root=write(tmp_path, pressure(cpu=(900, 0))), clock=clock)
    reader.read([])
    clock.now_s += 1
    write(tmp_path, pressure(cpu=(10, 0)))

    assert reader.read([])["pressure.cpu_some"] is None


def test_a_kernel_without_pressure_information_is_refused_with_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no pressure stall information") as caught:
        PressureMonitor(root=tmp_path)

    assert "psi=1" in str(caught.value.hint)
