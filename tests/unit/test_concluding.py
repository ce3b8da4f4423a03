import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fakes import MB, MS, PASSED, World, make_readings, make_result, make_rig
from infer_opt.concluding import (
    Outcome,
    break_ties,
    conclude,
    epoch_from,
    epoch_record,
    finalists_of,
    is_complete,
    settled_race,
)
from infer_opt.config import Provider, SessionOptions, TrialConfig, Workload
from infer_opt.confirming import Confirmation, Epoch
from infer_opt.preparing import Prepared
from infer_opt.racing import Race
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import (
    Block,
    Caution,
    Comparison,
    Estimate,
    FailureKind,
    Parity,
    Quantile,
    Trial,
    TrialFailure,
    TrialResult,
    TuningVerdict,
    Verdict,
)
from infer_opt.rig import BASELINE, CLONE, Limits
from infer_opt.search.surroundings import Surroundings
from infer_opt.setting_up import Setup
from infer_opt.trials import Stock

STOCK = TrialConfig()
ONE, TWO, THREE = (TrialConfig(options=SessionOptions(intra_threads=count)) for count in (1, 2, 3))
FAILED = TrialFailure(config=THREE, kind=FailureKind.CRASH, reason="the worker crashed with SIGSEGV")


def raced_with(
    ratios: Mapping[TrialConfig, float], *, survivors: Sequence[TrialConfig | None] | None = None, **changes: Any
) -> Race:
    """A finished race over these ln ratios; None among the survivors is stock."""
    by_ratio: list[TrialConfig] = sorted(ratios, key=lambda config: ratios[config])
    ordered = by_ratio if survivors is None else survivors
    settings: dict[str, Any] = {
        "configs": {config.key: config for config in ratios},
        "survivors": tuple(BASELINE if config is None else config.key for config in ordered),
        "is_equivalence_set": False,
        "rounds": 40,
        "discarded": 0,
        "log_ratios": {config.key: ratio for config, ratio in ratios.items()} | {BASELINE: 0.0},
        "lost": {},
    }
    return Race(**(settings | changes))


def comparison(config: TrialConfig, verdict: Verdict, speedup: float = 1.2, *, epochs: int = 4) -> Comparison:
    estimate = Estimate(value=speedup, low=speedup * 0.95, high=speedup * 1.05, confidence=0.99)
    return Comparison(
        config=config,
        verdict=verdict,
        speedup=estimate,
        remeasure=estimate,
        margin=0.012,
        noise_floor=0.01,
        epochs=(-math.log(speedup),) * epochs,
        clone_epochs=(0.001,) * epochs,
        rounds=80,
    )


def epoch(times_ns: Mapping[str, Sequence[int]]) -> Epoch:
    """An epoch of one block each, of these run times."""
    return Epoch(
        values=dict.fromkeys((*times_ns, CLONE), 0.0),
        blocks={key: (Block(latency_ns=tuple(times)),) for key, times in times_ns.items()},
        rounds=20,
        discarded=0,
        setup_s=1.0,
        cost_s=2.0,
    )


def confirmation(*comparisons: Comparison, epochs: Sequence[Epoch] = (), **changes: Any) -> Confirmation:
    settings: dict[str, Any] = {
        "comparisons": {one.config.key: one for one in comparisons},
        "epochs": tuple(epochs),
        "is_too_noisy": False,
        "ran_out": False,
    }
    return Confirmation(**(settings | changes))


def concluded(
    trials: Sequence[Trial],
    raced: Race | None,
    found: Confirmation | None,
    *,
    limits: Limits | None = None,
    was_interrupted: bool = False,
    stock: TrialResult | None = None,
) -> Outcome:
    world = World()
    setup = Setup(
        rig=make_rig(world, limits=limits or Limits()),
        surroundings=Surroundings(providers=(Provider.CPU,), usable_cores=2.0, physical_cores=2),
        prepared=Prepared(
            feeds={},
            calibration=None,
            calibration_hash=None,
            workload=Workload(),
            is_synthetic=True,
            samples=4,
            notes=(),
        ),
        notes=(),
        runtime_versions={"onnx": "1.32.0"},
        generator=random.Random(0),
    )
    base = Stock(
        entrant=world.entrant(STOCK, BASELINE),
        setup_s=1.0,
        round_s=0.05,
        result=stock or make_result(STOCK),
        metric=None,
        self_parity=PASSED,
        checked=8,
    )
    return conclude(setup, base, trials, raced, found, was_interrupted=was_interrupted)


