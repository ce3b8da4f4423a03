from pathlib import Path

from fake_machine import FakePsutil, SetClock
from file_tree import write
from infer_opt.monitors.disk import DiskMonitor
from infer_opt.monitors.filesystems import FileSystems


def line(name: str, *, reads: int = 0, read: int = 0, writes: int = 0, written: int = 0, busy_ms: int = 0) -> str:
    """A row of /proc/diskstats; `read` and `written` are sectors."""
    return f" 8 0 {name} {reads} 0 {read} 0 {writes} 0 {written} 0 0 {busy_ms} 0 0 0 0 0 0 0\n"


def block(*names: str) -> dict[str, str]:
    return {f"sys/block/{name}/size": "100" for name in names}


def monitor(root: Path, clock: SetClock) -> DiskMonitor:
    return DiskMonitor(root=root, clock=clock, filesystems=FileSystems(root=root, clock=clock, places=list))


def test_whole_disks_and_their_sum_are_read(tmp_path: Path) -> None:
    clock = SetClock()
    write(tmp_path, {**block("sda", "nvme0n1"), "proc/diskstats": line("sda", reads=1) + line("nvme0n1", reads=1)})
    reader = monitor(tmp_path, clock)
    first = reader.read([])
    clock.now_s += 2
    sda = line("sda", reads=11, read=40, writes=4, written=8, busy_ms=500)
    write(tmp_path, {"proc/diskstats": sda + line("nvme0n1", reads=3, read=4, busy_ms=1500)})

    second = reader.read([])

    assert set(first.values()) == {None}
    assert second == {
        "disk.read_bytes_per_second": 22 * 512,
        "disk.written_bytes_per_second": 4 * 512,
        "disk.reads_per_second": 6,
        "disk.writes_per_second": 2,
        "disk.busy": 0.75,
        "disk[sda].read_bytes_per_second": 20 * 512,
        "disk[sda].written_bytes_per_second": 4 * 512,
        "disk[sda].reads_per_second": 5,
        "disk[sda].writes_per_second": 2,
        "disk[sda].busy": 0.25,
        "disk[nvme0n1].read_bytes_per_second": 2 * 512,
        "disk[nvme0n1].written_bytes_per_second": 0,
        "disk[nvme0n1].reads_per_second": 1,
        "disk[nvme0n1].writes_per_second": 0,
        "disk[nvme0n1].busy": 0.75,
    }


def disks(root: Path) -> set[str]:
    keys = monitor(root, SetClock()).read([])
    return {key.partition("[")[2].partition("]")[0] for key in keys if "[" in key}


def test_nothing_is_counted_twice_and_nothing_that_is_no_disk(tmp_path: Path) -> None:
    names = ("sda", "sda1", "dm-0", "md0", "loop3", "ram0", "zram0", "sr0", "bcache0")
    files = {**block(*(name for name in names if name != "sda1")), "sys/block/bcache0/slaves/sda/size": "1"}
    write(tmp_path, {**files, "proc/diskstats": "".join(line(name, reads=9) for name in names)})

    assert disks(tmp_path) == {"sda"}


def test_slots_without_a_disk_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, {**block("sda", "nbd0"), "proc/diskstats": line("sda", reads=1) + line("nbd0")})

    assert disks(tmp_path) == {"sda"}


def test_without_sys_whole_disks_are_known_by_their_names(tmp_path: Path) -> None:
    names = ("sda", "sda1", "vdb", "vdb2", "nvme0n1", "nvme0n1p1", "mmcblk0", "mmcblk0p1", "xvda")
    write(tmp_path, {"proc/diskstats": "".join(line(name, reads=9) for name in names)})

    assert disks(tmp_path) == {"sda", "vdb", "nvme0n1", "mmcblk0", "xvda"}


def test_a_disk_that_was_replaced_has_no_rates_and_the_others_go_on(tmp_path: Path) -> None:
    clock = SetClock()
    write(tmp_path, {**block("sda", "sdb"), "proc/diskstats": line("sda", reads=500) + line("sdb", reads=5)})
    reader = monitor(tmp_path, clock)
    reader.read([])
    clock.now_s += 1
    write(tmp_path, {"proc/diskstats": line("sda", reads=2) + line("sdb", reads=8)})

    readings = reader.read([])

    assert (readings["disk[sda].reads_per_second"], readings["disk.reads_per_second"]) == (None, 3)


def test_garbage_and_missing_files_are_none(tmp_path: Path) -> None:
    clock = SetClock()
    reader = monitor(write(tmp_path, {"proc/diskstats": " 8 0 sda one two\n 8 0\n\n"}), clock)

    garbage = reader.read([])
    (tmp_path / "proc/diskstats").unlink()

    assert set(garbage.values()) == {None}
    assert reader.read([]) == garbage


def test_systems_without_proc_are_read_through_psutil() -> None:
    clock, psutil = SetClock(), FakePsutil()
    reader = DiskMonitor(clock=clock, psutil=psutil)
    reader.read([])
    clock.now_s += 2
    psutil.read_bytes = 1000

    readings = reader.read([])

    assert (readings["disk[disk0].read_bytes_per_second"], readings["disk.busy"]) == (500, None)
    assert (readings["filesystem[/].total_bytes"], readings["filesystem[/].free_bytes"]) == (1000, 400)


def test_what_psutil_may_not_say_is_none() -> None:
    assert set(DiskMonitor(psutil=FakePsutil(works=False)).read([]).values()) == {None}
