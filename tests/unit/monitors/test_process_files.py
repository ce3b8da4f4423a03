import os
import time
from pathlib import Path

import pytest

from fake_machine import machine_files, process_files
from file_tree import write
from infer_opt.monitors.files import PAGE_BYTES
from infer_opt.monitors.host import TICK_S
from infer_opt.monitors.process_files import MOST_THREADS, Details, Identity, ProcessFiles


def source(root: Path, *processes: dict[str, str]) -> ProcessFiles:
    files = {name: text for process in processes for name, text in process.items()}
    return ProcessFiles(write(root, machine_files(uptime_s=100, processes=files)))


@pytest.mark.parametrize("name", ["python3", "a) b", "(sd-pam)", "tmux: server", ") R 1 1 1"])
def test_names_may_hold_spaces_and_brackets(tmp_path: Path, name: str) -> None:
    found = source(tmp_path, process_files(70, parent=7, name=name, state="R", ticks=300, start=500)).process(70)

    assert found is not None
    assert (found.name, found.state, found.parent_pid) == (name, "running", 7)
    assert found.cpu_s == pytest.approx(300 * TICK_S)
    assert found.start_s == pytest.approx(500 * TICK_S)


def test_fields_are_in_seconds_bytes_and_counts(tmp_path: Path) -> None:
    files = process_files(70, reaped=50, pages=8, threads=3, faults=11, reaped_faults=4)
    found = source(tmp_path, files).process(70)

    assert found is not None
    assert (found.rss_bytes, found.threads, found.faults, found.reaped_faults) == (8 * PAGE_BYTES, 3, 11, 4)
    assert found.reaped_s == pytest.approx(50 * TICK_S)
    assert found.is_alive
    assert not found.is_kernel


def test_threads_of_the_kernel_are_known_by_their_flag(tmp_path: Path) -> None:
    found = source(tmp_path, process_files(2, flags=0x208040, command=None)).process(2)

    assert found is not None
    assert found.is_kernel


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    found = source(tmp_path, process_files(70, state="Z", command="")).process(70)

    assert found is not None
    assert (found.state, found.is_alive) == ("zombie", False)


@pytest.mark.parametrize("stat", ["", "70 (work", "70 (work) S 1 2 3\n", "70 (work) S " + "x " * 30])
def test_what_ended_or_is_garbage_is_none(tmp_path: Path, stat: str) -> None:
    write(tmp_path, {"proc/70/stat": stat})

    assert ProcessFiles(tmp_path).process(70) is None
    assert ProcessFiles(tmp_path).process(71) is None


def test_only_numbers_are_processes(tmp_path: Path) -> None:
    assert sorted(source(tmp_path, process_files(70), process_files(8)).pids()) == [8, 70]


def test_details_are_bytes_switches_by_thread_and_open_files(tmp_path: Path) -> None:
    reader = source(tmp_path, process_files(70, io=(4096, 512), switches={70: 5, 71: 9}))
    write(tmp_path, {f"proc/70/fd/{number}": "" for number in range(4)})
    process = reader.process(70)

    assert process is not None
    assert reader.details(process) == Details(read_bytes=4096, written_bytes=512, switches={70: 5, 71: 9}, open_files=4)


def test_details_that_may_not_be_read_are_none(tmp_path: Path) -> None:
    reader = source(tmp_path, process_files(70))
    process = reader.process(70)

    assert process is not None
    assert reader.details(process) == Details()


def test_switches_of_very_many_threads_are_not_counted(tmp_path: Path) -> None:
    reader = source(tmp_path, process_files(70, threads=MOST_THREADS + 1, switches={70: 5}))
    process = reader.process(70)

    assert process is not None
    assert reader.details(process).switches is None


def test_command_and_user_are_read_from_files(tmp_path: Path) -> None:
    reader = source(tmp_path, process_files(70, command="serve --port 80"), process_files(71, user=4242, command=None))

    assert reader.identity(70) == Identity(command="serve --port 80", user="ana")
    assert reader.identity(71) == Identity(command=None, user="4242")
    assert reader.identity(72) == Identity(command=None, user=None)


def test_this_process_is_seen_on_this_machine() -> None:
    reader = ProcessFiles()
    before = reader.process(os.getpid())
    sum(range(20_000))
    after = reader.process(os.getpid())

    assert before is not None
    assert after is not None
    assert before.cpu_s is not None
    assert after.cpu_s is not None
    # Better than a tick of 10 ms.
    assert 0 < after.cpu_s - before.cpu_s < 1
    assert after.cpu_s == pytest.approx(time.process_time(), abs=0.1)
    assert 0 < before.start_s <= reader.now_s()
    assert os.getpid() in reader.pids()
    details = reader.details(after)
    assert details.open_files is not None
    assert details.open_files >= 3
    assert details.switches is not None
    assert os.getpid() in details.switches
    assert reader.identity(os.getpid()).command is not None
