import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fakes import MS, World
from infer_opt.config import Objective, SessionOptions, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.results import Block
from infer_opt.workers.messages import Measure
from infer_opt.workers.process import WorkerError, WorkerTimeoutError
from infer_opt.workers.rounds import Entrant, Round, Watch, item_value, measure_round, never_disturbed

CONFIGS = {name: TrialConfig(options=SessionOptions(intra_threads=index)) for index, name in enumerate("abcd")}


def live(world: World) -> dict[str, Entrant]:
    entrants = {name: world.entrant(config, name) for name, config in CONFIGS.items()}
    for entrant in entrants.values():
        entrant.worker.freeze()
    world.diary.clear()
    return entrants


def rounds_of(
    world: World, entrants: dict[str, Entrant], count: int, *, seed: int = 0, watch: Watch = never_disturbed
) -> list[Round]:
    generator = random.Random(seed)
    return [
        measure_round(entrants, number=number, objective=Objective.LATENCY, generator=generator, watch=watch)
        for number in range(count)
    ]


def test_idle_workers_are_stopped_before_another_one_is_asked() -> None:
    world = World()
    entrants = live(world)

    rounds_of(world, entrants, 3)

    running: set[str] = set()
    for what, name in world.diary:
        if what == "Measure":
            assert not running, f"{running} ran while {name} was measured"
            running.add(name)
        elif what == "freeze":
            running.discard(name)
    assert not running


def test_every_round_visits_everyone_once() -> None:
    world = World()

    for found in rounds_of(world, live(world), 5):
        assert sorted(found.order) == sorted(found.blocks) == sorted(found.values) == list("abcd")


def test_the_order_of_a_round_is_fresh_and_fair() -> None:
    world = World()
    orders = [found.order for found in rounds_of(world, live(world), 200)]

    firsts = [sum(order[0] == name for order in orders) for name in "abcd"]
    assert min(firsts) > 30  # 50 expected
    assert len(set(orders)) == 24


def test_the_order_is_given_by_the_seed() -> None:
    def orders(seed: int) -> list[tuple[str, ...]]:
        world = World()
        return [found.order for found in rounds_of(world, live(world), 10, seed=seed)]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


def test_everyone_is_timed_on_the_same_inputs_in_a_round_and_on_others_in_the_next() -> None:
    world = World()
    entrants = live(world)

    rounds_of(world, entrants, 3)

    starts = [[command.start for command in worker.asked if isinstance(command, Measure)] for worker in world.workers]
    assert starts == [[0, 1, 2]] * 4


def test_workers_are_told_that_they_were_stopped() -> None:
    world = World()
    rounds_of(world, live(world), 1)

    assert all(
        command.after_stop for worker in world.workers for command in worker.asked if isinstance(command, Measure)
    )


@pytest.mark.parametrize(
    "error", [WorkerTimeoutError("hung"), WorkerError("crashed with SIGSEGV"), ModelError("out of device memory")]
)
def test_one_that_fails_in_a_round_is_lost_and_the_others_are_measured(error: Exception) -> None:
    world = World(scripts={CONFIGS["b"]: {Measure: error}})

    (found,) = rounds_of(world, live(world), 1)

    assert dict(found.lost) == {"b": error}
    assert set(found.blocks) == set(found.values) == {"a", "c", "d"}
    assert all(worker.is_frozen for worker in world.workers)


def test_a_round_keeps_the_raw_run_times() -> None:
    world = World(latency_ns={CONFIGS["c"]: 7.0 * MS}, runs=4)

    (found,) = rounds_of(world, live(world), 1)

    assert found.blocks["c"] == Block(latency_ns=(7 * MS,) * 4)
    assert found.values["c"] == pytest.approx(math.log(7 * MS))


# Discards


def watch_for(disturbed: Callable[[int], bool]) -> Watch:
    """Says that the rounds with these numbers were disturbed."""
    number = -1

    def watch(pids: Sequence[int]) -> Callable[[], str | None]:
        nonlocal number
        number += 1
        mine = number
        return lambda: "steal" if disturbed(mine) else None

    return watch


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_discards_are_decided_without_latencies(spread: float) -> None:
    # Whatever the times, the same rounds are discarded: the watch is handed process ids and nothing else.
    world = World(noise=spread, seed=3)

    found = rounds_of(world, live(world), 20, watch=watch_for(lambda number: number % 4 == 1))

    assert [one.number for one in found if one.discarded] == [1, 5, 9, 13, 17]
    assert all(len(one.blocks) == 4 for one in found)  # measured all the same, and kept


def test_the_watch_begins_before_the_first_block_and_ends_after_the_last() -> None:
    world = World()
    entrants = live(world)
    seen: list[Any] = []

    def watch(pids: Sequence[int]) -> Callable[[], str | None]:
        seen.append((list(pids), len(world.spoken_to())))

        def over() -> str | None:
            seen.append(len(world.spoken_to()))
            return None

        return over

    rounds_of(world, entrants, 1, watch=watch)

    assert seen == [([entrant.worker.pid for entrant in entrants.values()], 0), 4]


# Values


def test_latency_is_judged_by_the_median_and_throughput_by_the_mean_of_an_item() -> None:
    block = Block(latency_ns=(10, 10, 100))

    assert item_value(block, 1, Objective.LATENCY) == pytest.approx(math.log(10))
    assert item_value(block, 1, Objective.THROUGHPUT) == pytest.approx(math.log(40))
    assert item_value(block, 8, Objective.THROUGHPUT) == pytest.approx(math.log(5))


@pytest.mark.parametrize("objective", Objective)
def test_several_sessions_are_judged_by_what_all_of_them_did_in_the_time(objective: Objective) -> None:
    block = Block(latency_ns=(8 * MS, 8 * MS, 9 * MS), spacing_ns=4 * MS)

    assert item_value(block, 2, objective) == pytest.approx(math.log(2 * MS))


def test_a_batch_is_compared_by_item() -> None:
    batched = TrialConfig(batch=4)
    world = World(latency_ns={batched: 8.0 * MS})
    entrants = {"one": world.entrant(TrialConfig(), "one"), "four": world.entrant(batched, "four")}

    (found,) = rounds_of(world, entrants, 1)

    assert found.values["four"] - found.values["one"] == pytest.approx(math.log(2))  # 2 ms an item against 1 ms


def test_a_block_of_several_shapes_is_worth_its_expected_time_an_item() -> None:
    block = Block(latency_ns=(10, 100, 20, 60, 100, 100), shapes=(0, 1, 0, 0, 1, 1))

    assert item_value(block, 2, Objective.LATENCY, (0.75, 0.25)) == pytest.approx(math.log(40 / 2))