def fates(outcome: Outcome) -> dict[TrialConfig, str]:
    return {standing.trial.config: standing.fate for standing in outcome.standings}


# Who is confirmed


def test_so_few_entrants_that_all_can_be_confirmed_need_no_race() -> None:
    trials: list[Trial] = [make_result(ONE, -0.1), make_result(TWO, -0.2), FAILED]

    found = settled_race((TWO.key, ONE.key, THREE.key, "gone"), trials)

    assert found.survivors == (TWO.key, ONE.key)
    assert (found.rounds, found.is_equivalence_set) == (0, False)
    assert dict(found.log_ratios) == {TWO.key: -0.2, ONE.key: -0.1}


def test_finalists_are_the_first_that_are_ahead_of_stock() -> None:
    raced = raced_with({ONE: -0.3, TWO: -0.1, THREE: 0.05}, survivors=[ONE, TWO, None, THREE])

    assert finalists_of(raced, most=1) == (ONE.key,)
    assert finalists_of(raced, most=9) == (ONE.key, TWO.key)


def test_nobody_is_confirmed_where_stock_leads() -> None:
    assert finalists_of(raced_with({ONE: 0.02}, survivors=[None, ONE]), most=2) == ()
    assert finalists_of(raced_with({}, survivors=[]), most=2) == ()


def test_an_equivalence_set_that_holds_stock_hands_back_stock() -> None:
    trials = [make_result(ONE, -0.004), make_result(TWO, -0.003)]
    raced = raced_with({ONE: -0.004, TWO: -0.003}, survivors=[ONE, TWO, None], is_equivalence_set=True)

    ordered = break_ties(raced, trials)
    outcome = concluded(trials, raced_with({ONE: -0.004}, survivors=[]), None)

    assert ordered.survivors[0] == BASELINE
    assert finalists_of(ordered, most=2) == ()
    assert outcome.verdict is TuningVerdict.NO_FASTER
    assert outcome.winner.config == STOCK
    assert "stock was not beaten in a race of 40 rounds" in outcome.reason


def agreeing(score: float) -> Parity:
    return Parity(score=score, passed=True, outputs=(), samples=8)


def ties(*trials: TrialResult) -> tuple[str, ...]:
    # Named in the opposite order, so that doing nothing would show.
    raced = raced_with({trial.config: -0.2 for trial in trials}, survivors=[t.config for t in reversed(trials)])
    broken = break_ties(Race(**{**fields_of(raced), "is_equivalence_set": True}), trials)
    return tuple(next(t.config.label for t in trials if t.config.key == key) for key in broken.survivors)


def fields_of(raced: Race) -> dict[str, Any]:
    return {name: getattr(raced, name) for name in raced.__slots__}


def test_ties_are_broken_by_parity_first() -> None:
    better, worse = make_result(TWO, parity=agreeing(0.999)), make_result(ONE, parity=agreeing(0.992))

    assert ties(better, worse) == ("2 threads", "1 thread")


def test_ties_in_parity_are_broken_by_the_tail() -> None:
    better = make_result(TWO, readings=make_readings(p99_ns=2.0 * MS))
    worse = make_result(ONE, readings=make_readings(p99_ns=2.5 * MS), parity=agreeing(0.9999))

    assert ties(better, worse) == ("2 threads", "1 thread")


def test_ties_in_the_tail_are_broken_by_memory() -> None:
    better = make_result(TWO, readings=make_readings(p99_ns=2.01 * MS, peak_rss_bytes=100 * MB))
    worse = make_result(ONE, readings=make_readings(p99_ns=2.0 * MS, peak_rss_bytes=150 * MB))

    assert ties(better, worse) == ("2 threads", "1 thread")


