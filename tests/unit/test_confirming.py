import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from fakes import MS, World, make_rig
from infer_opt.concluding import finalists_of
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.confirming import Confirmation, Epoch, confirm, is_too_noisy, plan_rounds, run_epoch
from infer_opt.errors import ModelError
from infer_opt.racing import race
from infer_opt.results import Block, Verdict
from infer_opt.rig import BASELINE, CLONE
from infer_opt.workers.messages import Measure, Open, Warm
from infer_opt.workers.process import WorkerError
from infer_opt.workers.rounds import Watch, never_disturbed

STOCK = TrialConfig()
FAST, RIVAL = (TrialConfig(options=SessionOptions(intra_threads=count)) for count in (1, 2))
ALONE = {"fast": FAST}
BOTH = {"fast": FAST, "rival": RIVAL}
ROUNDS = 8


def fits_always(cost_s: float) -> bool:
    return True


def epochs_that_fit(count: int) -> Callable[[float], bool]:
    left = [count]

    def fits(cost_s: float) -> bool:
        left[0] -= 1
        return left[0] >= 0

    return fits


def confirmed(
    world: World, contenders: Mapping[str, TrialConfig] = ALONE, *, watch: Watch = never_disturbed, **settings: Any
) -> Confirmation:
    usual: dict[str, Any] = {"rounds": ROUNDS, "fits": fits_always, "most": 13}
    return confirm(
        make_rig(world, watch=watch),
        contenders,
        STOCK,
        generator=random.Random(world.seed),
        **(usual | settings),
    )


def world_of(ratio: float, *, seed: int = 0, **settings: Any) -> World:
    """FAST takes `ratio` of stock's time; 1 % from process to process, 3 % from block to block."""
    usual = {"process_effect": 0.01, "noise": 0.03}
    return World(seed=seed, latency_ns={FAST: ratio * MS}, **(usual | settings))


def processes_of(world: World, name: str) -> int:
    return sum(worker.name.startswith(f"{name}#") for worker in world.workers)


def epoch(value: float, *, clone: float = 0.0, key: str = "fast", **more: float) -> Epoch:
    """An epoch as an earlier call left it in the store."""
    block = (Block(latency_ns=(MS,)),)
    return Epoch(
        values={key: value, CLONE: clone} | more,
        blocks={key: block, BASELINE: block} | dict.fromkeys(more, block),
        rounds=ROUNDS,
        discarded=0,
        setup_s=0.1,
        cost_s=0.5,
    )


def spread(centre: float, count: int, width: float = 0.004) -> list[Epoch]:
    """So many epochs about `centre`, with a clone about 0."""
    return [
        epoch(centre + width * math.sin(index * 2.0), clone=width * math.cos(index * 2.0)) for index in range(count)
    ]


# What is claimed


@pytest.mark.parametrize("seed", range(5))
def test_a_true_gain_of_ten_per_cent_is_found(seed: int) -> None:
    found = confirmed(world_of(0.9, seed=seed)).comparisons["fast"]

    assert found.verdict is Verdict.FASTER
    assert found.speedup.low > 1.01
    assert found.speedup.value == pytest.approx(1 / 0.9, rel=0.05)
    assert found.speedup.low < 1 / 0.9 < found.speedup.high


def tunings_of_identical_configurations(count: int, **settings: Any) -> list[Confirmation]:
    """Race four configurations that are all stock's equals, then confirm the best two, each time in another world."""
    challengers = {f"c{count}": TrialConfig(options=SessionOptions(intra_threads=count)) for count in range(1, 5)}
    found = []
    for seed in range(count):
        usual = {"process_effect": 0.01, "noise": 0.03}
        world = World(seed=seed, **(usual | settings))
        rig, generator = make_rig(world), random.Random(seed)
        raced = race(rig, challengers, STOCK, generator=generator, goes_on=epochs_that_fit(12))
        finalists = {key: raced.configs[key] for key in finalists_of(raced, most=2)}
        found.append(confirm(rig, finalists, STOCK, generator=generator, rounds=ROUNDS, fits=fits_always, most=9))
    return found


def claims(found: Sequence[Confirmation]) -> int:
    return sum(any(one.verdict is Verdict.FASTER for one in each.comparisons.values()) for each in found)


def test_whole_tunings_over_identical_configurations_claim_a_speedup_in_one_of_a_hundred_at_most() -> None:
    found = tunings_of_identical_configurations(300)

    assert claims(found) <= 3
    # They had every chance to: most races named somebody, and many a first process seemed to prove them right.
    assert sum(bool(each.epochs) for each in found) > 200
    assert sum(any(value < -0.01 for value in each.epochs[0].values.values()) for each in found if each.epochs) > 75


