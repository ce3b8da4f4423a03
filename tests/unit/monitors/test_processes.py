import os
import subprocess
import sys
from pathlib import Path

import pytest

from fake_machine import SetClock, machine_files, process_files, replace
from infer_opt.monitors.files import PAGE_BYTES
from infer_opt.monitors.host import TICK_S
from infer_opt.monitors.process_files import Identity, Process, ProcessFiles
from infer_opt.monitors.processes import TURNS, ProcessMonitor, ProcessTable
from infer_opt.readings.samples import ProcessReading

TICKS = round(1 / TICK_S)  # in a second
LATE = 200 * TICKS  # a start after all reads so far


class World:
    """A /proc that is rewritten as a whole, second by second."""

    def __init__(self, root: Path, source: type[ProcessFiles] = ProcessFiles) -> None:
        self.root, self.clock = root, SetClock()
        self.uptime_s = 100.0
        self.source = source(root)
        self.table = ProcessTable(self.source, clock=self.clock, time_of_day=lambda: 10_000.0 + self.uptime_s)

    def read(
        self,
        *processes: dict[str, str],
        roots: tuple[int, ...] = (70,),
        everything: bool = False,
        passed_s: float = 1.0,
    ) -> dict[int, ProcessReading]:
        files = {name: text for process in processes for name, text in process.items()}
        self.clock.now_s += passed_s
        self.uptime_s += passed_s
        replace(self.root, machine_files(uptime_s=self.uptime_s, processes=files))
        return {reading.pid: reading for reading in self.table.read(roots, everything=everything)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


# Who is in the table


def test_a_root_and_all_that_descend_from_it_are_chosen(world: World) -> None:
    tree = (process_files(70), process_files(71, parent=70), process_files(5, parent=71))

    found = world.read(process_files(1), process_files(69), *tree, process_files(80, parent=69))

    assert list(found) == [5, 70, 71]
    assert all(reading.is_chosen for reading in found.values())
    assert world.table.chosen() == (5, 70, 71)


def test_everything_is_everybody_but_threads_of_the_kernel(world: World) -> None:
    kernel = (process_files(2, parent=0, flags=0x200000), process_files(9, parent=2, flags=0x200000))

    found = world.read(
        process_files(1, parent=0), *kernel, process_files(70), process_files(71, parent=70), everything=True
    )

    assert {pid: reading.is_chosen for pid, reading in found.items()} == {1: False, 70: True, 71: True}


def test_a_reading_says_what_the_process_is(world: World) -> None:
    found = world.read(process_files(70, name="my (odd) name", state="D", start=50 * TICKS, pages=3, threads=4))

    assert found[70] == ProcessReading(
        pid=70,
        name="my (odd) name",
        parent_pid=1,
        command="work --hard",
        user="ana",
        state="disk-sleep",
        started_s=10_050.0,
        rss_bytes=3 * PAGE_BYTES,
        threads=4,
        is_chosen=True,
    )


def test_a_child_whose_parent_ended_stays_chosen_and_so_do_its_own(world: World) -> None:
    world.read(process_files(70), process_files(71, parent=70), process_files(72, parent=71))

    found = world.read(process_files(70), process_files(72, parent=1), process_files(73, parent=72, start=LATE))

    assert list(found) == [70, 72, 73]


def test_a_number_that_is_used_again_is_another_process(world: World) -> None:
    world.read(process_files(70, start=500, ticks=900), process_files(71, parent=70, start=600))

    found = world.read(process_files(70, start=LATE, ticks=5), process_files(71, start=LATE))

    assert found == {}
    assert world.table.gone() == (70,)
    assert world.table.ended() == (70,)


def test_a_stranger_whose_number_is_used_again_by_a_child_is_found_soon(world: World) -> None:
    world.read(process_files(70), process_files(80))
    child = process_files(80, parent=70, start=LATE)

    reads = [80 in world.read(process_files(70), child) for _ in range(TURNS)]

    assert reads.count(True) >= 1
    assert reads[-1]


def test_new_roots_are_found_among_those_that_were_of_no_interest(world: World) -> None:
    everybody = (process_files(70), process_files(80), process_files(81, parent=80))
    world.read(*everybody)
    world.read(*everybody)

    assert list(world.read(*everybody, roots=(80,))) == [80, 81]
    assert list(world.read(*everybody, roots=(80,), everything=True)) == [70, 80, 81]


def test_parents_in_a_circle_are_no_endless_climb(world: World) -> None:
    found = world.read(process_files(70, parent=71), process_files(71, parent=70), process_files(72, parent=72))

    assert 70 in found


def test_a_process_that_ends_between_reads_is_left_out(world: World) -> None:
    vanished = process_files(71, parent=70)
    del vanished["proc/71/stat"]

    assert list(world.read(process_files(70), vanished)) == [70]


def test_garbage_is_nobody(world: World) -> None:
    assert list(world.read(process_files(70), {"proc/71/stat": "71 (x) S nobody"})) == [70]


def test_processes_that_cannot_be_listed_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="proc"):
        ProcessTable(ProcessFiles(tmp_path)).read([70], everything=False)


