"""Who is confirmed, what is concluded, and why not."""

from collections.abc import Sequence
from typing import Any

import pytest

from fakes import MB, MS, make_readings, make_result
from infer_opt.concluding import break_ties, finalists_of, settled_race
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.confirming import Confirmation, Epoch
from infer_opt.racing import Race
from infer_opt.recipes import Recipe
from infer_opt.results import Caution, Parity, Trial, TrialResult, TuningVerdict, Verdict
from infer_opt.rig import BASELINE, Limits
from made_conclusions import (
    FAILED,
    LED,
    ONE,
    RAN,
    STOCK,
    THREE,
    TWO,
    comparison,
    concluded,
    confirmation,
    epoch,
    fates,
    raced_with,
)

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