def test_the_same_tunings_without_fresh_processes_would_claim_what_is_not_there() -> None:
    # The safeguard taken away: every epoch sees the process effects of the first one again.
    assert claims(tunings_of_identical_configurations(60, process_effect=0.03, one_process_each=True)) > 6
    assert claims(tunings_of_identical_configurations(60, process_effect=0.03)) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_one_lucky_process_is_not_a_speedup(seed: int) -> None:
    world = world_of(1.0, seed=seed)

    def first_process_is_fast(command: object, times: int) -> object:
        world.latency_ns = {FAST: (0.8 if processes_of(world, "fast") == 1 else 1.0) * MS}
        return ...

    world.scripts = {FAST: {Measure: first_process_is_fast}}
    found = confirmed(world)

    assert found.epochs[0].values["fast"] == pytest.approx(math.log(0.8), abs=0.06)
    assert found.comparisons["fast"].verdict is not Verdict.FASTER


def test_a_slower_configuration_is_proven_slower() -> None:
    assert confirmed(world_of(1.2)).comparisons["fast"].verdict is Verdict.SLOWER


def test_equals_are_equivalent_when_the_machine_is_quiet() -> None:
    found = confirmed(world_of(1.0, process_effect=0.001, noise=0.003)).comparisons["fast"]

    assert found.verdict is Verdict.EQUIVALENT
    assert found.margin == 0.01


def test_a_machine_on_which_the_clone_differs_from_stock_asks_for_more_than_that_difference() -> None:
    # 3 % faster, where two sessions of stock differ by as much from process to process.
    found = confirmed(world_of(0.97, process_effect=0.03)).comparisons["fast"]

    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.margin == found.noise_floor > 0.01
    assert len(found.clone_epochs) == len(found.epochs) == 13


# Epochs


def test_every_epoch_is_of_fresh_processes_which_are_ended_after_it() -> None:
    world = world_of(0.8)

    found = confirmed(world)

    assert len(world.workers) == 3 * len(found.epochs)
    assert all(worker.is_closed for worker in world.workers)
    live = 0
    for what, _ in world.diary:
        live += (what == "Open") - (what == "close")
        assert live <= 3


def test_a_clear_case_is_settled_at_the_first_look() -> None:
    assert len(confirmed(world_of(0.5)).epochs) == 4


def test_an_open_case_goes_on_to_the_last_look() -> None:
    found = confirmed(world_of(0.985), most=9)

    assert len(found.epochs) == 9
    assert not found.ran_out
    assert found.comparisons["fast"].verdict is Verdict.INCONCLUSIVE


def test_the_raw_run_times_of_stock_and_contenders_are_kept_and_the_clones_are_not() -> None:
    (first, *_) = confirmed(world_of(0.5)).epochs

    assert set(first.blocks) == {BASELINE, "fast"}
    assert [len(blocks) for blocks in first.blocks.values()] == [ROUNDS, ROUNDS]


def test_each_epoch_is_handed_over_as_soon_as_it_is_done() -> None:
    kept: list[int] = []
    world = world_of(0.5)

    found = confirmed(world, keep=lambda epoch: kept.append(len(world.workers)))

    assert kept == [3, 6, 9, 12]
    assert len(found.epochs) == 4


def test_a_rival_does_not_hold_up_a_winner_that_is_proven() -> None:
    world = World(latency_ns={FAST: 0.5 * MS, RIVAL: 0.99 * MS}, process_effect=0.01, noise=0.03)

    found = confirmed(world, BOTH)

    assert len(found.epochs) == 4
    assert found.comparisons["fast"].verdict is Verdict.FASTER
    assert found.comparisons["rival"].verdict is not Verdict.FASTER


def test_a_rival_is_waited_for_when_the_winner_of_the_race_disappoints() -> None:
    # The first is proven slower at the first look, the second is 4 % faster: that takes longer to prove.
    world = World(latency_ns={FAST: 1.3 * MS, RIVAL: 0.96 * MS}, process_effect=0.006, noise=0.02)

    found = confirmed(world, BOTH, most=19)

    assert found.comparisons["fast"].verdict is Verdict.SLOWER
    assert found.comparisons["rival"].verdict is Verdict.FASTER


# Budget


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_budget_that_ends_between_two_looks_proves_nothing_and_says_so(count: int) -> None:
    # Even where the epochs look clear: only a look may claim. A fifth epoch adds nothing that the fourth had not.
    world = world_of(0.5 if count < 4 else 0.985)

    found = confirmed(world, fits=epochs_that_fit(count))

    assert found.ran_out
    assert len(found.epochs) == count
    assert found.comparisons["fast"].verdict is Verdict.INCONCLUSIVE