def test_ties_in_memory_are_broken_by_nearness_to_stock() -> None:
    simple = make_result(TWO)
    involved = make_result(TrialConfig(recipe=Recipe(normalise=True), options=SessionOptions(intra_threads=1)))

    assert ties(simple, involved) == ("2 threads", "normalised · 1 thread")


def test_no_evidence_for_a_tail_is_no_advantage() -> None:
    # Without p99 of both, what both have is compared: here the median, which is the same, then nearness to stock.
    known = make_result(TWO, readings=make_readings(p99_ns=2.0 * MS))
    unknown = make_result(TrialConfig(recipe=Recipe(normalise=True), options=SessionOptions(intra_threads=1)))

    assert ties(known, unknown) == ("2 threads", "normalised · 1 thread")


def test_an_order_that_the_race_decided_is_left_alone() -> None:
    raced = raced_with({ONE: -0.3, TWO: -0.1})
    trials = [make_result(ONE, parity=agreeing(0.99)), make_result(TWO, parity=agreeing(1.0))]

    assert break_ties(raced, trials) is raced


# The answer


def test_what_is_proven_faster_wins() -> None:
    trials: list[Trial] = [make_result(ONE, -0.2), make_result(TWO, -0.1), FAILED]
    found = confirmation(comparison(ONE, Verdict.FASTER, 1.22))

    outcome = concluded(trials, raced_with({ONE: -0.2, TWO: -0.1}, survivors=[ONE]), found)

    assert (outcome.verdict, outcome.winner.config) == (TuningVerdict.FASTER, ONE)
    assert outcome.reason == "1 thread is proven faster over 4 epochs of fresh processes"
    assert outcome.comparison == found.comparisons[ONE.key]
    assert fates(outcome) == {STOCK: "stock", ONE: "winner", TWO: "raced", THREE: "failed"}


def test_a_rival_that_is_proven_wins_over_a_favourite_that_is_not() -> None:
    trials = [make_result(ONE, -0.2), make_result(TWO, -0.1)]
    found = confirmation(comparison(ONE, Verdict.INCONCLUSIVE, 1.01), comparison(TWO, Verdict.FASTER, 1.1))

    outcome = concluded(trials, raced_with({ONE: -0.2, TWO: -0.1}), found)

    assert outcome.winner.config == TWO
    assert outcome.comparison == found.comparisons[TWO.key]
    assert fates(outcome)[ONE] == "not chosen"


def test_of_two_that_are_proven_the_races_favourite_wins() -> None:
    trials = [make_result(ONE, -0.2), make_result(TWO, -0.1)]
    found = confirmation(comparison(TWO, Verdict.FASTER, 1.3), comparison(ONE, Verdict.FASTER, 1.2))

    assert concluded(trials, raced_with({ONE: -0.2, TWO: -0.1}), found).winner.config == ONE


def test_a_winners_percentiles_come_from_the_confirmation_and_not_from_the_screen_that_chose_it() -> None:
    trials = [make_result(ONE, -2.0)]  # a lucky screen: 0.135 ms
    times = {ONE.key: [MS] * 50, BASELINE: [2 * MS] * 50}
    found = confirmation(comparison(ONE, Verdict.FASTER, 2.0), epochs=[epoch(times)] * 4)

    outcome = concluded(trials, raced_with({ONE: -2.0}), found)

    assert outcome.winner.readings.quantile_ns(0.5) == MS
    assert outcome.winner.readings.items_per_s == pytest.approx(1000.0)
    assert outcome.baseline.readings.quantile_ns(0.5) == 2 * MS
    assert len(outcome.winner.blocks) == len(outcome.baseline.blocks) == 4
    # 200 runs are pooled, where one epoch has 50: enough for p95, not for p99.
    assert outcome.winner.readings.quantile_ns(0.95) == MS
    assert outcome.winner.readings.quantile_ns(0.99) is None


