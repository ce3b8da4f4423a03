"""Small files of /proc and /sys, read with as few system calls as can be: one sample reads dozens of them.

Any of them may be missing, forbidden or odd. That is None, or left out; never an error, and never 0.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
KIB = 1024


def content(path: str) -> bytes | None:
    """All of the file; None when it is missing or may not be read."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None
    try:
        parts = []
        while part := os.read(handle, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:  # the process ended between open and read, or the kernel keeps the file without filling it
        return None
    finally:
        os.close(handle)


def beginning(path: str, most: int) -> bytes | None:
    """At most the first `most` bytes, by one read: for files of /proc/PID, which come whole or not at all."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(handle, most)
    except OSError:
        return None
    finally:
        os.close(handle)


def integer(text: bytes | None) -> int | None:
    """The one integer that the text is; None where it is something else, such as `max`."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def integers(words: Iterable[bytes]) -> list[int] | None:
    """The words as integers; None where one of them is none."""
    try:
        return [int(word) for word in words]
    except ValueError:
        return None


def rows_named(*names: str) -> re.Pattern[bytes]:
    """What `table` looks for: lines of `NAME 5` or `NAME: 5 kB`."""
    return re.compile(rb"^(%b):?[ \t]+(\d+)" % b"|".join(re.escape(name.encode()) for name in names), re.MULTILINE)


def table(text: bytes | None, rows: re.Pattern[bytes]) -> dict[str, int]:
    """Name -> number of the rows that are there, as the file counts them."""
    return {name.decode(): int(number) for name, number in rows.findall(text or b"")}


def prefix(root: Path) -> str:
    """What stands in front of `/proc` and `/sys` when files are read under `root`."""
    return "" if root == Path("/") else str(root)


def elsewhere(root: Path) -> Any:
    """The module psutil on a system without /proc; None where /proc is there, or a test's tree stands for it."""
    if root != Path("/") or Path("/proc/stat").exists():
        return None
    import psutil

    return psutil
