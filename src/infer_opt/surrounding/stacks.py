"""What py-spy wrote, as samples: which thread, in which frames, and whether it ran, waited, or waited for the GIL."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from infer_opt.profiles.surrounding import Stack
from infer_opt.surrounding.frames import STANDARD, Frame, owner_of, parse_frame

# With --threads, each stack has one such frame before those of the thread; processes' command lines come before it.
_THREAD = re.compile(r"(?:^|;)thread \((?P<id>(?:0x)?[0-9A-Fa-f]+)\)(?:: (?P<name>[^;]*))?(?:;|$)")
_PROCESS = re.compile(r"(?:^|;)process (?P<pid>\d+):")
_COUNT = re.compile(r" (\d+)$")

# Where a thread's innermost frames are calls of these, the kernel has put it to sleep.
_BLOCKING = frozenset(
    {
        "__lll_lock_wait", "accept", "accept4", "clock_nanosleep", "connect", "do_futex_wait", "epoll_pwait",
        "epoll_wait", "flock", "futex", "nanosleep", "poll", "__poll", "ppoll", "pselect", "pthread_cond_clockwait",
        "pthread_cond_timedwait", "pthread_cond_wait", "pthread_join", "pthread_timedjoin_np", "read", "__read", "recv",
        "recvfrom", "recvmsg", "select", "__select", "sem_clockwait", "sem_timedwait", "sem_wait", "sigtimedwait",
        "sigwait", "sigwaitinfo", "syscall", "usleep", "wait4", "waitid", "waitpid",
    }
)  # fmt: skip
# Python's own functions that sleep for a lock, whether or not the C library names what they call.
_LOCKING = re.compile(r"PyThread_acquire_lock|lock_PyThread_acquire_lock|acquire_timed|rlock_acquire|_lock_acquire")
_GIL = re.compile(r"take_gil|drop_gil|PyEval_RestoreThread|PyEval_AcquireThread|PyEval_AcquireLock|PyGILState_Ensure")
_SLEEPS = frozenset({"pthread_cond_timedwait", "pthread_cond_clockwait", "pthread_cond_wait"})
_TIMED = frozenset({"pthread_cond_timedwait", "pthread_cond_clockwait"})
_EXTENSION = re.compile(r"\.cpython-|\.abi3\.|\.pyx$")
_CALLING = "infer_opt/workers/calling.py"
_STARTING = (_CALLING, "/site-packages/memray/")
_INTERPRETER = re.compile(r"^(libpython|python[0-9.]*$)")
_LIBC = re.compile(r"^(libc[.-]|libpthread|ld-linux|ld-musl)")


class State(StrEnum):
    """What a thread was doing when it was looked at."""

    RUNNING = "running"
    WAITING = "waiting"
    WAITING_FOR_GIL = "waiting-for-gil"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Equal samples of one thread: its frames, the outermost first, and how often it was seen in them."""

    pid: int | None
    thread: str
    frames: tuple[Frame, ...]
    samples: int


def parse(text: str) -> tuple[Sampled, ...]:
    """The samples in the text of `py-spy record --format raw --threads`.

    Command lines may hold line breaks and semicolons: before a thread's frame, its process alone is read.
    """
    found = []
    for line in text.splitlines():
        count = _COUNT.search(line)
        stack = "" if count is None else line[: count.start()]
        threads = list(_THREAD.finditer(stack))
        if count is None or not threads:
            continue
        thread, processes = threads[-1], _PROCESS.findall(stack[: threads[-1].start()])
        pid = int(processes[-1]) if processes else None
        found.append(
            Sampled(
                pid=pid,
                # Python names its main thread once `threading` is imported; the kernel numbers it as the process.
                thread=thread["name"] or ("MainThread" if thread["id"] == str(pid) else ""),
                frames=tuple(parse_frame(frame) for frame in stack[thread.end() :].split(";") if frame),
                samples=int(count[1]),
            )
        )
    return tuple(found)