def test_a_budget_that_ends_before_the_first_epoch_compares_nothing() -> None:
    found = confirmed(world_of(0.5), fits=epochs_that_fit(0))

    assert found.ran_out
    assert (dict(found.comparisons), found.epochs) == ({}, ())


def test_a_budget_that_ends_at_a_look_keeps_what_the_look_says() -> None:
    found = confirmed(world_of(0.985), fits=epochs_that_fit(4))

    assert found.ran_out
    assert len(found.comparisons["fast"].epochs) == 4


def test_the_budget_is_asked_with_what_the_last_epoch_took() -> None:
    asked: list[float] = []

    def fits(cost_s: float) -> bool:
        asked.append(cost_s)
        return len(asked) < 4

    confirmed(world_of(0.985), fits=fits, done=[epoch(0.0)])

    assert asked[0] == 0.5  # the epoch of an earlier call
    assert all(0 < cost_s < 0.5 for cost_s in asked[1:])


# Resuming


def test_epochs_of_an_earlier_call_count() -> None:
    world = world_of(0.5)

    found = confirmed(world, done=spread(math.log(0.5), 3))

    assert len(world.workers) == 3  # one more epoch is a look
    assert len(found.epochs) == 4
    assert found.comparisons["fast"].verdict is Verdict.FASTER


def test_nothing_is_measured_again_when_earlier_epochs_settle_it() -> None:
    world = world_of(0.5)
    kept: list[Epoch] = []

    found = confirmed(world, done=spread(math.log(0.5), 4), keep=kept.append)

    assert (world.workers, kept) == ([], [])
    assert not found.ran_out
    assert found.comparisons["fast"].verdict is Verdict.FASTER


def test_a_call_that_was_cut_off_after_its_last_epoch_still_answers() -> None:
    found = confirmed(world_of(1.0), done=spread(-0.015, 13, width=0.02), most=13)

    assert len(found.comparisons["fast"].epochs) == 13
    assert found.comparisons["fast"].verdict is Verdict.INCONCLUSIVE


def test_earlier_epochs_are_judged_even_when_no_time_is_left() -> None:
    found = confirmed(world_of(1.0), done=spread(-0.015, 4, width=0.02), fits=epochs_that_fit(0))

    assert found.ran_out
    assert len(found.comparisons["fast"].epochs) == 4


# Deaths


def dies_in_epoch(number: int, world: World, name: str) -> Callable[[object, int], object]:
    def answer(command: object, times: int) -> object:
        return WorkerError("crashed with SIGSEGV") if processes_of(world, name) == number else ...

    return answer


@pytest.mark.parametrize("command", [Open, Warm, Measure])
def test_a_contender_that_dies_in_an_epoch_leaves_it_and_the_rest_goes_on(command: type) -> None:
    world = World(latency_ns={FAST: 0.5 * MS, RIVAL: 0.6 * MS}, process_effect=0.01, noise=0.03)
    world.scripts = {FAST: {command: dies_in_epoch(2, world, "fast")}}

    found = confirmed(world, BOTH)

    assert dict(found.lost) == {"fast": "crashed with SIGSEGV"}
    assert set(found.comparisons) == {"rival"}
    assert found.comparisons["rival"].verdict is Verdict.FASTER
    assert len(found.epochs) == 4


@pytest.mark.parametrize("last", [5, 6])
def test_a_contender_that_dies_after_a_look_claims_nothing(last: int) -> None:
    # At the first look both are undecided; then one dies, and the budget ends at or after that look.
    world = World(latency_ns={FAST: 0.985 * MS, RIVAL: 0.985 * MS}, process_effect=0.01, noise=0.03)
    world.scripts = {FAST: {Measure: dies_in_epoch(5, world, "fast")}}

    found = confirmed(world, BOTH, fits=epochs_that_fit(last))

    assert set(found.lost) == {"fast"}
    assert set(found.comparisons) == {"rival"}


def test_nothing_is_left_to_compare_when_the_only_contender_dies() -> None:
    world = world_of(0.985)
    world.scripts = {FAST: {Measure: dies_in_epoch(5, world, "fast")}}

    found = confirmed(world)

    assert dict(found.lost) == {"fast": "crashed with SIGSEGV"}
    assert dict(found.comparisons) == {}
    assert not found.ran_out
    assert all(worker.is_closed for worker in world.workers)


