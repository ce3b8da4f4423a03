"""Small files of /proc and /sys, any of which may be missing in a container. Standard library only."""

from pathlib import Path


def text(path: Path) -> str | None:
    """The file's text without surrounding white space; None when it is missing or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def integer(path: Path) -> int | None:
    """The file's one integer; None when it is missing or holds something else, such as `max`."""
    found = text(path)
    try:
        return None if found is None else int(found)
    except ValueError:
        return None


def table(path: Path) -> dict[str, int]:
    """Lines of `key value` or `key: value unit` as a dict; lines that are not so are left out."""
    rows: dict[str, int] = {}
    for line in (text(path) or "").splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].lstrip("-").isdigit():
            rows[words[0]] = int(words[1])
    return rows
