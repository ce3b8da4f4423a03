"""Memory by memray: how a Python program is started under it, and which stacks held memory at the peak."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from infer_opt.errors import UnavailableError
from infer_opt.profiles.surrounding import Stack
from infer_opt.surrounding.frames import Frame

_OWN = ("/memray/", "<frozen runpy>", "infer_opt/workers/calling.py")
MOST_STACKS = 5000  # what is left out is a remainder of bytes, told as one stack
REST = "everything else"


def under_memray(words: Sequence[str], capture: Path) -> list[str] | None:
    """The command that runs the same Python program with its allocations recorded; None where it is no Python program.

    A script with Python's name in its first line (`uvicorn`, say) is run by the interpreter that it names.
    """
    program = shutil.which(words[0])
    if program is None:
        return None
    wrapping = ["-m", "memray", "run", "--quiet", "--force", "--output", str(capture)]
    if Path(words[0]).name.startswith(("python", "pypy")):
        options, rest = _interpreter_options(words[1:])
        return [words[0], *options, *wrapping, *rest] if rest and rest[0] not in ("-", "-i") else None
    interpreter = _interpreter_of(Path(program))
    return None if interpreter is None else [*interpreter, *wrapping, program, *words[1:]]


def require_there(interpreter: str) -> None:
    """Nothing, where the Python that is to run the program can import memray.

    Raises:
        UnavailableError: it cannot.
    """
    done = subprocess.run([interpreter, "-c", "import memray"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()
        raise UnavailableError(
            f"{interpreter}, which runs the program, cannot load memray: {reason[-1] if reason else 'no reason given'}",
            hint=f"{interpreter} -m pip install memray=={version('memray')}, or leave out --memory",
        )


def _interpreter_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options of the interpreter itself (`-u`, `-X importtime`), and what follows: `-m`, `-c` or a file."""
    options: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c", "-", "-i"):
        takes_value = rest[0] in ("-X", "-W", "--check-hash-based-pycs")
        options, rest = options + rest[: 1 + takes_value], rest[1 + takes_value :]
    return options, rest


def _interpreter_of(script: Path) -> list[str] | None:
    """The interpreter that a script names in its first line, where that is a Python."""
    try:
        with script.open("rb") as file:
            first = file.readline(512)
    except OSError:
        return None
    if not first.startswith(b"#!") or b"python" not in first:
        return None
    words = os.fsdecode(first[2:]).split()
    return words[1:] if words and Path(words[0]).name == "env" else words


def read_capture(capture: Path) -> tuple[tuple[Stack, ...], int] | None:
    """Stacks by the bytes that they held when most was held, and all of those; None where nothing was recorded.

    What a killed program had recorded until then is read too.

    Raises:
        UnavailableError: memray is missing, or another version than the one that recorded.
    """
    if not capture.is_file() or capture.stat().st_size == 0:
        return None
    import memray

    try:
        with memray.FileReader(capture) as reader:
            peak = int(reader.metadata.peak_memory)
            held: Counter[tuple[str, ...]] = Counter()
            for record in reader.get_high_watermark_allocation_records(merge_threads=True):
                held[_frames(record.stack_trace())] += int(record.size)
    except OSError as error:
        raise UnavailableError(
            f"what memray recorded cannot be read: {error}",
            hint="the program's environment and this one need the same version of memray",
        ) from error
    largest = held.most_common(MOST_STACKS)
    rest = sum(held.values()) - sum(count for _, count in largest)
    kept = tuple(Stack(frames=frames, samples=count) for frames, count in largest if count > 0)
    return (*kept, *([Stack(frames=(REST,), samples=rest)] if rest else [])), peak


def _frames(trace: Sequence[tuple[str, str, int]]) -> tuple[str, ...]:
    """Outermost first, without the frames that start the program under memray."""
    outwards = [Frame(name, file, line).text for name, file, line in trace if not any(own in file for own in _OWN)]
    return tuple(reversed(outwards)) or ("(native code, no Python frame)",)
