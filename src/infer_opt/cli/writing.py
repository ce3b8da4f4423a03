"""Files that a command writes beside its report."""

import os
import tempfile
from pathlib import Path

from infer_opt.errors import ConfigError, StorageError


def require_free(path: Path | None, *, force: bool) -> None:
    """Find out before any work that a file would be replaced.

    Raises:
        ConfigError: it exists, and `force` does not allow for that.
    """
    if path is not None and path.exists() and not force:
        raise ConfigError(f"{path} exists already", hint="add --force to replace it, or name another file")


def require_room(path: Path, *, force: bool, option: str) -> None:
    """As `require_free`, and that the folder is there and can be written.

    Raises:
        ConfigError: it exists.
        StorageError: nothing can be written there.
    """
    require_free(path, force=force)
    if not os.access(path.absolute().parent, os.W_OK):
        raise StorageError(f"{path.absolute().parent} cannot be written", hint=f"name another {option}")


def write_text(path: Path, text: str, *, option: str) -> None:
    """Write the file whole: beside its place first, then renamed.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.absolute().parent, encoding="utf-8", delete=False) as file:
            temporary = Path(file.name)
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error.strerror}", hint=f"name another {option}") from error
