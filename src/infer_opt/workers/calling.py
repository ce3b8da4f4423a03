"""A process for a user's function that is sampled: `python -m infer_opt.workers.calling TARGET FOLDER SECONDS MEMORY`.

It loads the function, says so by the file FOLDER/ready, waits until somebody opens FOLDER/go, and calls it: once, or
again and again for SECONDS where they are above 0. MEMORY is a file for memray, or "" for none. Standard output is the
function's own.
"""

import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

INTERRUPTED = 130


def call(function: Callable[[], Any], seconds: float) -> None:
    """Call it once, and then until the seconds are over."""
    end = time.monotonic() + seconds
    function()
    while time.monotonic() < end:
        function()


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The function's own error, without the frames that lead to the function."""
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, "<frozen runpy>"):
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)


def main(target: str, folder: Path, seconds: float, memory: str) -> int:
    """The exit code: that of the function's own SystemExit, 3 where it cannot be loaded, 1 where it raises."""
    from infer_opt.errors import InferOptError
    from infer_opt.workers.child import resolve

    sys.path.insert(0, str(Path.cwd()))  # where `package.module:function` is looked for
    try:
        function = resolve(target)
    except InferOptError as error:
        (folder / "failed").write_text(f"{error.what}\n{error.hint or ''}", encoding="utf-8")
        return error.exit_code
    signal.signal(signal.SIGTERM, _end)
    sys.excepthook = _explain
    (folder / "ready").touch()
    (folder / "go").read_bytes()
    try:
        if not memory:
            call(function, seconds)
            return 0
        import memray

        with memray.Tracker(memory):
            call(function, seconds)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
