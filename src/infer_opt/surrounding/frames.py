"""One frame of a stack: what it is called, where it is, and to whom it belongs."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_TEXT = re.compile(r"^(?P<name>.*) \((?P<file>.*?)(?::(?P<line>\d+))?\)$", re.DOTALL)
_ADDRESS = re.compile(r"^0x[0-9a-fA-F]+$")
_LIBRARY = re.compile(r"\.(so[0-9.]*|dylib|dll|pyd|pyx)$|^\[|(?:^|/)python[0-9.]*$")
_SOURCE = re.compile(r"\.(c|cc|cpp|cxx|h|hpp|hxx|rs|f|f90|s|S)$")
_SITE = re.compile(r"(?:^|/)(?:site|dist)-packages/(?P<rest>.*)$")
_STANDARD = re.compile(r"(?:^|/)lib(?:64)?/python3\.\d+t?/(?P<rest>.*)$")
_SYSTEM = re.compile(
    r"^(libc[.-]|libpthread|libm[.-]|ld-linux|ld-musl|libgcc_s|libstdc|libpython|python[0-9.]*$|\[|linux-vdso)"
)

STANDARD, IMPORTING, APPLICATION, OURS, UNKNOWN = "Python itself", "importing", "application", "infer-opt", "unknown"


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as py-spy names it; `line` is None for native ones. A nameless one has its library's name alone."""

    name: str
    file: str
    line: int | None = None
    is_native: bool = False
    is_nameless: bool = False

    @property
    def text(self) -> str:
        """`function (file:line)`, the file as short as it can be told from others."""
        place = shortened(self.file)
        return f"{self.name} ({place})" if self.line is None else f"{self.name} ({place}:{self.line})"


@lru_cache(maxsize=65536)
def parse_frame(text: str) -> Frame:
    """A frame from `function (file:line)`; a native one without a symbol has an address for its name."""
    found = _TEXT.match(text)
    if found is None:
        return Frame(text, "", None, is_native=True)
    name, file = found["name"], found["file"]
    line = None if found["line"] is None else int(found["line"])
    is_native = line is None or bool(_LIBRARY.search(file) or _SOURCE.search(file))
    if _ADDRESS.match(name):
        return Frame("native", file, None, is_native=True, is_nameless=True)
    return Frame(name, file, None if is_native else line, is_native=is_native)


@lru_cache(maxsize=65536)
def shortened(file: str) -> str:
    """A path as a reader knows it: from the package on, from the standard library on, or from the current folder on."""
    for pattern in (_SITE, _STANDARD):
        found = pattern.search(file)
        if found is not None:
            return found["rest"]
    path = Path(file)
    if not path.is_absolute():
        return file
    if _LIBRARY.search(file) or _SOURCE.search(file):
        return path.name
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return "/".join(path.parts[-2:])


@lru_cache(maxsize=65536)
def owner_of(frame: Frame) -> str | None:
    """To whom a frame belongs: a package, the application's module, Python itself; None for the C library, which
    works for whoever called it.
    """
    file, base = frame.file, frame.file.rpartition("/")[2]
    if _SITE.search(file) is None and (_SYSTEM.match(base) or file in ("", "?")):
        return None
    if "/infer_opt/" in file:
        return OURS
    package = _SITE.search(file)
    if package is not None:
        # scipy.libs and numpy.libs hold the libraries that the packages call.
        return package["rest"].partition("/")[0].partition(".")[0] or UNKNOWN
    if _STANDARD.search(file) or file.startswith("<frozen"):
        return STANDARD
    if file.endswith(".pyx") and "/" in file:
        return file.partition("/")[0]
    if frame.is_native:
        # Debug information names a source file and no library: that works for whoever called it.
        return (re.split(r"[-.]", base)[0].removeprefix("lib") or UNKNOWN) if _LIBRARY.search(file) else None
    return f"{APPLICATION}: {shortened(file)}"


def what_for(frames: tuple[Frame, ...]) -> str:
    """What a sample was spent on: the owner of the innermost frame that has one, or the import that it is a part of."""
    if any(frame.name == "_find_and_load" for frame in frames):
        return IMPORTING
    return next((owner for frame in reversed(frames) if (owner := owner_of(frame)) is not None), UNKNOWN)