def state_of(frames: Sequence[Frame]) -> State:
    """What the innermost frames say a thread was doing; it runs where nothing says that it sleeps.

    The GIL is waited for inside the functions that take it, or in a wait of the interpreter's own loop: where that
    function was compiled into the loop, the wait is called by no function but Python's, or by an extension that takes
    the GIL back. Its wait is one of 5 ms at a time, which sets it apart from an extension's own.
    """
    native = tuple(_native_end(frames))
    if not native:
        return State.RUNNING
    names = [frame.name for frame in native]
    sleeps = any(frame.name in _BLOCKING and _is_in_c_library(frame) for frame in native)
    if any(_LOCKING.search(name) for name in names):
        return State.WAITING
    is_named_gil = any(_GIL.search(name) for name in names)
    if is_named_gil and (sleeps or _is_in_c_library(native[-1])):
        return State.WAITING_FOR_GIL
    slept = next((index for index, frame in enumerate(native) if frame.name in _SLEEPS), None)
    if slept is not None and _is_in_c_library(native[slept]):
        above = [frame for frame in native[:slept] if not (frame.is_nameless and _is_interpreter(frame))]
        if not above and len(frames) > len(native):
            return State.WAITING_FOR_GIL
        if above and native[slept].name in _TIMED and _EXTENSION.search(above[-1].file):
            return State.WAITING_FOR_GIL
    # Python 3.13 calls the C library's inner, nameless functions for its own locks: one that computes, such as a copy
    # of memory, calls no other.
    sleeps = sleeps or (len(native) > 1 and all(one.is_nameless and _is_in_c_library(one) for one in native))
    return State.WAITING if sleeps else State.RUNNING


def _native_end(frames: Sequence[Frame]) -> list[Frame]:
    """The native frames above the last one of Python; without any of Python, all of them."""
    for index in range(len(frames) - 1, -1, -1):
        if not frames[index].is_native:
            return list(frames[index + 1 :])
    return list(frames)


def _is_in_c_library(frame: Frame) -> bool:
    return bool(_LIBC.match(frame.file.rpartition("/")[2]))


def stacks_of(samples: Iterable[Sampled]) -> tuple[Stack, ...]:
    """The samples of all threads and processes together, by their frames; the most frequent first."""
    counted: Counter[tuple[str, ...]] = Counter()
    for sampled in samples:
        counted[tuple(frame.text for frame in _shown(sampled.frames))] += sampled.samples
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Stack(frames=frames, samples=count) for frames, count in ordered if count > 0)


def _is_interpreter(frame: Frame) -> bool:
    return bool(_INTERPRETER.match(frame.file.rpartition("/")[2]))


def is_in_python(frames: Sequence[Frame]) -> bool:
    """Whether there is any of Python's frames: while an interpreter starts and ends there is none."""
    return any(not frame.is_native for frame in frames)


def is_ours(frames: Sequence[Frame]) -> bool:
    """Whether a thread was in what calls the user's function, and not in the function."""
    theirs = (frame for frame in reversed(frames) if owner_of(frame) not in (None, STANDARD))
    return any(frame.file.endswith(_CALLING) for frame in islice(theirs, 1))


def _shown(frames: Sequence[Frame]) -> list[Frame]:
    """Without what says nothing: how a thread or program is started, and one nameless frame after another."""
    shown: list[Frame] = []
    for frame in frames:
        if not shown and (frame.file.startswith("<frozen runpy>") or any(own in frame.file for own in _STARTING)):
            continue
        if frame.is_nameless and (_is_in_c_library(frame) or (shown and shown[-1] == frame)):
            continue
        if not shown and frame.is_native and frame.name in ("thread_run", "pythread_wrapper", "clone", "start_thread"):
            continue
        shown.append(frame)
    return shown


def by_thread(samples: Iterable[Sampled]) -> tuple[tuple[str, int], ...]:
    """Samples by the name of the thread, the most first; threads without a name are one."""
    counted: Counter[str] = Counter()
    for sampled in samples:
        counted[sampled.thread or "(no name)"] += sampled.samples
    return tuple(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
