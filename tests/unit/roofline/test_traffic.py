"""Which sets lie in which level, and that threads move what they say."""

import threading

import numpy as np
import pytest

from infer_opt.facts import CacheLevel
from infer_opt.roofline.blocks import Run
from infer_opt.roofline.traffic import PAGE, Level, Sets, candidates, levels, rows, together

KIB, MIB = 1 << 10, 1 << 20
FIRST = CacheLevel(level=1, capacity_bytes=48 * KIB, shared_by=1, count=2)
SECOND = CacheLevel(level=2, capacity_bytes=2 * MIB, shared_by=1, count=2)
THIRD = CacheLevel(level=3, capacity_bytes=32 * MIB, shared_by=2, count=1)
SMALL = Level(name="L2", capacity_bytes=None, set_bytes=512 * KIB)


def test_each_level_is_beyond_the_one_before_and_within_itself() -> None:
    found = levels((FIRST, SECOND, THIRD), threads=2, available_bytes=16 << 30)

    assert [one.name for one in found] == ["L2", "L3", "memory"]
    second, third, memory = found
    assert 2 * 48 * KIB < second.set_bytes <= 2 * MIB  # of both caches' 4 MiB
    assert 4 * MIB < third.set_bytes <= 16 * MIB
    assert memory.set_bytes >= 4 * 32 * MIB
    assert [one.capacity_bytes for one in found] == [4 * MIB, 32 * MIB, None]


def test_one_thread_has_one_cache_of_its_own() -> None:
    assert levels((SECOND,), threads=1, available_bytes=None)[0].capacity_bytes == 2 * MIB


def test_hardware_threads_of_a_core_share_its_cache() -> None:
    shared = CacheLevel(level=2, capacity_bytes=1 * MIB, shared_by=2, count=8)

    assert levels((shared,), threads=4, available_bytes=None)[0].capacity_bytes == 2 * MIB


def test_without_caches_there_is_memory_alone() -> None:
    assert levels((), threads=2, available_bytes=16 << 30) == (
        Level(name="memory", capacity_bytes=None, set_bytes=256 * MIB),
    )


@pytest.mark.parametrize(("available", "most"), [(400 * MIB, 100 * MIB), (None, 512 * MIB), (1 << 40, 512 * MIB)])
def test_a_quarter_of_what_is_available_is_taken_at_the_most(available: int | None, most: int) -> None:
    huge = CacheLevel(level=3, capacity_bytes=1 << 30, shared_by=2, count=1)

    assert levels((huge,), threads=2, available_bytes=available)[-1].set_bytes <= most


def test_rows_of_a_view_are_all_the_same_memory_and_begin_with_a_line() -> None:
    memory = Sets(PAGE, is_lasting=False).of(0)
    first, second = rows(memory, 1000, np.float64, np.bool_)
    first[0, 3] = 5.0

    assert first.shape == second.shape == (1000, (4096 - 128) // 9)
    assert first[999, 3] == 5.0
    assert first[999, 2] == first[0, 4]
    assert [view.ctypes.data % 64 for view in (first, second)] == [0, 0]
    assert second.all()


def test_memory_of_a_cache_is_taken_anew_and_a_large_set_lasts() -> None:
    passing, lasting = Sets(PAGE, is_lasting=False), Sets(PAGE, is_lasting=True)
    first, same = passing.of(0), lasting.of(0)
    same[0] = 9

    assert passing.of(0) is not first
    assert lasting.of(0) is same
    assert lasting.of(1) is not same
    assert same[0] == 1  # filled anew: what one way left behind must not slow the next one down


def test_every_thread_does_its_part_once_a_run() -> None:
    made: list[tuple[int, int]] = []
    done: list[tuple[int, int]] = []

    def make(number: int) -> Run:
        made.append((threading.get_ident(), number))
        return lambda: done.append((threading.get_ident(), number))

    with together(make, 3) as run:
        run()
        run()

    assert sorted(number for _, number in made) == [0, 1, 2]
    assert len({thread for thread, _ in made}) == 3
    assert sorted(done[:3]) == sorted(done[3:]) == sorted(made)


@pytest.mark.parametrize("name", [candidate.name for candidate in candidates(SMALL, threads=2)])
def test_every_way_moves_about_what_it_says(name: str) -> None:
    (candidate,) = (one for one in candidates(SMALL, threads=2) if one.name == name)

    with candidate.start() as run:
        run()

    assert candidate.amount == pytest.approx(2 * 256 * MIB, rel=0.01)
