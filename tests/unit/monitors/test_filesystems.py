from pathlib import Path

from fake_machine import SetClock
from file_tree import write
from infer_opt.monitors.filesystems import LOOK_AGAIN_S, FileSystems

MOUNTS = """22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
28 27 8:1 / /home rw shared:5 master:6 - xfs /dev/sda1 rw
29 27 0:40 / /net rw,relatime - nfs4 server:/export rw
30 27 8:2 / /mnt/my\\040disk rw - btrfs /dev/sdb rw
31 27 254:0 /var /bound rw - ext4 /dev/vda rw
32 27 0:41 / /fuse rw - fuse.sshfs server: rw
33 27 8:1 / /odd]place rw - ext4 /dev/sdz rw
garbage
"""


class Disks:
    """Notes what is touched; the size of a file system is the length of its place."""

    def __init__(self, broken: str = "") -> None:
        self.touched: list[str] = []
        self.broken = broken

    def __call__(self, place: str) -> tuple[int, int]:
        self.touched.append(place)
        if place == self.broken:
            raise OSError("input/output error")
        return 1000 * len(place), 10 * len(place)


def read(root: Path, *places: str, disks: Disks | None = None, mounts: str = MOUNTS) -> dict[str, float | None]:
    write(root, {"proc/self/mountinfo": mounts})
    space = Disks() if disks is None else disks
    return dict(FileSystems(root=root, clock=SetClock(), places=lambda: places, space=space).read())


def test_places_on_file_systems_of_their_own_are_read_at_their_mount_points(tmp_path: Path) -> None:
    readings = read(tmp_path, "/", "/home/ana/work", "/mnt/my disk/data")

    assert readings == {
        "filesystem[/].total_bytes": 1000,
        "filesystem[/].free_bytes": 10,
        "filesystem[/home].total_bytes": 5000,
        "filesystem[/home].free_bytes": 50,
        "filesystem[/mnt/my disk].total_bytes": 12000,
        "filesystem[/mnt/my disk].free_bytes": 120,
    }


def test_no_file_system_is_given_twice(tmp_path: Path) -> None:
    disks = Disks()
    read(tmp_path, "/", "/var/lib", "/bound/deep", "/homeless", disks=disks)

    assert disks.touched == ["/"]


def test_what_may_hang_is_never_touched(tmp_path: Path) -> None:
    disks = Disks()
    readings = read(tmp_path, "/net/results", "/fuse/x", "/proc/self", disks=disks)

    assert readings == {}
    assert disks.touched == []


def test_a_place_that_cannot_be_written_as_a_key_is_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, "/odd]place/x") == {}


def test_the_last_mount_at_a_place_hides_the_others(tmp_path: Path) -> None:
    disks = Disks()
    read(tmp_path, "/home/x", disks=disks, mounts=MOUNTS + "40 27 0:50 / /home rw - nfs server:/home rw\n")

    assert disks.touched == []


def test_a_file_system_that_fails_is_none(tmp_path: Path) -> None:
    readings = read(tmp_path, "/", "/home", disks=Disks(broken="/home"))

    assert readings["filesystem[/].free_bytes"] == 10
    assert (readings["filesystem[/home].total_bytes"], readings["filesystem[/home].free_bytes"]) == (None, None)


def test_new_mounts_are_looked_for_now_and_then(tmp_path: Path) -> None:
    clock = SetClock()
    root = write(tmp_path, {"proc/self/mountinfo": "27 1 254:0 / / rw - ext4 /dev/vda rw\n"})
    reader = FileSystems(root=root, clock=clock, places=lambda: ["/", "/home/ana"], space=Disks())
    first = reader.read()
    write(tmp_path, {"proc/self/mountinfo": MOUNTS})
    clock.now_s += LOOK_AGAIN_S / 2
    soon = reader.read()
    clock.now_s += LOOK_AGAIN_S

    assert soon.keys() == first.keys()
    assert "filesystem[/home].free_bytes" in reader.read()


def test_without_a_table_of_mounts_nothing_is_touched(tmp_path: Path) -> None:
    disks = Disks()

    assert FileSystems(root=tmp_path, places=lambda: ["/"], space=disks).read() == {}
    assert disks.touched == []
