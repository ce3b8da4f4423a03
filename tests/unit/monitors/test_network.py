from pathlib import Path

import pytest

from fake_machine import FakePsutil, SetClock
from file_tree import write
from infer_opt.errors import UnavailableError
from infer_opt.monitors.network import NetworkMonitor

HEAD = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier
"""


def line(name: str, received: int = 0, sent: int = 0, *, packets: int = 0, errors: int = 0, dropped: int = 0) -> str:
    return f"  {name}: {received} {packets} {errors} {dropped} 0 0 0 0 {sent} {packets} {errors} {dropped} 0 0 0 0\n"


def dev(*lines: str) -> dict[str, str]:
    return {"proc/net/dev": HEAD + "".join(lines)}


def interfaces(root: Path) -> set[str]:
    readings = NetworkMonitor(root=root).read([])
    return {key.partition("[")[2].partition("]")[0] for key in readings if "[" in key}


def test_rates_are_of_each_interface_and_of_all_but_the_loopback(tmp_path: Path) -> None:
    clock = SetClock()
    write(tmp_path, dev(line("lo", 5, 5), line("eth0", 100, 100), line("eth1", 7, 7)))
    reader = NetworkMonitor(root=tmp_path, clock=clock)
    first = reader.read([])
    clock.now_s += 2
    later = line("eth0", 300, 120, packets=4, errors=1, dropped=3)
    write(tmp_path, dev(line("lo", 9000, 9000), later, line("eth1", 27, 7)))

    second = reader.read([])

    assert set(first.values()) == {None}
    assert second["network.received_bytes_per_second"] == 110
    assert second["network.sent_bytes_per_second"] == 10
    assert second["network[eth0].received_bytes_per_second"] == 100
    assert second["network[eth0].received_packets_per_second"] == 2
    assert second["network[eth0].sent_packets_per_second"] == 2
    assert second["network[eth0].errors_per_second"] == 1
    assert second["network[eth0].dropped_per_second"] == 3
    assert not any(key.startswith("network[lo]") for key in second)


def test_bridges_and_cables_of_containers_do_not_count_beside_the_hardware(tmp_path: Path) -> None:
    write(
        tmp_path,
        {**dev(line("eth0", 5), line("docker0", 5), line("veth12", 5)), "sys/class/net/eth0/device/vendor": "x"},
    )

    assert interfaces(tmp_path) == {"eth0"}


def test_interfaces_that_never_carried_anything_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, dev(line("eth0", 5), line("ifb0")))

    assert interfaces(tmp_path) == {"eth0"}


def test_an_interface_that_began_anew_has_no_rates(tmp_path: Path) -> None:
    clock = SetClock()
    reader = NetworkMonitor(root=write(tmp_path, dev(line("eth0", 900, 1))), clock=clock)
    reader.read([])
    clock.now_s += 1
    write(tmp_path, dev(line("eth0", 5, 3)))

    readings = reader.read([])

    assert (readings["network.received_bytes_per_second"], readings["network.sent_bytes_per_second"]) == (None, 2)


def test_garbage_and_missing_files_are_none(tmp_path: Path) -> None:
    reader = NetworkMonitor(root=write(tmp_path, {"proc/net/dev": "eth0: a b c\neth1: 1 2\nnothing\n"}))

    garbage = reader.read([])
    (tmp_path / "proc/net/dev").unlink()

    assert set(garbage.values()) == {None}
    assert reader.read([]) == garbage


def test_a_machine_without_proc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="proc/net/dev cannot be read"):
        NetworkMonitor(root=tmp_path)


def test_systems_without_proc_are_read_through_psutil() -> None:
    clock, psutil = SetClock(), FakePsutil()
    reader = NetworkMonitor(clock=clock, psutil=psutil)
    reader.read([])
    clock.now_s += 1
    psutil.received += 50

    assert reader.read([])["network.received_bytes_per_second"] == 50


def test_what_psutil_may_not_say_is_none() -> None:
    assert set(NetworkMonitor(psutil=FakePsutil(works=False)).read([]).values()) == {None}
