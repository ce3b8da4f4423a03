import dataclasses

from infer_opt.readings.samples import ProcessReading
from infer_opt.store.chunks import Chunk, decode, encode
from infer_opt.store.folding import fold
from infer_opt.store.process_series import append, keep_foremost, processes_in
from made_recordings import process, sample


def chunk_of(*rows: tuple[ProcessReading, ...]) -> Chunk:
    chunk = Chunk()
    for number, processes in enumerate(rows):
        chunk.append(sample(number, {"cpu.busy": 0.5}))
        append(chunk, processes)
    return chunk


def pids(processes: tuple[ProcessReading, ...]) -> list[int]:
    return [one.pid for one in processes]


def test_processes_come_back_equal_the_busiest_first() -> None:
    bare = ProcessReading(pid=9, name="bare")
    first = (process(3, cpu=2.0, chosen=True), process(4, cpu=0.1), bare)
    second = (
        dataclasses.replace(process(4, cpu=1.5, rss=5_000_001), state="sleeping"),
        process(3, cpu=1.0, chosen=True),
    )

    back = decode(encode(chunk_of(first, (), second)))

    assert [processes_in(back, row) for row in range(3)] == [first, (), second]


def test_a_number_that_is_given_to_another_process_is_another_process() -> None:
    old = process(7)
    new = dataclasses.replace(old, name="new", started_s=1_790_000_500.0)

    back = chunk_of((old,), (new,))

    assert [processes_in(back, row) for row in range(2)] == [(old,), (new,)]


def test_of_many_processes_the_chosen_the_busiest_and_the_largest_stay() -> None:
    crowd = [process(pid, cpu=0.0, rss=1000) for pid in range(100, 130)]
    named = [process(1, cpu=0.0, rss=10, chosen=True), process(2, cpu=9.0, rss=10), process(3, cpu=0.0, rss=9_000_000)]

    kept = keep_foremost(chunk_of((*crowd, *named)), most=6)

    assert len(kept.processes) == 6
    assert {1, 2, 3} <= set(pids(processes_in(kept, 0)))
    assert "cpu.busy" in kept.series


def test_few_processes_all_stay() -> None:
    chunk = chunk_of((process(1), process(2)))

    assert keep_foremost(chunk, most=2) is chunk


def test_a_row_of_several_samples_has_the_mean_of_a_process_and_no_state() -> None:
    rows = [(process(5, cpu=float(number), rss=1000 * number + 1),) for number in range(4)]

    (found,) = processes_in(fold([chunk_of(*rows)], 60.0), 0)

    assert (found.cpu_cores, found.rss_bytes, found.threads, found.state) == (1.5, 1501, 4, None)
    assert (found.name, found.command, found.user) == ("worker-5", "python worker.py 5", "me")


def test_a_long_command_is_cut() -> None:
    long = dataclasses.replace(process(5), command="x" * 100_000)

    (found,) = processes_in(chunk_of((long,)), 0)

    assert found.command is not None
    assert len(found.command) == 500