@pytest.mark.parametrize("limit_ms", [3.0, 6.0])
def test_a_winner_must_keep_the_limit_of_p99_in_the_confirmation_too(limit_ms: float) -> None:
    # It looked fine in the screen; over all processes its 99th percentile is 5 ms.
    trials = [make_result(ONE, -0.2, readings=make_readings(p99_ns=1.0 * MS))]
    times = {ONE.key: [MS] * 240 + [5 * MS] * 10, BASELINE: [2 * MS] * 250}
    found = confirmation(comparison(ONE, Verdict.FASTER, 2.0), epochs=[epoch(times)] * 4)

    outcome = concluded(trials, raced_with({ONE: -0.2}), found, limits=Limits(max_p99_ns=limit_ms * MS))

    if limit_ms > 5:
        assert outcome.verdict is TuningVerdict.FASTER
    else:
        assert (outcome.verdict, outcome.winner.config) == (TuningVerdict.NO_FASTER, STOCK)
        assert outcome.reason == "1 thread is faster, but its p99 is 5 ms, above 3 ms"


def test_without_evidence_for_p99_the_slowest_run_stands_for_it() -> None:
    trials = [make_result(ONE, -0.2)]
    times = {ONE.key: [MS] * 9 + [5 * MS], BASELINE: [2 * MS] * 10}
    found = confirmation(comparison(ONE, Verdict.FASTER, 2.0), epochs=[epoch(times)] * 4)

    outcome = concluded(trials, raced_with({ONE: -0.2}), found, limits=Limits(max_p99_ns=4.0 * MS))

    assert outcome.verdict is TuningVerdict.NO_FASTER


def test_a_rival_that_keeps_the_limit_wins_over_a_favourite_that_does_not() -> None:
    trials = [make_result(ONE, -0.2), make_result(TWO, -0.1)]
    times = {ONE.key: [MS] * 9 + [9 * MS], TWO.key: [MS] * 10, BASELINE: [2 * MS] * 10}
    found = confirmation(
        comparison(ONE, Verdict.FASTER, 2.0), comparison(TWO, Verdict.FASTER, 1.9), epochs=[epoch(times)] * 4
    )

    outcome = concluded(trials, raced_with({ONE: -0.2, TWO: -0.1}), found, limits=Limits(max_p99_ns=4.0 * MS))

    assert (outcome.verdict, outcome.winner.config) == (TuningVerdict.FASTER, TWO)


def test_stock_that_breaks_a_limit_itself_is_handed_back_with_a_caution() -> None:
    stock = make_result(STOCK, readings=make_readings(p99_ns=9.0 * MS))

    def notes(limit_ms: float, trials: Sequence[Trial]) -> list[str]:
        outcome = concluded(trials, None, None, limits=Limits(max_p99_ns=limit_ms * MS), stock=stock)
        assert outcome.winner.config == STOCK
        assert {note.caution for note in outcome.notes} <= {Caution.LIMIT_NOT_MET}
        return [note.text for note in outcome.notes]

    assert notes(10.0, [make_result(ONE, 0.3)]) == []
    assert notes(8.0, [FAILED]) == ["stock itself has a p99 of 9 ms, above 8 ms"]
    assert "1 thread keeps the limit at 0.741x stock" in notes(8.0, [make_result(ONE, 0.3)])[0]


# Why not


NOTHING = raced_with({}, survivors=[], rounds=0)
RAN = [make_result(ONE, -0.1)]
LED = raced_with({ONE: -0.1})


