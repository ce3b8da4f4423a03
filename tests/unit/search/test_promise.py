from dataclasses import replace

import pytest

from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import Objective, Provider, SessionOptions, Spin, TrialConfig
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.search.promise import alone, offered_knobs, sets, suspected_first, suspected_knobs
from infer_opt.search.space import candidates
from infer_opt.search.surroundings import Surroundings, stock

RICH = Surroundings(
    providers=(Provider.CPU,),
    usable_cores=4.0,
    physical_cores=4,
    has_vnni=True,
    can_calibrate=True,
    dynamic_operators=frozenset({"MatMul"}),
    static_operators=frozenset({"MatMul"}),
    fusable=("bert",),
)
STOCK = stock(RICH)
QUANTISED = TrialConfig(recipe=Recipe(quantise=Quantisation()))
ONE_THREAD = TrialConfig(options=SessionOptions(intra_threads=1))


def diagnosis(cause: Cause, *knobs: str, gain_ns: float | None = 1e6) -> Diagnosis:
    return Diagnosis(cause=cause, what="", evidence=(), action="", gain_ns=gain_ns, knobs=knobs)


def test_a_knob_is_set_where_its_field_differs_from_stock() -> None:
    assert sets(QUANTISED, "quantise", STOCK)
    assert not sets(QUANTISED, "intra_threads", STOCK)
    assert sets(ONE_THREAD, "intra_threads", STOCK)
    assert sets(replace(STOCK, instances=2, options=SessionOptions(intra_threads=1)), "instances", STOCK)
    assert not sets(STOCK, "quantise", STOCK)


def test_without_a_suspicion_the_order_is_as_it_was() -> None:
    assert candidates(replace(RICH, suspected=())) == candidates(RICH)
    assert candidates(replace(RICH, suspected=("cuda_graph", "no_such_knob"))) == candidates(RICH)


@pytest.mark.parametrize("knob", ["quantise", "fuse", "intra_threads", "spin"])
def test_what_is_suspected_comes_earlier_and_nothing_else_much_later(knob: str) -> None:
    before, after = candidates(RICH), candidates(replace(RICH, suspected=(knob,)))

    assert set(after) == set(before) and len(after) == len(before)
    first = alone(before)
    assert alone(after) == first, "single changes stay before combinations"
    for config in before[:first]:
        was, now = before.index(config), after.index(config)
        if sets(config, knob, STOCK):
            assert now <= was
        else:
            assert now <= 4 * was + 3


def test_three_of_the_suspected_stand_before_one_of_the_others() -> None:
    found = candidates(replace(RICH, suspected=("quantise",)))[:8]

    assert [sets(config, "quantise", STOCK) for config in found] == [True, True, True, False] * 2


def test_the_suspected_and_the_others_keep_their_own_order() -> None:
    before, after = candidates(RICH), candidates(replace(RICH, suspected=("quantise",)))

    for is_suspected in (True, False):
        kept = [config for config in after if sets(config, "quantise", STOCK) is is_suspected]
        assert kept == [config for config in before if sets(config, "quantise", STOCK) is is_suspected]


def test_an_order_of_a_few_is_merged_to_the_end() -> None:
    others = [TrialConfig(options=SessionOptions(spin=spin)) for spin in Spin]

    assert suspected_first([*others, QUANTISED], ["quantise"], STOCK) == [QUANTISED, *others]
    assert suspected_first([], ["quantise"], STOCK) == []


def test_knobs_come_by_what_there_is_to_be_won_each_once() -> None:
    found = [
        diagnosis(Cause.MEMORY_BOUND, "quantise"),
        diagnosis(Cause.UNFUSED_GELU, "fuse", "rewrite"),
        diagnosis(Cause.UNFUSED_ATTENTION, "fuse"),
    ]

    assert suspected_knobs(found, Objective.LATENCY) == ("quantise", "fuse", "rewrite")


def test_what_is_no_matter_of_the_objective_orders_nothing() -> None:
    spinning, first = (
        diagnosis(Cause.SPINNING, "spin", gain_ns=None),
        diagnosis(Cause.FIRST_RUN, "saved_level", gain_ns=None),
    )
    memory = diagnosis(Cause.MEMORY_BOUND, "quantise")

    assert suspected_knobs([memory, spinning, first], Objective.LATENCY) == ("quantise",)
    assert suspected_knobs([memory, spinning, first], Objective.ENERGY) == ("quantise", "spin")
    assert suspected_knobs([memory, spinning, first], Objective.COLD_START) == ("saved_level",)
    assert suspected_knobs([memory, spinning, first], Objective.MEMORY) == ()


def test_too_many_threads_order_although_what_they_cost_is_not_known() -> None:
    found = [diagnosis(Cause.OVERSUBSCRIBED, "intra_threads", gain_ns=None)]

    assert suspected_knobs(found, Objective.LATENCY) == ("intra_threads",)


def test_batch_sizes_are_climbed_and_not_ordered() -> None:
    assert suspected_knobs([diagnosis(Cause.SMALL_BATCH, "batch")], Objective.THROUGHPUT) == ()


def test_a_knob_that_no_candidate_sets_put_nothing_first() -> None:
    assert offered_knobs(("rewrite", "quantise"), candidates(RICH), STOCK) == ("quantise",)
