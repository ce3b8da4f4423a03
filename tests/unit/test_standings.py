"""What became of each that was confirmed, and what the store keeps of it."""

import json
from dataclasses import replace

from fakes import MB, MS, make_readings, make_result
from infer_opt.concluding import epoch_from, epoch_record, is_complete
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.confirming import Epoch
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import Block, Caution, Quantile, Trial, TrialResult, Verdict
from infer_opt.rig import BASELINE
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
