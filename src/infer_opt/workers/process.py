"""The tuner's side of a worker: start, ask, stop and continue, time out, and say why it died."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import IO, Any, ClassVar, Self

from infer_opt.errors import DeviceMemoryError, InferOptError
from infer_opt.results import FailureKind
from infer_opt.workers.environments import Environment
from infer_opt.workers.isolation import memory_bytes, resident_bytes
from infer_opt.workers.messages import Call, Failed

CAN_FREEZE = hasattr(signal, "SIGSTOP")
PADDING_BYTES = 4096
FIRST_LOOK_S = 0.5  # a block is over by then: nothing wakes the tuner while a worker is being timed
LOOK_EVERY_S = 0.1
GRACE_S = 2.0

# numpy's own thread pools would compete with the session's; ONNX Runtime does not read these.
NUMPY_POOL = {"OPENBLAS_NUM_THREADS": "1"}
THREAD_ENVIRONMENT = NUMPY_POOL | {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
TAIL_BYTES = 4000


class WorkerError(InferOptError):
    """A worker ended instead of answering.

    Not a ModelError: whether the model is at fault or the machine ran short is for the caller to say.
    """

    exit_code = 3
    kind: ClassVar[FailureKind] = FailureKind.CRASH


class WorkerTimeoutError(WorkerError):
    """A worker did not answer in time and was killed."""

    kind = FailureKind.TIMEOUT


class WorkerMemoryError(WorkerError):
    """A worker took more memory than it may, or the kernel killed it for memory."""

    kind = FailureKind.MEMORY


class WorkerProcess:
    """One fresh Python process that serves commands until it is closed.

    Arguments:
        generator: the source of the environment's random padding (Mytkowicz 2009: its size shifts the stack).
        cap_bytes: resident memory above which the worker is killed; None for no cap.
        own_pools: leave OpenMP and MKL to the library that runs there: PyTorch takes its threads from them.
        elsewhere: another Python environment to run in; this one unless given.
    """

    def __init__(
        self,
        generator: random.Random,
        *,
        cap_bytes: int | None = None,
        own_pools: bool = False,
        elsewhere: Environment | None = None,
    ) -> None:
        ours, theirs = socket.socketpair()
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        padding = {"INFER_OPT_PADDING": "x" * generator.randrange(PADDING_BYTES)}
        python = sys.executable if elsewhere is None else str(elsewhere.python)
        variables = {} if elsewhere is None else elsewhere.variables
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file called random.py or onnx.py in the user's folder must not be taken for the library.
                [python, "-P", "-m", "infer_opt.workers.child", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env=os.environ | (NUMPY_POOL if own_pools else THREAD_ENVIRONMENT) | variables | padding,
                # A Ctrl-C at the terminal goes to the tuner, which ends its workers in order.
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        self._cap_bytes = cap_bytes
        self._frozen = False
        self._death: WorkerError | None = None

    @property
    def pid(self) -> int:
        """The process id; its threads and readings hang on it."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process is still there, stopped or not."""
        return self._process.poll() is None

    def ask(self, command: object, *, timeout_s: float) -> Any:
        """The answer to `command`.

        Raises:
            InferOptError: what the worker answered with.
            WorkerError: it died, hung or took too much memory; it is gone then.
        """
        self.send(command)
        return self.receive(timeout_s=timeout_s)

    def send(self, command: object) -> None:
        """Hand over `command`; `receive` fetches the answer."""
        self.thaw()
        try:
            self._connection.send(command)
        except (BrokenPipeError, ConnectionResetError):
            raise self._dead() from None

    def receive(self, *, timeout_s: float) -> Any:
        """The answer to the command sent last."""
        deadline = time.monotonic() + timeout_s
        wait = min(FIRST_LOOK_S, timeout_s)
        while not self._connection.poll(wait):
            self._check_memory()
            if time.monotonic() >= deadline:
                self._kill(WorkerTimeoutError(f"the worker gave no answer within {timeout_s:.0f} s and was killed"))
            wait = min(LOOK_EVERY_S, max(0.0, deadline - time.monotonic()))
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):  # OSError: it died while it answered
            raise self._dead() from None
        self._check_memory()
        if isinstance(answer, Failed):
            if isinstance(answer.error, MemoryError):
                raise WorkerMemoryError("the worker ran out of memory (MemoryError)")
            if isinstance(answer.error, DeviceMemoryError):
                # What a session leaves behind on a full device is not known: nothing more is measured in there.
                self._kill(WorkerMemoryError(answer.error.what, hint=answer.error.hint))
            raise answer.error
        return answer

    def memory_bytes(self, field: str) -> int | None:
        """VmRSS or VmHWM of the worker, in bytes."""
        return memory_bytes(self.pid, field)

    def freeze(self) -> None:
        """Stop every thread of the worker (SIGSTOP): an idle session's threads go on spinning otherwise."""
        if CAN_FREEZE and not self._frozen and self._process.returncode is None:
            os.kill(self.pid, signal.SIGSTOP)
            # Return only once it has stopped; WNOWAIT leaves its exit status to `Popen`.
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            self._frozen = True

    def thaw(self) -> None:
        """Continue after `freeze`."""
        if self._frozen:
            with contextlib.suppress(ProcessLookupError):  # it died meanwhile, which the next answer will tell
                os.kill(self.pid, signal.SIGCONT)
            self._frozen = False

    def close(self) -> None:
        """End the process, by force when it does not end by itself. Safe to call twice."""
        self._connection.close()
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait(GRACE_S)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_memory(self) -> None:
        used = None if self._cap_bytes is None else resident_bytes(self.pid)
        if used is not None and self._cap_bytes is not None and used > self._cap_bytes:
            self._kill(
                WorkerMemoryError(
                    f"the worker took {used / 1e6:.0f} MB, above the cap of {self._cap_bytes / 1e6:.0f} MB"
                )
            )

    def _kill(self, death: WorkerError) -> None:
        self._death = death
        self._process.kill()
        self._process.wait()
        raise death

    def _dead(self) -> WorkerError:
        if self._death is None:
            try:
                code = self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = self._process.wait()
            self._death = explain_exit(code, self._tail())
        return self._death

    def _tail(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - TAIL_BYTES))
        return self._log.read().decode(errors="replace").strip()


def explain_exit(code: int, tail: str) -> WorkerError:
    """The error for a worker that ended with `code` and left `tail` on its standard error."""
    last = tail.splitlines()[-1].strip()[:300] if tail else ""
    if "bad_alloc" in tail or "MemoryError" in last:
        return WorkerMemoryError(f"the worker ran out of memory: {last}")
    if code == -signal.SIGKILL:
        return WorkerMemoryError("the worker was killed (SIGKILL), which is what the kernel does when memory runs out")
    if code < 0:
        named = {member.value: member.name for member in signal.Signals}
        name = named.get(-code, f"signal {-code}")
        return WorkerError(f"the worker crashed with {name}" + (f": {last}" if last else ""))
    return WorkerError(f"the worker ended with exit code {code}" + (f": {last}" if last else ""))


def run_task(target: str, *arguments: object, timeout_s: float = 600.0, **keywords: object) -> Any:
    """The result of `module:function` in a process of its own.

    For work on files from elsewhere: it may crash or fill memory, and the tuner stays small and alive.

    Raises:
        InferOptError: what the function raised, or a WorkerError when its process ended.
    """
    command = Call(target=target, arguments=arguments, keywords=tuple(keywords.items()))
    with WorkerProcess(random.Random(0)) as worker:
        return worker.ask(command, timeout_s=timeout_s)
