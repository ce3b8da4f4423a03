import math
import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from fakes import MS, World, make_rig
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.racing import PATIENCE, Course, Race, race
from infer_opt.results import Block
from infer_opt.rig import BASELINE, CLONE
from infer_opt.stats.race import HEAT_ROUNDS
from infer_opt.workers.messages import Measure, Warm
from infer_opt.workers.process import WorkerError
from infer_opt.workers.rounds import Round, Watch, never_disturbed

STOCK = TrialConfig()
FAST, SLOW, OTHER = (TrialConfig(options=SessionOptions(intra_threads=count)) for count in (1, 2, 3))
HEATS = 4  # of three challengers and stock, for one finalist: two until the slower half goes, two more for the rest
CHALLENGERS = {"fast": FAST, "slow": SLOW, "other": OTHER}


def raced(
    world: World, *, watch: Watch = never_disturbed, goes_on: Callable[[float], bool] = lambda cost_s: True
) -> Race:
    rig = make_rig(world, watch=watch)
    return race(rig, CHALLENGERS, STOCK, generator=random.Random(world.seed), goes_on=goes_on)


def after(rounds: int) -> Callable[[float], bool]:
    """A budget for so many rounds."""
    left = [rounds]

    def goes_on(cost_s: float) -> bool:
        left[0] -= 1
        return left[0] >= 0

    return goes_on


def dies_in_round(number: int) -> Callable[[object, int], object]:
    return lambda command, times: WorkerError("crashed with SIGSEGV") if times == number else ...


def blocks_of(world: World, name: str) -> int:
    return sum(spoken.startswith(f"{name}#") for spoken in world.spoken_to())


def test_the_fastest_is_left_when_it_is_clearly_the_fastest() -> None:
    found = raced(World(latency_ns={FAST: 0.8 * MS, SLOW: 1.4 * MS, OTHER: 0.9 * MS}, noise=0.03))

    assert found.survivors == ("fast",)
    assert not found.is_equivalence_set
    assert (found.heats, found.rounds) == (HEATS, HEATS * HEAT_ROUNDS)
    assert found.log_ratios["fast"] == pytest.approx(-0.223, abs=0.03)


def test_stock_is_left_when_nothing_is_faster() -> None:
    found = raced(World(latency_ns={FAST: 1.2 * MS, SLOW: 1.4 * MS, OTHER: 1.3 * MS}, noise=0.03))

    assert found.survivors[0] == BASELINE


def test_losers_leave_at_once_and_are_measured_no_more() -> None:
    world = World(latency_ns={FAST: 0.5 * MS, SLOW: 2.0 * MS, OTHER: 0.51 * MS}, noise=0.03)

    found = raced(world)

    assert blocks_of(world, "slow") < blocks_of(world, "fast") == found.rounds
    assert "slow" in found.log_ratios  # why it left can be told


def test_stock_and_its_clone_are_in_every_round_even_when_stock_has_lost() -> None:
    world = World(latency_ns={FAST: 0.5 * MS, SLOW: 2.0 * MS, OTHER: 0.505 * MS}, noise=0.03)

    found = raced(world)

    assert BASELINE not in found.survivors
    assert blocks_of(world, BASELINE) == blocks_of(world, CLONE) == found.rounds


def test_equals_are_one_set_and_stock_is_named_among_them() -> None:
    found = raced(World(noise=0.002))

    assert found.is_equivalence_set
    assert set(found.survivors) == {BASELINE, "fast", "slow", "other"}
    assert HEAT_ROUNDS < found.rounds < HEATS * HEAT_ROUNDS  # equal in one process is not enough


def test_the_clone_is_a_control_and_never_a_winner() -> None:
    for seed in range(5):
        assert CLONE not in raced(World(seed=seed, noise=0.02), goes_on=after(20)).survivors


def test_survivors_are_named_the_fastest_first() -> None:
    found = raced(World(latency_ns={FAST: 0.90 * MS, SLOW: 0.98 * MS, OTHER: 0.94 * MS}), goes_on=after(5))

    assert found.survivors == ("fast", "other", "slow", BASELINE)


def test_a_race_that_nothing_can_decide_ends_all_the_same() -> None:
    found = raced(World(noise=0.2))

    assert (found.heats, found.rounds) == (HEATS, HEATS * HEAT_ROUNDS)
    assert found.survivors


def test_everyone_who_is_left_is_started_anew_for_each_heat() -> None:
    world = World(latency_ns={FAST: 0.9 * MS, SLOW: 2.0 * MS, OTHER: 0.9 * MS}, noise=0.01, process_effect=0.005)

    found = raced(world)

    spawned = [worker.name.partition("#")[0] for worker in world.workers]
    assert found.heats > 1
    assert spawned.count("fast") == spawned.count(BASELINE) == spawned.count(CLONE) == found.heats
    assert spawned.count("slow") == 1  # it left in the first


