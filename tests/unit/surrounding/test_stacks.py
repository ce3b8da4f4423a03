import pytest

from infer_opt.surrounding.frames import parse_frame, what_for
from infer_opt.surrounding.shares import shares_of
from infer_opt.surrounding.stacks import State, by_thread, is_in_python, is_ours, parse, stacks_of, state_of

PYTHON = "libpython3.11.so.1.0"
SITE = "/venv/lib/python3.11/site-packages"
NUMPY = f"{SITE}/numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so"
ORT = f"{SITE}/onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so"
# As py-spy 0.4.3 wrote it, with --subprocesses --threads --full-filenames --idle --native.
SPIN = "run (/usr/lib/python3.11/threading.py:982);spin (/srv/app.py:6)"
JOIN = f"join (/usr/lib/python3.11/threading.py:1119);lock_PyThread_acquire_lock ({PYTHON});0x7f1 (/lib/libc.so.6)"
APP = 'process 11:"python app.py"'
WRITTEN = f"""\
process 10:"python app.py; true";process 11:"python -c
import sys;print(1) 7";thread (11): MainThread;0x7f (/lib/libc.so.6);<module> (/srv/app.py:19);{JOIN} 4
{APP};thread (12): spin;{SPIN} 20
{APP};thread (13): spin;{SPIN} 5
{APP};thread (13): spin;{SPIN};pthread_cond_timedwait (libc.so.6);0x1 (libc.so.6) 7
{APP};thread (11);gc_collect_main ({PYTHON}) 9
{APP};thread (11) 3
nonsense without a count
"""


def frames(text: str):  # type: ignore[no-untyped-def]
    return tuple(parse_frame(frame) for frame in text.split(";"))


def test_samples_are_read_whatever_stands_in_a_command_line() -> None:
    found = parse(WRITTEN)

    assert [(one.thread, one.samples) for one in found] == [
        ("MainThread", 4), ("spin", 20), ("spin", 5), ("spin", 7), ("MainThread", 9), ("MainThread", 3),
    ]  # fmt: skip
    assert {one.pid for one in found[1:]} == {11}
    assert [frame.name for frame in found[1].frames] == ["run", "spin"]
    assert found[-1].frames == ()


def test_equal_stacks_of_several_threads_are_one() -> None:
    running = [one for one in parse(WRITTEN) if state_of(one.frames) is State.RUNNING and is_in_python(one.frames)]

    (stack,) = stacks_of(running)
    assert stack.samples == 25
    assert stack.frames == ("run (threading.py:982)", "spin (srv/app.py:6)")
    assert by_thread(running) == (("spin", 25),)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("f (a.py:1)", State.RUNNING),
        (f"f (a.py:1);ufunc_generic_fastcall ({NUMPY});cblas_sgemm (/x/libopenblas.so.0)", State.RUNNING),
        ("f (a.py:1);memcpy (libc.so.6)", State.RUNNING),
        (f"f (a.py:1);time_sleep ({PYTHON});clock_nanosleep (libc.so.6)", State.WAITING),
        (f"wait (threading.py:3);lock_PyThread_acquire_lock ({PYTHON});pthread_cond_timedwait (libc.so.6)",
         State.WAITING),
        (f"join (threading.py:3);lock_PyThread_acquire_lock ({PYTHON});PyThread_acquire_lock_timed ({PYTHON});"
         "0x7f (libc.so.6)", State.WAITING),
        (f"accept (socket.py:3);sock_accept ({PYTHON});accept4 (libc.so.6)", State.WAITING),
        ("join (threading.py:3);0x7f (/usr/lib/libc.so.6);0x8f (/usr/lib/libc.so.6)", State.WAITING),
        ("f (a.py:3);0x7f (/usr/lib/libc.so.6)", State.RUNNING),
        (f"run (sess.py:3);0x7f ({ORT});pthread_cond_wait (libc.so.6)", State.WAITING),
        # The interpreter's own wait, where take_gil was compiled into its loop.
        ("spin (a.py:6);pthread_cond_timedwait (libc.so.6);0x7f (libc.so.6)", State.WAITING_FOR_GIL),
        ("spin (a.py:6);pthread_cond_wait (libc.so.6)", State.WAITING_FOR_GIL),
        (f"spin (a.py:6);0x3 ({PYTHON});pthread_cond_timedwait (libc.so.6)", State.WAITING_FOR_GIL),
        # Where the interpreter has symbols.
        (f"spin (a.py:6);take_gil ({PYTHON});pthread_cond_timedwait (libc.so.6)", State.WAITING_FOR_GIL),
        (f"f (a.py:1);read ({PYTHON});PyEval_RestoreThread ({PYTHON});0x7f (libc.so.6)", State.WAITING_FOR_GIL),
        # An extension that takes the GIL back after its work.
        (f"f (a.py:1);ufunc_generic_fastcall ({NUMPY});pthread_cond_timedwait (libc.so.6)", State.WAITING_FOR_GIL),
        # A function that is only called like one of the kernel's.
        ("f (a.py:1);select (/srv/mine.so)", State.RUNNING),
        ("f (a.py:1);PyEval_RestoreThread (python3.11)", State.RUNNING),
    ],
)  # fmt: skip
def test_native_frames_say_whether_a_thread_runs_waits_or_wants_the_gil(text: str, state: State) -> None:
    assert state_of(frames(text)) is state


