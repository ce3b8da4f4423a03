"""Free space where it matters: the root, the current folder and the user's data directory.

A network file system whose server is gone blocks whoever touches it, for ever. So nothing is asked before the table of
mounts has said that a place lies on a local file system, and then only the mount point is.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from infer_opt.monitors.files import content, elsewhere, prefix
from infer_opt.readings.catalogue import key_of

LOCAL = frozenset(
    ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "reiserfs", "nilfs2", "ntfs3", "vfat",
     "exfat", "overlay", "tmpfs")
)  # fmt: skip
LOOK_AGAIN_S = 30.0
OCTAL = re.compile(r"\\([0-7]{3})")

# Size and what users who are not root can still write, in bytes.
Space = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file system and where it is mounted."""

    place: PurePosixPath
    device: str
    kind: str


class FileSystems:
    """Readings of the family `filesystem`; instances are mount points, and no file system is given twice.

    Arguments:
        places: gives the absolute paths whose file systems are read.
        space: gives (size, free) of the file system mounted at a place, in bytes; raises OSError.
        psutil: read instead of /proc, for the root alone; taken by itself on systems without /proc.
    """

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        places: Callable[[], Iterable[str]] | None = None,
        space: Callable[[str], Space] | None = None,
        psutil: Any = None,
    ) -> None:
        self._prefix, self._clock = prefix(root), clock
        self._psutil = elsewhere(root) if psutil is None else psutil
        self._places = _own_places if places is None else places
        self._space = _statvfs if space is None else space
        self._mounted: tuple[str, ...] = ()
        self._look_at_s = float("-inf")

    def read(self) -> dict[str, float | None]:
        """Size and free space of each."""
        if self._psutil is not None:
            return _readings("/", self._from_psutil())
        now_s = self._clock()
        if now_s >= self._look_at_s:  # a table of mounts may be long, and it seldom changes
            self._mounted, self._look_at_s = self._find(), now_s + LOOK_AGAIN_S
        readings: dict[str, float | None] = {}
        for place in self._mounted:
            readings |= _readings(place, self._measure(place))
        return readings

    def _find(self) -> tuple[str, ...]:
        mounts = _mounts(content(f"{self._prefix}/proc/self/mountinfo") or b"")
        found: dict[str, str] = {}
        for place in self._places():
            mount = _mount_of(PurePosixPath(place), mounts)
            if mount is not None and mount.kind in LOCAL and "]" not in str(mount.place):
                found.setdefault(mount.device, str(mount.place))
        return tuple(found.values())

    def _measure(self, place: str) -> Space | None:
        try:
            return self._space(place)
        except OSError:
            return None

    def _from_psutil(self) -> Space | None:
        try:
            usage = self._psutil.disk_usage("/")
        except (self._psutil.Error, OSError):
            return None
        return usage.total, usage.free


def _readings(place: str, space: Space | None) -> dict[str, float | None]:
    size, free = (None, None) if space is None else space
    return {key_of("filesystem", "total_bytes", place): size, key_of("filesystem", "free_bytes", place): free}


def _mounts(mountinfo: bytes) -> dict[PurePosixPath, Mount]:
    """By mount point; of several at one point the last, which hides the others. The columns: proc_pid_mountinfo(5)."""
    mounts = {}
    for line in mountinfo.decode(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) >= 5 and kind:
            place = PurePosixPath(OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4]))
            mounts[place] = Mount(place=place, device=fields[2], kind=kind)
    return mounts


def _mount_of(place: PurePosixPath, mounts: Mapping[PurePosixPath, Mount]) -> Mount | None:
    return next((mounts[above] for above in (place, *place.parents) if above in mounts), None)


def _own_places() -> list[str]:
    import platformdirs

    places = ["/", platformdirs.user_data_dir("infer-opt")]
    try:
        return [places[0], str(Path.cwd()), places[1]]
    except OSError:  # the current folder was removed
        return places


def _statvfs(place: str) -> Space:
    found = os.statvfs(place)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