# What is gone


def test_a_root_may_be_gone_while_its_children_live(world: World) -> None:
    world.read(process_files(70), process_files(71, parent=70))
    world.read(process_files(71, parent=1))
    gone, ended = world.table.gone(), world.table.ended()
    world.read(process_files(1))

    assert (gone, ended) == ((70,), ())
    assert (world.table.gone(), world.table.ended()) == ((70,), (70,))


def test_a_root_that_only_waits_to_be_noticed_has_ended(world: World) -> None:
    world.read(process_files(70, state="Z", command=""))

    assert world.table.ended() == (70,)
    assert world.table.chosen() == ()


def test_a_root_that_was_never_there_is_not_whoever_gets_its_number(world: World) -> None:
    world.read(process_files(1))

    assert world.read(process_files(70, start=LATE)) == {}
    assert world.table.gone() == (70,)


# What they use


def test_the_first_read_has_no_rates(world: World) -> None:
    found = world.read(process_files(70, ticks=500, io=(9, 9)))

    assert (found[70].cpu_cores, found[70].read_bytes_per_second) == (None, None)
    sums = world.table.sums()
    assert (sums["process.count"], sums["process.threads"], sums["process.cpu_cores"]) == (1, 1, None)


def test_rates_are_over_the_time_that_passed(world: World) -> None:
    world.read(process_files(70, ticks=0, io=(0, 0), switches={70: 4}, faults=1))
    found = world.read(process_files(70, ticks=3 * TICKS, io=(4096, 512), switches={70: 10}, faults=5), passed_s=2.0)

    assert found[70].cpu_cores == pytest.approx(1.5)
    assert (found[70].read_bytes_per_second, found[70].written_bytes_per_second) == (2048, 256)
    sums = world.table.sums()
    assert sums["process.cpu_cores"] == pytest.approx(1.5)
    assert sums["process.read_bytes_per_second"] == 2048
    assert sums["process.involuntary_switches_per_second"] == 3
    assert sums["process.major_faults_per_second"] == 2


def test_transfers_of_strangers_are_not_asked(world: World) -> None:
    both = (process_files(70, io=(0, 0)), process_files(80, io=(0, 0)))
    world.read(*both, everything=True)
    found = world.read(*both, everything=True)

    assert (found[70].read_bytes_per_second, found[80].read_bytes_per_second) == (0, None)
    assert found[80].cpu_cores == 0


def test_a_process_that_was_chosen_later_has_no_sum_before_it_was_seen_twice(world: World) -> None:
    both = (process_files(70, ticks=5 * TICKS), process_files(80, ticks=900 * TICKS))
    world.read(*both)
    world.read(*both, roots=(80,))

    assert world.table.sums()["process.cpu_cores"] is None