def test_a_wait_without_python_is_no_wait_for_the_gil() -> None:
    assert state_of(frames("worker (/x/libpool.so);pthread_cond_wait (libc.so.6)")) is State.WAITING


def test_nameless_frames_of_one_library_are_one_and_those_of_the_c_library_none() -> None:
    text = (
        f"thread (1): a;0x7f (libc.so.6);thread_run ({PYTHON});f (/srv/a.py:2);0x1 ({ORT});0x2 ({ORT});0x3 (libc.so.6)"
    )

    (stack,) = stacks_of(parse(f"{text} 6"))
    assert stack.frames == (
        "f (srv/a.py:2)", "native (onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so)"
    )  # fmt: skip


def test_what_starts_a_program_under_memray_or_calls_a_function_is_not_shown() -> None:
    outer = (
        f"_run_code (<frozen runpy>:88);run ({SITE}/memray/commands/run.py:83);main (/s/infer_opt/workers/calling.py:9)"
    )

    (stack,) = stacks_of(parse(f"thread (1): a;{outer};f (/srv/a.py:2) 6"))
    assert stack.frames == ("f (srv/a.py:2)",)


def test_waiting_to_call_the_function_is_ours_and_the_function_is_not() -> None:
    outer = "main (/s/infer_opt/workers/calling.py:9)"

    assert is_ours(frames(f"{outer};open (/usr/lib/python3.11/pathlib.py:9);open64 (libc.so.6)"))
    assert not is_ours(frames(f"{outer};f (/srv/a.py:2);loads (/usr/lib/python3.11/json/__init__.py:9)"))


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        (f"f (/srv/a.py:1);run ({SITE}/onnxruntime/capi/x.py:3);0x7f ({ORT});memcpy (libc.so.6)", "onnxruntime"),
        (f"f (/srv/a.py:1);0x7f ({NUMPY})", "numpy"),
        (f"f (/srv/a.py:1);sgemm ({SITE}/numpy.libs/libscipy_openblas64_-32a4b2a6.so)", "numpy"),
        ("f (/srv/a.py:1);loads (/usr/lib/python3.11/json/__init__.py:2);scan_once (_json.c)", "Python itself"),
        ("f (/srv/a.py:1)", "application: srv/a.py"),
        ("f (/srv/a.py:1);pthread_cond_signal (libc.so.6)", "application: srv/a.py"),
        ("f (/srv/a.py:1);next (numpy/random/_generator.pyx:12)", "numpy"),
        ("f (/srv/a.py:1);kernel (/opt/lib/libmine-2.so.1)", "mine"),
        ("f (/srv/a.py:1);read (14/fstream)", "application: srv/a.py"),
        ("load (/x/src/infer_opt/bundle.py:3)", "infer-opt"),
        ("_find_and_load (<frozen importlib._bootstrap>:1);<module> (/srv/a.py:1)", "importing"),
        ("gc_collect_main (?)", "unknown"),
    ],
)
def test_a_sample_is_spent_on_the_innermost_that_has_an_owner(text: str, owner: str) -> None:
    assert what_for(frames(text)) == owner


def test_shares_add_up_and_the_largest_comes_first() -> None:
    found = shares_of(parse("thread (1): a;f (/srv/a.py:1) 3\nthread (2): b;f (/srv/a.py:2);0x7f (" + ORT + ") 9\n"))

    assert found == (("onnxruntime", 0.75), ("application: srv/a.py", 0.25))
    assert shares_of([]) == ()
