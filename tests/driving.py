"""Runs the command line as a user does, and finds what it leaves behind."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import onnx
import psutil
from onnx import TensorProto, helper

from infer_opt.cli import main
from quiet import PROFILED, SCREEN_ONLY
from zoo import build, constant, floats, save

Found = TypeVar("Found")

QUIET = Path(__file__).parent / "quiet.py"


@dataclass(frozen=True)
class Ended:
    """A command that is over."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> str:
        """Standard error without what commands say at their end: where their result is."""
        return "".join(
            line for line in self.err.splitlines(keepends=True) if not line.startswith(("Kept as ", "Report: "))
        )

    @property
    def document(self) -> dict[str, Any]:
        """The JSON on standard output."""
        document: dict[str, Any] = json.loads(self.out)
        return document


class Home:
    """A folder of one's own for a user: the store, the cache and all bundles lie in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.store = folder / "store.db"

    @property
    def variables(self) -> dict[str, str]:
        """What points infer-opt at this folder."""
        return {"INFER_OPT_CACHE": str(self.cache), "INFER_OPT_STORE": f"sqlite:///{self.store}"}

    def model(self, name: str, proto: onnx.ModelProto) -> Path:
        """Writes the model and gives its path."""
        return save(proto, self.folder / f"{name}.onnx")

    def preset(self, **changes: object) -> Path:
        """A preset that tries next to nothing, unless `changes` say otherwise."""
        keys: dict[str, object] = {"trials": 1, "entrants": 1, "rivals": 0, "epochs": 4}
        lines = [f"{key}: {value}" for key, value in (keys | changes).items()]
        path = self.folder / f"{len(list(self.folder.glob('*.yaml')))}.yaml"
        path.write_text("\n".join(["description: as little as can be called a tuning", "budget: 120s", *lines, ""]))
        return path

    def call(self, *words: object) -> Ended:
        """The command in this process, where tests may replace parts of it; its workers are real."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        with redirect_stdout(out), redirect_stderr(err), patched_words(words):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        return Ended(code, out.getvalue(), err.getvalue())

    def start(self, *words: object, screen_only: bool = False, profiled: bool = False) -> "subprocess.Popen[str]":
        """The command in a process of its own, as on a machine where nobody else computes."""
        settings = self.variables | ({SCREEN_ONLY: "1"} if screen_only else {}) | ({PROFILED: "1"} if profiled else {})
        return subprocess.Popen(
            [sys.executable, str(QUIET), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=os.environ | settings,
        )

    def run(self, *words: object, timeout_s: float = 240) -> Ended:
        """`start`, waited for."""
        return ended(self.start(*words), timeout_s=timeout_s)

    def workers(self) -> list[psutil.Process]:
        """Live workers of this home's commands, stopped ones included, whoever their parent is now."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return (
                "infer_opt.workers.child" in process.cmdline()
                and process.environ().get("INFER_OPT_CACHE") == str(self.cache)
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def litter(self) -> list[str]:
        """What a command should not leave: scratch folders, and drafts of bundles."""
        scratch = self.cache / "scratch"
        left = [*(scratch.iterdir() if scratch.is_dir() else ()), *self.folder.glob(".*")]
        return sorted(str(path.relative_to(self.folder)) for path in left)


@dataclass(frozen=True)
class Proven:
    """A tuning that found a winner, and what it printed."""

    home: Home
    model: Path
    bundle: Path
    ended: Ended


def ended(process: "subprocess.Popen[str]", *, timeout_s: float = 240) -> Ended:
    """What a started command leaves, once it is over; it is killed when it takes too long."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return Ended(process.returncode, out, err)


@contextmanager
def patched_words(words: Sequence[object]) -> Iterator[None]:
    """`sys.argv` as it is for `infer-opt WORDS`."""
    before, sys.argv = sys.argv, ["infer-opt", *map(str, words)]
    try:
        yield
    finally:
        sys.argv = before


def wait_for(what: str, condition: Callable[[], Found], *, seconds: float = 60.0) -> Found:
    """What `condition()` gives once it is true.

    Raises:
        TimeoutError: it never was.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}")


def shape_bound(*, steps: int = 20, width: int = 25_000) -> onnx.ModelProto:
    """x (1, time) -> y (1, time): nearly all of its work hangs on nothing but the size of `time`.

    With shapes fixed by `--dim time=4`, ONNX Runtime does that work once, when it opens the model: a difference that no
    noise can hide.
    """
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.5])
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Concat", ["sizes", "width"], ["shape"], axis=0),
        helper.make_node("ConstantOfShape", ["shape"], ["h0"], value=value),
        *(helper.make_node("Sin", [f"h{index}"], [f"h{index + 1}"]) for index in range(steps)),
        helper.make_node("ReduceMean", [f"h{steps}"], ["mean"], axes=[2], keepdims=0),
        helper.make_node("Add", ["x", "mean"], ["y"]),
    ]
    return build(
        nodes,
        [floats("x", 1, "time")],
        [floats("y", 1, "time")],
        initialisers=[constant("width", [width], "int64")],
    )