def test_a_child_that_was_born_since_counts_in_full(world: World) -> None:
    world.read(process_files(70))
    child = process_files(71, parent=70, start=round(101.5 * TICKS), ticks=TICKS // 2, io=(300, 0), switches={71: 2})
    found = world.read(process_files(70, io=(0, 0)), child, passed_s=1.0)

    assert found[71].cpu_cores == pytest.approx(0.5)
    assert world.table.sums()["process.cpu_cores"] == pytest.approx(0.5)
    assert world.table.sums()["process.read_bytes_per_second"] == 300


def test_a_child_that_came_and_went_counts_through_its_parent(world: World) -> None:
    world.read(process_files(70, ticks=0, reaped=0))
    found = world.read(process_files(70, ticks=TICKS // 4, reaped=TICKS // 2))

    assert found[70].cpu_cores == pytest.approx(0.25)
    assert world.table.sums()["process.cpu_cores"] == pytest.approx(0.75)


def test_what_a_child_used_is_not_counted_again_when_its_parent_waited_for_it(world: World) -> None:
    world.read(process_files(70, io=(0, 0)), process_files(71, parent=70, ticks=50 * TICKS, io=(8000, 0), faults=90))
    # It used another 0.2 s and read another 100 bytes before it ended.
    world.read(process_files(70, reaped=50 * TICKS + TICKS // 5, io=(8100, 0), reaped_faults=93))

    sums = world.table.sums()
    assert sums["process.cpu_cores"] == pytest.approx(0.2)
    assert sums["process.read_bytes_per_second"] == 100
    assert sums["process.major_faults_per_second"] == 3


def test_a_whole_branch_that_ends_at_once_is_not_counted_again(world: World) -> None:
    branch = (process_files(71, parent=70, ticks=TICKS), process_files(72, parent=71, ticks=90 * TICKS))
    world.read(process_files(70), *branch)
    world.read(process_files(70, reaped=91 * TICKS))

    assert world.table.sums()["process.cpu_cores"] == pytest.approx(0.0)


def test_a_parent_that_does_not_wait_takes_nothing_away(world: World) -> None:
    world.read(process_files(70), process_files(71, parent=70, ticks=50 * TICKS))
    world.read(process_files(70, ticks=TICKS))

    assert world.table.sums()["process.cpu_cores"] == pytest.approx(1.0)


def test_a_zombies_transfers_are_not_counted_again_either(world: World) -> None:
    world.read(process_files(70, io=(0, 0)), process_files(71, parent=70, io=(8000, 0)))
    world.read(process_files(70, io=(0, 0)), process_files(71, parent=70, state="Z", command="", pages=0))
    sums = world.table.sums()
    world.read(process_files(70, io=(8000, 0)))

    assert (sums["process.count"], sums["process.read_bytes_per_second"]) == (1, 0)
    assert world.table.sums()["process.read_bytes_per_second"] == 0


def test_what_a_zombie_did_last_is_counted_once(world: World) -> None:
    world.read(process_files(70, io=(0, 0)), process_files(71, parent=70, io=(8000, 0)))
    world.read(process_files(70, io=(0, 0)), process_files(71, parent=70, state="Z", command="", io=(8300, 0)))
    sums = world.table.sums()
    world.read(process_files(70, io=(8300, 0)))

    assert sums["process.read_bytes_per_second"] == 300
    assert world.table.sums()["process.read_bytes_per_second"] == 0


def test_threads_that_end_take_no_switches_away_and_new_ones_count(world: World) -> None:
    world.read(process_files(70, switches={70: 100, 71: 500}))
    world.read(process_files(70, switches={70: 103, 72: 4}))

    assert world.table.sums()["process.involuntary_switches_per_second"] == 7


def test_with_several_roots_each_tree_has_an_instance_and_nobody_counts_twice(world: World) -> None:
    tree = (process_files(70, pages=1), process_files(71, parent=70, pages=2), process_files(72, parent=71, pages=4))
    world.read(*tree, process_files(80, pages=8), roots=(70, 71, 80))

    sums = world.table.sums()
    assert {key: value for key, value in sums.items() if key.endswith(".count")} == {
        "process.count": 4, "process[70].count": 3, "process[71].count": 2, "process[80].count": 1,
    }  # fmt: skip
    assert sums["process.rss_bytes"] == 15 * PAGE_BYTES
    assert sums["process[71].rss_bytes"] == 6 * PAGE_BYTES


def test_once_nobody_is_left_the_count_is_zero_and_all_else_none(world: World) -> None:
    world.read(process_files(70))
    world.read(process_files(1))

    sums = world.table.sums()
    assert sums.pop("process.count") == 0
    assert set(sums.values()) == {None}


def test_without_roots_there_are_no_sums(world: World) -> None:
    world.read(process_files(70), roots=(), everything=True)

    assert set(world.table.sums().values()) == {None}


# What is read once


class Counting(ProcessFiles):
    """Counts how often identities are read."""

    asked = 0

    def identity(self, pid: int) -> Identity:
        self.asked += 1
        return super().identity(pid)


def test_an_identity_is_read_once_and_again_for_a_new_name(tmp_path: Path) -> None:
    world = World(tmp_path, Counting)
    assert isinstance(world.source, Counting)
    for _ in range(3):
        world.read(process_files(70))
    once = world.source.asked
    found = world.read(process_files(70, name="renamed", command="renamed --now"))

    assert (once, world.source.asked) == (1, 2)
    assert found[70].command == "renamed --now"


def test_a_program_that_was_just_started_is_looked_at_again(world: World) -> None:
    born = round(101 * TICKS)
    fork = world.read(process_files(70, start=born, command="python parent"))
    started = world.read(process_files(70, start=born, command="python child"))
    ending = world.read(process_files(70, start=born, state="Z", command=""))

    assert (fork[70].command, started[70].command) == ("python parent", "python child")
    assert ending[70].command == "python child"
    assert fork[70].started_s == started[70].started_s == 10_101.0


# On this machine


def test_real_children_are_seen_and_missed() -> None:
    table = ProcessTable()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with_child = {reading.pid: reading for reading in table.read([os.getpid()], everything=False)}
    finally:
        child.communicate(b"\n")
    table.read([os.getpid()], everything=False)

    assert with_child[child.pid].parent_pid == os.getpid()
    assert with_child[child.pid].is_chosen
    assert with_child[os.getpid()].user is not None
    assert child.pid not in table.chosen()


def test_the_monitor_reads_the_tree_of_the_given_processes() -> None:
    monitor = ProcessMonitor()
    first = monitor.read([os.getpid()])
    second = monitor.read([os.getpid()])

    assert first["process.cpu_cores"] is None
    cores, rss = second["process.cpu_cores"], second["process.rss_bytes"]
    assert cores is not None
    assert rss is not None
    assert 0 <= cores < 64
    assert rss > 5_000_000
    monitor.close()


def test_a_process_is_alive_until_it_is_a_zombie() -> None:
    def process(state: str) -> Process:
        return Process(
            pid=1, parent_pid=0, name="x", state=state, start_s=0.0, cpu_s=0.0, rss_bytes=0, threads=1
        )  # fmt: skip

    assert process("sleeping").is_alive
    assert not process("dead").is_alive
