"""Calls of `infer-opt` as a user makes them: whole processes, with a cache and a store of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import ROOT

INFER_OPT = Path(sys.executable).with_name("infer-opt")
SHIPPED = ("digits_cnn", "policy_mlp", "sequence_lstm")
LARGE = ("large/minilm", "large/resnet50")
ERROR_LINES = 2  # the error and its hint, or what ended a traceback

Tick = Callable[[int, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model and its inputs: the npz of the same name, when there is one."""

    path: Path

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    @property
    def inputs(self) -> Path | None:
        """Real inputs beside it."""
        beside = self.path.with_suffix(".npz")
        return beside if beside.is_file() else None

    @property
    def arguments(self) -> list[str]:
        """How a command line names it."""
        return [shown(self.path), *([] if self.inputs is None else ["--inputs", shown(self.inputs)])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a call ended. `exit_code` is negative where a signal ended it; `error` is what it said then."""

    arguments: tuple[str, ...]
    exit_code: int
    wall_s: float
    output: str
    error: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON that it printed.

        Raises:
            ValueError: it printed none; the error that it gave instead is named.
        """
        try:
            found: dict[str, Any] = json.loads(self.output)
        except ValueError as error:
            raise ValueError(f"infer-opt {' '.join(self.arguments)} printed no JSON: {self.error}") from error
        return found


def shown(path: Path) -> str:
    """The path from the repository's root, where it lies in it: results do not name anybody's home."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def models(names: Sequence[str]) -> list[Model]:
    """The models of these names or paths.

    Raises:
        SystemExit: one is missing; it says how to make it.
    """
    found = []
    for name in names:
        path = Path(name) if name.endswith(".onnx") else ROOT / "models" / f"{name}.onnx"
        if not path.is_file():
            sys.exit(f"there is no model {path}; python -m scripts.build_large_models all makes the large ones")
        found.append(Model(path=path.resolve()))
    return found


@contextlib.contextmanager
def private_state() -> Iterator[tuple[Path, Mapping[str, str]]]:
    """A folder that is gone afterwards, and an environment in which infer-opt keeps its cache and store there.

    Nothing that an earlier tuning left can shorten a measured one.
    """
    with tempfile.TemporaryDirectory(prefix="infer-opt-benchmark-") as name:
        folder = Path(name)
        state = {"INFER_OPT_CACHE": str(folder / "cache"), "INFER_OPT_STORE": f"sqlite:///{folder / 'store.db'}"}
        yield folder, os.environ | state


def call(
    arguments: Sequence[str], *, environment: Mapping[str, str], program: Path = INFER_OPT, tick: Tick | None = None,
    tick_s: float = 0.1,
) -> Finished:  # fmt: skip
    """Run `infer-opt ARGUMENTS` in the repository's root to its end.

    Arguments:
        tick: is called every `tick_s` seconds with the process's id and the seconds since its start.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as error:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [str(program), *arguments],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
        )
        try:
            _wait(process, begin, tick, tick_s)
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        wall_s = time.perf_counter() - begin
        return Finished(
            arguments=tuple(arguments),
            exit_code=process.returncode,
            wall_s=wall_s,
            output=_text(output),
            error=" ".join(_text(error).strip().splitlines()[-ERROR_LINES:]),
        )


def _wait(process: "subprocess.Popen[bytes]", begin: float, tick: Tick | None, tick_s: float) -> None:
    if tick is None:
        process.wait()
        return
    while True:
        tick(process.pid, time.perf_counter() - begin)
        try:
            process.wait(tick_s)
        except subprocess.TimeoutExpired:
            continue
        return


def _text(file: Any) -> str:
    file.seek(0)
    text: str = file.read().decode(errors="replace")
    return text