@pytest.mark.parametrize("command", [Open, Measure])
def test_the_death_of_stock_is_an_error_that_leaves_no_worker(command: type) -> None:
    world = world_of(0.9, scripts={STOCK: {command: WorkerError("killed")}})

    with pytest.raises(ModelError, match=r"the stock session .*: killed"):
        confirmed(world)

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


def test_disturbed_rounds_are_measured_again_and_do_not_count() -> None:
    world = world_of(0.5)

    found = confirmed(world, watch=watch_for(lambda number: number % 9 == 0))

    assert [(one.rounds, one.discarded) for one in found.epochs] == [(9, 1)] * 4
    assert all(len(one.blocks["fast"]) == ROUNDS for one in found.epochs)
    assert found.comparisons["fast"].discarded_rounds == 4
    assert found.comparisons["fast"].rounds == 32
    assert found.comparisons["fast"].verdict is Verdict.FASTER


def test_a_machine_where_more_than_a_fifth_of_rounds_is_disturbed_is_too_noisy() -> None:
    found = confirmed(world_of(0.5), watch=watch_for(lambda number: number % 3 == 0))

    assert found.is_too_noisy
    assert found.comparisons["fast"].verdict is Verdict.TOO_NOISY


def test_noise_that_passes_delays_a_claim_and_does_not_prevent_it() -> None:
    # Two epochs are lost to it; only at the last look are they less than a fifth of all rounds.
    found = confirmed(world_of(0.5), watch=watch_for(lambda number: number < 24))

    assert not found.is_too_noisy
    assert found.comparisons["fast"].verdict is Verdict.FASTER
    assert len(found.comparisons["fast"].epochs) == 13
    assert len(found.epochs) == 15


def test_a_machine_that_is_always_disturbed_is_given_up_after_four_epochs() -> None:
    world = world_of(0.5)

    found = confirmed(world, watch=watch_for(lambda number: True))

    assert found.is_too_noisy
    assert dict(found.comparisons) == {}
    assert len(world.workers) == 12


def test_a_budget_that_ends_after_disturbed_epochs_alone_was_spent_on_noise() -> None:
    found = confirmed(world_of(0.5), watch=watch_for(lambda number: True), fits=epochs_that_fit(2))

    assert found.ran_out
    assert found.is_too_noisy


def test_discards_do_not_depend_on_latencies() -> None:
    def discards(ratio: float, seed: int) -> list[tuple[int, int]]:
        found = confirmed(
            world_of(ratio, seed=seed),
            watch=watch_for(lambda number: number % 11 == 2),
            fits=epochs_that_fit(4),
        )
        return [(one.rounds, one.discarded) for one in found.epochs]

    assert discards(0.5, 1) == discards(0.985, 2) == discards(3.0, 3)


def test_a_few_disturbed_rounds_are_no_reason_to_give_up() -> None:
    quiet = spread(0.0, 4)

    assert not is_too_noisy(quiet)
    assert not is_too_noisy([*quiet[:3], Epoch(values={}, blocks={}, rounds=6, discarded=6, setup_s=0, cost_s=0)])
    assert is_too_noisy([*quiet[:3], Epoch(values={}, blocks={}, rounds=8, discarded=8, setup_s=0, cost_s=0)])


def test_an_epoch_with_too_few_quiet_rounds_has_no_value() -> None:
    rig = make_rig(world_of(0.9), watch=watch_for(lambda number: number >= 5))

    found, lost = run_epoch(rig, ALONE, STOCK, generator=random.Random(0), rounds=ROUNDS)

    assert found is not None
    assert (dict(found.values), found.discarded, lost) == ({}, found.rounds, {})


# Rounds of an epoch


@pytest.mark.parametrize(
    ("setup_s", "round_s", "left_s", "rounds"),
    [
        (2.0, 0.05, 600.0, 26),
        (2.0, 1.0, 600.0, 8),  # slow runs: fewer rounds
        (60.0, 0.01, 6000.0, 40),  # costly processes: more of each
        (2.0, 0.05, 11.3, 16),
        (2.0, 0.05, 10.0, 10),  # four epochs must fit
        (2.0, 0.05, 1.0, 8),
    ],
)
def test_rounds_of_an_epoch_are_planned_by_their_costs(
    setup_s: float, round_s: float, left_s: float, rounds: int
) -> None:
    assert plan_rounds(setup_s, round_s, round_noise=None, left_s=left_s) == rounds


@pytest.mark.parametrize(("round_noise", "rounds"), [(0.0, 8), (0.02, 11), (0.06, 32), (3.0, 40)])
def test_the_less_rounds_stray_the_fewer_an_epoch_takes(round_noise: float, rounds: int) -> None:
    assert plan_rounds(2.0, 0.05, round_noise=round_noise, left_s=600.0) == rounds