def test_what_one_lucky_process_can_explain_eliminates_nobody_in_the_first_heat() -> None:
    def survivors(behind: float) -> tuple[str, ...]:
        truth = {FAST: 0.9 * MS, OTHER: 0.9 * behind * MS, SLOW: 3.0 * MS}
        return raced(World(latency_ns=truth, noise=0.002), goes_on=after(HEAT_ROUNDS)).survivors

    assert survivors(1.5) == ("fast", BASELINE, "other")
    assert survivors(1.8) == ("fast", BASELINE)


def test_the_slower_half_goes_after_every_second_heat() -> None:
    world = World(latency_ns={FAST: 0.8 * MS, OTHER: 0.82 * MS, SLOW: 1.1 * MS}, noise=0.002)

    found = raced(world)

    assert found.survivors == ("fast",)
    assert blocks_of(world, "slow") == 2 * HEAT_ROUNDS
    assert blocks_of(world, "other") == blocks_of(world, "fast") == 4 * HEAT_ROUNDS


def test_two_finalists_run_two_more_heats_for_their_order() -> None:
    world = World(latency_ns={FAST: 0.8 * MS, OTHER: 0.82 * MS, SLOW: 1.1 * MS}, noise=0.002)

    found = race(
        make_rig(world), CHALLENGERS, STOCK, generator=random.Random(0), goes_on=lambda cost_s: True, finalists=2
    )

    assert found.survivors == ("fast", "other")
    assert found.heats == 4


def test_a_process_that_was_lucky_once_does_not_win() -> None:
    # One of two cores is 1.6 times faster: a process of one thread keeps the one that it was started on.
    def on_either_core(command: object, times: int) -> object:
        return Block(latency_ns=(round((0.6 if generator.random() < 0.5 else 0.96) * MS),) * 3)

    wins = 0
    for seed in range(20):
        generator = random.Random(seed)
        world = World(seed=seed, latency_ns={FAST: 0.7 * MS}, noise=0.01, scripts={OTHER: {Measure: on_either_core}})
        wins += raced(world).survivors[0] == "fast"

    assert wins >= 18


def test_a_race_knows_how_much_rounds_of_equals_stray_here() -> None:
    noisy = raced(World(noise=0.05, process_effect=0.05))

    assert noisy.round_noise == pytest.approx(0.05 * 2**0.5, rel=0.25)  # two blocks a round; processes do not count
    assert raced(World(noise=0.05), goes_on=after(7)).round_noise is None


# Slow phases of the machine

QUIET = math.log(MS)


def course(finalists: int = 1) -> Course:
    keys = (BASELINE, *CHALLENGERS)
    return Course(keys=keys, finalists=finalists, racing=set(keys), quiet=QUIET)


def run_heat(on: Course, values: Mapping[str, float], *, slow: float = 0.0) -> None:
    """One heat of equal rounds; `values` are ln(time / stock's time on the quiet machine)."""
    on.begin_heat()
    stock = {BASELINE: slow, CLONE: slow}
    for number in range(HEAT_ROUNDS):
        seen = {key: QUIET + value + 0.001 * (number % 3) for key, value in {**stock, **values}.items()}
        on.add(Round(number=number, order=tuple(seen), blocks={}, values=seen, discarded=None, lost={}, cost_s=0.0))
    on.end_heat()


def test_a_heat_on_a_slow_machine_is_set_aside_and_run_again() -> None:
    race_sheet = course()
    one_core = {"fast": -0.3, "other": -0.1, "slow": 0.1}  # what slows stock does not slow them
    run_heat(race_sheet, {"fast": -0.3, "other": -0.4, "slow": 0.1}, slow=0.47)
    for _ in range(HEATS):
        run_heat(race_sheet, {key: one_core[key] for key in race_sheet.contenders})

    found = race_sheet.result(CHALLENGERS)

    assert found.survivors == ("fast",)
    assert found.log_ratios["fast"] == pytest.approx(-0.3, abs=0.002)
    assert (found.slow_heats, found.rounds) == (1, HEAT_ROUNDS * found.heats)


def test_nobody_leaves_in_a_slow_heat() -> None:
    race_sheet = course()

    run_heat(race_sheet, {"fast": -0.3, "other": 5.0, "slow": 5.0}, slow=0.47)

    assert set(race_sheet.contenders) == set(CHALLENGERS)


def test_a_race_on_a_machine_that_stays_slow_ends_with_what_it_saw() -> None:
    race_sheet = course()
    heats = 0
    while not race_sheet.is_over:
        run_heat(race_sheet, dict.fromkeys(CHALLENGERS, 0.2) | {"fast": 0.1}, slow=0.47)
        heats += 1

    found = race_sheet.result(CHALLENGERS)

    assert heats == PATIENCE + HEATS
    assert found.survivors[0] == "fast"
    assert found.log_ratios["fast"] == pytest.approx(0.1 - 0.47, abs=0.002)
    assert (found.heats, found.slow_heats) == (heats, heats)


