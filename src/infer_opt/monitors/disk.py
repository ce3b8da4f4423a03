"""Whole disks, and the file systems that this program and its user write to."""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infer_opt.monitors.counters import Rates, share, total
from infer_opt.monitors.files import content, elsewhere, integers, prefix
from infer_opt.monitors.filesystems import FileSystems
from infer_opt.readings.catalogue import key_of

SECTOR_BYTES = 512  # in /proc/diskstats, whatever the disk's own sectors are
RATES = ("read_bytes_per_second", "written_bytes_per_second", "reads_per_second", "writes_per_second", "busy")
# Memory, files, optical drives, and devices that pass on to others which are counted themselves.
NOT_DISKS = re.compile(r"(loop|ram|zram|sr|fd|dm-|md)\d")
# What whole disks are called where /sys does not tell them from partitions.
WHOLE = re.compile(r"(?:[shv]d[a-z]+|xvd[a-z]+|nvme\d+n\d+|mmcblk\d+)\Z")


class DiskMonitor:
    """Readings of the families `disk` and `filesystem`.

    Each whole disk that did anything since boot, and their sum: partitions, loop and memory devices are left out, and
    so is what lies on top of other disks (LVM, encryption, RAID), whose requests are counted there. File systems: see
    `FileSystems`.

    Arguments:
        psutil: read instead of /proc; taken by itself on systems without /proc.
    """

    name = "disk"

    def __init__(
        self,
        *,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        filesystems: FileSystems | None = None,
        psutil: Any = None,
    ) -> None:
        self._prefix, self._clock = prefix(root), clock
        self._psutil = elsewhere(root) if psutil is None else psutil
        self._filesystems = FileSystems(root=root, clock=clock, psutil=psutil) if filesystems is None else filesystems
        self._rates = Rates()
        self._whole: dict[str, bool] = {}

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """The readings, now; whichever processes are asked for."""
        disks = self._from_proc() if self._psutil is None else self._from_psutil()
        counters = {key_of("disk", name, disk): row[name] for disk, row in disks.items() for name in RATES}
        rates = self._rates.of(counters, self._clock())
        each = {key: share(rate) if key.endswith(".busy") else rate for key, rate in rates.items()}
        together: dict[str, float | None] = {}
        for name in RATES:
            column = [each[key_of("disk", name, disk)] for disk in disks]
            together[key_of("disk", name)] = _most(column) if name == "busy" else total(column)
        return together | each | self._filesystems.read()

    def close(self) -> None:
        """Nothing is held open."""

    def _from_proc(self) -> dict[str, dict[str, float | None]]:
        disks: dict[str, dict[str, float | None]] = {}
        for line in (content(f"{self._prefix}/proc/diskstats") or b"").splitlines():
            words = line.split()
            counts = integers(words[3:14])
            # All zero: a slot without a disk in it.
            if counts is None or len(counts) < 10 or not any(counts):
                continue
            name = words[2].decode(errors="replace")
            if self._is_whole(name):
                disks[name] = {
                    "read_bytes_per_second": counts[2] * SECTOR_BYTES,
                    "written_bytes_per_second": counts[6] * SECTOR_BYTES,
                    "reads_per_second": counts[0],
                    "writes_per_second": counts[4],
                    "busy": counts[9] / 1e3,
                }
        return disks

    def _is_whole(self, name: str) -> bool:
        if name not in self._whole:
            self._whole[name] = self._look(name)
        return self._whole[name]

    def _look(self, name: str) -> bool:
        if NOT_DISKS.match(name) or "]" in name:
            return False
        blocks = Path(f"{self._prefix}/sys/block")
        if not blocks.is_dir():
            return WHOLE.match(name) is not None
        device = blocks / name.replace("/", "!")
        return device.exists() and not _has_entries(device / "slaves")

    def _from_psutil(self) -> dict[str, dict[str, float | None]]:
        try:
            found = self._psutil.disk_io_counters(perdisk=True) or {}
        except (self._psutil.Error, OSError):
            return {}
        return {
            name: {
                "read_bytes_per_second": row.read_bytes,
                "written_bytes_per_second": row.write_bytes,
                "reads_per_second": row.read_count,
                "writes_per_second": row.write_count,
                "busy": None,
            }
            for name, row in found.items()
        }


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