@pytest.mark.parametrize(
    ("trials", "raced", "found", "part"),
    [
        ([], None, None, "the budget left no time for a single trial"),
        ([FAILED], NOTHING, None, "none of the 1 configurations tried can stand in for stock"),
        ([make_result(ONE, 0.4), FAILED], NOTHING, None, "none of the 1 configurations that ran looked faster"),
        (RAN, raced_with({ONE: 0.1}, survivors=[]), None, "stock was not beaten in a race of 40 rounds"),
        (RAN, LED, confirmation(ran_out=True), "the budget ended before the first epoch"),
        (
            RAN,
            LED,
            confirmation(comparison(ONE, Verdict.EQUIVALENT, 1.001)),
            "no different from stock within the margin: 1.00x [0.95 to 1.05] over 4 epochs",
        ),
        (RAN, LED, confirmation(comparison(ONE, Verdict.SLOWER, 0.9)), "proved worse in fresh processes: 0.90x"),
        (
            RAN,
            LED,
            confirmation(comparison(ONE, Verdict.INCONCLUSIVE, 1.02, epochs=5), ran_out=True),
            "the budget ended after 5 epochs of fresh processes, which say 1.02x",
        ),
        (
            RAN,
            LED,
            confirmation(comparison(ONE, Verdict.INCONCLUSIVE, 1.02, epochs=13)),
            "13 epochs of fresh processes say 1.02x [0.97 to 1.07], which does not clear the margin of 1.2%",
        ),
        (
            RAN,
            LED,
            confirmation(lost={ONE.key: "the worker crashed with SIGSEGV"}),
            "what looked faster did not survive in fresh processes: the worker crashed with SIGSEGV",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whoever_gets_stock_back_is_told_why(
    trials: Sequence[Trial], raced: Race | None, found: Confirmation | None, part: str
) -> None:
    outcome = concluded(trials, raced, found)

    assert (outcome.verdict, outcome.winner.config) == (TuningVerdict.NO_FASTER, STOCK)
    assert part in outcome.reason


def test_a_noisy_machine_proves_nothing_whatever_the_numbers_say() -> None:
    disturbed = Epoch(values={}, blocks={}, rounds=10, discarded=8, setup_s=1.0, cost_s=2.0)
    found = confirmation(comparison(ONE, Verdict.TOO_NOISY, 2.0), epochs=[disturbed] * 4, is_too_noisy=True)

    outcome = concluded(RAN, LED, found)

    assert (outcome.verdict, outcome.winner.config) == (TuningVerdict.TOO_NOISY, STOCK)
    assert outcome.reason.startswith("32 of the 40 rounds of the confirmation were disturbed")


def test_an_interrupted_tuning_says_so_and_that_it_can_go_on() -> None:
    outcome = concluded(RAN, None, None, was_interrupted=True)

    assert outcome.reason == "the tuning was interrupted after 1 trials, before anything was proven"
    assert [note.caution for note in outcome.notes] == [Caution.INTERRUPTED]
    assert "--resume" in outcome.notes[0].text


def test_an_interrupt_keeps_what_was_proven_before_it() -> None:
    found = confirmation(comparison(ONE, Verdict.FASTER), ran_out=True)

    outcome = concluded(RAN, LED, found, was_interrupted=True)

    assert outcome.verdict is TuningVerdict.FASTER
    assert [note.caution for note in outcome.notes] == [Caution.INTERRUPTED]


def test_a_budget_that_ends_in_the_confirmation_is_a_caution() -> None:
    found = confirmation(comparison(ONE, Verdict.INCONCLUSIVE), ran_out=True, epochs=[epoch({})] * 5)

    (note,) = concluded(RAN, LED, found).notes

    assert note.caution is Caution.OUT_OF_BUDGET
    assert "after 5 epochs" in note.text


# Standings


def test_every_rival_has_a_fate_and_a_reason() -> None:
    quantised = TrialConfig(recipe=Recipe(quantise=Quantisation()))
    arena = TrialConfig(options=SessionOptions(arena=False))
    bound = TrialConfig(options=SessionOptions(io_binding=True))
    trials: list[Trial] = [
        make_result(ONE, -0.2),
        make_result(TWO, -0.15),
        make_result(quantised, -0.1),
        make_result(arena, -0.001),
        make_result(bound, 0.2),
        FAILED,
    ]
    raced = raced_with({ONE: -0.2, TWO: -0.15, quantised: -0.1}, survivors=[ONE, TWO], lost={quantised.key: "killed"})
    found = confirmation(comparison(ONE, Verdict.FASTER), comparison(TWO, Verdict.INCONCLUSIVE, 1.01))

    outcome = concluded(trials, raced, found)

    reasons = {standing.trial.config: (standing.fate, standing.reason) for standing in outcome.standings}
    assert reasons == {
        STOCK: ("stock", "the settings that all others are measured against"),
        ONE: ("winner", "proven faster than stock in fresh processes"),
        TWO: ("not chosen", "inconclusive in the confirmation: 1.01x stock"),
        quantised: ("lost", "its worker ended in the race: killed"),
        arena: ("screened", "may be faster than stock, but others looked better in the screen"),
        bound: ("screened", "no faster than stock in the screen"),
        THREE: ("failed", "the worker crashed with SIGSEGV"),
    }
    assert outcome.standings[0].trial.config == STOCK


def test_one_that_died_in_the_confirmation_is_said_to_have_died() -> None:
    outcome = concluded(RAN, LED, confirmation(lost={ONE.key: "killed"}))

    assert fates(outcome)[ONE] == "lost"
    assert outcome.standings[1].reason == "its worker ended in the confirmation: killed"


def test_finalists_that_never_came_to_an_epoch_are_said_to_be_unconfirmed() -> None:
    assert fates(concluded(RAN, LED, None))[ONE] == "not confirmed"


def test_those_that_left_the_race_are_told_how_fast_they_were_and_never_called_slower() -> None:
    trials = [make_result(ONE, -0.2), make_result(TWO, -0.1)]

    outcome = concluded(trials, raced_with({ONE: -0.2, TWO: -0.1}, survivors=[ONE]), confirmation())

    reason = outcome.standings[2].reason
    assert reason == "left the race: 1.11x stock in 40 rounds"


def test_slow_phases_that_the_race_left_out_are_told() -> None:
    notes = concluded(RAN, replace(LED, heats=4, slow_heats=2), None).notes

    assert [note.text for note in notes if note.caution is Caution.SLOW_MACHINE] == [
        "stock itself was more than 10% slower than usual in 2 of the 6 heats of the race, which were run again:"
        " something else slows the cores"
    ]
    assert all(note.caution is not Caution.SLOW_MACHINE for note in concluded(RAN, LED, None).notes)


def test_the_pareto_front_holds_what_nothing_beats_in_speed_memory_and_parity() -> None:
    def trial(config: TrialConfig, ratio: float, peak_mb: int) -> TrialResult:
        return make_result(config, ratio, readings=make_readings(peak_rss_bytes=peak_mb * MB))

    fast, small, dominated = trial(ONE, -0.2, 300), trial(TWO, 0.1, 100), trial(STOCK_LIKE, 0.2, 200)

    outcome = concluded([fast, small, dominated, FAILED], None, None)

    on_front = {s.trial.config for s in outcome.standings if s.on_pareto_front}
    assert {ONE, TWO} <= on_front
    assert not on_front & {STOCK_LIKE, THREE}


STOCK_LIKE = TrialConfig(options=SessionOptions(memory_pattern=False))


# Records


def test_epochs_come_back_whole_from_the_store() -> None:
    whole = epoch({BASELINE: [1, 2, 3], ONE.key: [4, 5, 6]})

    assert epoch_from(json.loads(json.dumps(epoch_record(whole)))) == whole


def test_an_epoch_of_an_earlier_call_counts_when_it_holds_all_finalists() -> None:
    whole = epoch({BASELINE: [1], ONE.key: [2]})

    assert is_complete(whole, [ONE.key])
    assert not is_complete(whole, [ONE.key, TWO.key])
    assert not is_complete(Epoch(values={}, blocks={}, rounds=9, discarded=9, setup_s=0, cost_s=0), [])


def test_quantiles_without_evidence_stay_none_in_a_pool() -> None:
    found = confirmation(comparison(ONE, Verdict.FASTER), epochs=[epoch({ONE.key: [MS] * 3, BASELINE: [MS] * 3})] * 4)

    quantiles = concluded(RAN, LED, found).winner.readings.quantiles

    assert [type(one) for one in quantiles] == [Quantile] * 4
    assert [one.value_ns for one in quantiles] == [MS, None, None, None]


def test_epochs_keep_which_shape_each_run_was_of_and_older_ones_can_be_read() -> None:
    blocks = {BASELINE: (Block(latency_ns=(1, 9), shapes=(0, 1)),)}
    whole = Epoch(values={}, blocks=blocks, rounds=1, discarded=0, setup_s=0.0, cost_s=0.0)
    record = json.loads(json.dumps(epoch_record(whole)))

    assert epoch_from(record) == whole
    del record["blocks"][BASELINE][0]["shapes"]
    assert epoch_from(record).blocks[BASELINE] == (Block(latency_ns=(1, 9)),)