def test_quiet_heats_decide_even_when_patience_is_over() -> None:
    race_sheet = course()
    run_heat(race_sheet, {"fast": -0.3, "other": -0.1, "slow": 0.1})
    for _ in range(PATIENCE + 1):
        run_heat(race_sheet, {"fast": 0.3, "other": -0.1, "slow": 0.1}, slow=0.47)

    assert race_sheet.result(CHALLENGERS).survivors[0] == "fast"


def test_the_budget_ends_a_race_between_two_rounds() -> None:
    asked: list[float] = []
    go = after(7)

    def goes_on(cost_s: float) -> bool:
        asked.append(cost_s)
        return go(cost_s)

    world = World(noise=0.2)

    assert raced(world, goes_on=goes_on).rounds == 7
    assert asked[0] == 0.0  # nobody knows yet
    assert all(cost_s > 0 for cost_s in asked[1:])


def test_a_race_without_a_single_round_decides_nothing() -> None:
    found = raced(World(), goes_on=lambda cost_s: False)

    assert (found.rounds, dict(found.log_ratios)) == (0, {})
    assert set(found.survivors) == {BASELINE, *CHALLENGERS}


# Deaths


@pytest.mark.parametrize("number", [1, 4])
def test_a_contender_that_dies_leaves_the_race_and_the_rest_goes_on(number: int) -> None:
    world = World(
        latency_ns={FAST: 0.5 * MS, OTHER: 0.8 * MS},
        noise=0.02,
        scripts={FAST: {Measure: dies_in_round(number)}},
    )

    found = raced(world)

    assert found.survivors[0] == "other"
    assert dict(found.lost) == {"fast": "crashed with SIGSEGV"}
    assert blocks_of(world, "fast") == number


def test_a_contender_whose_session_fails_leaves_the_race_too() -> None:
    failure = ModelError("ONNX Runtime failed to run the model: out of device memory")
    world = World(latency_ns={OTHER: 0.8 * MS}, noise=0.02, scripts={FAST: {Measure: failure}})

    assert dict(raced(world).lost) == {"fast": failure.what}


def test_a_contender_that_does_not_come_up_does_not_race() -> None:
    world = World(latency_ns={OTHER: 0.8 * MS}, noise=0.02, scripts={FAST: {Warm: WorkerError("killed")}})

    found = raced(world)

    assert dict(found.lost) == {"fast": "killed"}
    assert "fast" not in found.configs
    assert found.survivors[0] == "other"


def test_stock_is_left_when_every_contender_dies() -> None:
    dead: dict[type, object] = {Measure: WorkerError("killed")}

    found = raced(World(noise=0.02, scripts={FAST: dead, SLOW: dead, OTHER: dead}))

    assert found.survivors == (BASELINE,)
    assert set(found.lost) == set(CHALLENGERS)


def test_the_death_of_stock_is_an_error() -> None:
    with pytest.raises(ModelError, match="the stock session died in the race: killed"):
        raced(World(noise=0.02, scripts={STOCK: {Measure: WorkerError("killed")}}))


@pytest.mark.parametrize("scripts", [{}, {STOCK: {Measure: WorkerError("killed")}}])
def test_no_worker_outlives_the_race(scripts: dict[TrialConfig, dict[type, object]]) -> None:
    world = World(noise=0.1, scripts=scripts)

    try:
        raced(world, goes_on=after(3))
    except ModelError:
        assert scripts

    assert len(world.workers) == 5
    assert all(worker.is_closed for worker in world.workers)


# Disturbance


def watch_for(disturbed: Callable[[int], bool]) -> Watch:
    number = -1

    def watch(pids: Sequence[int]) -> Callable[[], str | None]:
        nonlocal number
        number += 1
        reason = "steal" if disturbed(number) else None
        return lambda: reason

    return watch


def test_disturbed_rounds_count_neither_for_nor_against_anyone() -> None:
    # Were they counted, the fast one would lose every second round.
    def in_turn(command: object, times: int) -> object:
        world.latency_ns = {FAST: (5.0 if times % 2 == 0 else 0.5) * MS}
        return ...

    world = World(noise=0.01, scripts={FAST: {Measure: in_turn}})

    found = raced(world, watch=watch_for(lambda number: number % 2 == 1), goes_on=after(15))

    assert found.survivors[0] == "fast"
    assert found.discarded == found.rounds - 1
    assert found.log_ratios["fast"] == pytest.approx(-0.69, abs=0.05)


def test_a_race_on_a_machine_that_is_disturbed_throughout_ends_with_its_first_heat() -> None:
    found = raced(World(), watch=watch_for(lambda number: True))

    assert (found.rounds, found.discarded, found.heats) == (0, 1.5 * HEAT_ROUNDS, 1)
    assert set(found.survivors) == {BASELINE, *CHALLENGERS}


def test_discards_are_the_same_whatever_the_latencies() -> None:
    found = [
        raced(World(seed=seed, noise=0.3), watch=watch_for(lambda number: number % 7 == 3), goes_on=after(14))
        for seed in range(4)
    ]

    assert {one.discarded for one in found} == {2}
