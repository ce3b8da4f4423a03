"""What the live experiments judge from what they saw. No process is started."""

import math
import os
import random
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from benchmarks.live import counted, equals, extra_nodes, hostile, overhead, position, power, quota, remeasured
from benchmarks.live import whole_tunes as tunes
from benchmarks.live.pairs import SUBJECT, is_false_without_margin, is_wrong, observed, round_noise
from benchmarks.live.stand import Observation

from infer_opt.config import TrialConfig
from infer_opt.confirming import Confirmation, Epoch
from infer_opt.results import Block, Comparison, Estimate, Verdict
from infer_opt.rig import BASELINE

QUIET = (0.001, -0.001, 0.0005, -0.0005)


def pair(verdict: str = "equivalent", **changes: Any) -> dict[str, Any]:
    seen = {
        "model": "m",
        "verdict": verdict,
        "epochs": list(QUIET),
        "margin": 0.01,
        "round_noise": 0.02,
        "seconds": 9.0,
    }
    return seen | changes


# Counts against rates.


def test_no_case_of_thirty_leaves_a_true_rate_of_up_to_a_tenth() -> None:
    low, high = counted.clopper_pearson(0, 30)

    assert low == 0.0
    assert high == pytest.approx(1 - 0.025 ** (1 / 30))


def test_an_interval_of_a_rate_is_the_same_from_both_ends() -> None:
    low, high = counted.clopper_pearson(3, 20)
    other_low, other_high = counted.clopper_pearson(17, 20)

    assert (low, high) == pytest.approx((1 - other_high, 1 - other_low))


@pytest.mark.parametrize(("found", "is_met"), [(0, True), (4, True), (5, False)])
def test_a_promise_is_broken_when_luck_would_not_give_so_many(found: int, is_met: bool) -> None:
    # At a true 5 %, 4 or fewer of 30 happen with 98.4 %, 3 or fewer with 93.9 %.
    assert counted.seldom("false", found, 30, rate=0.05).is_met is is_met


@pytest.mark.parametrize(("found", "is_met"), [(18, True), (15, True), (14, False)])
def test_a_promise_of_often_leaves_as_much_to_luck(found: int, is_met: bool) -> None:
    # At a true 95 %, 2 misses or fewer of 18 happen with 94.2 %, 3 or fewer with 98.9 %.
    assert counted.often("found", found, 18, rate=0.95).is_met is is_met


def test_a_wrong_sign_has_no_luck_to_blame() -> None:
    assert counted.seldom("wrong sign", 0, 30, rate=0.0).is_met is True
    assert counted.seldom("wrong sign", 1, 30, rate=0.0).is_met is False


def test_without_a_case_nothing_is_kept_or_broken() -> None:
    assert counted.seldom("false", 0, 0, rate=0.05).is_met is None
    assert counted.often("found", 0, 0, rate=0.95).is_met is None


def test_cases_too_few_to_break_a_promise_do_not_keep_it() -> None:
    # One miss in one case happens to a tool that finds 90 % in 10 of 100 series.
    assert counted.often("found", 1, 1, rate=0.9).is_met is None


def test_where_nothing_is_promised_nothing_can_be_missed() -> None:
    target = counted.often("found", 0, 9, rate=0.0)

    assert target.is_met is True
    assert "nothing promised" in target.name


# One comparison.


def an_epoch(ratio: float, spread: float, rounds: int = 9) -> Epoch:
    stock = tuple(Block(latency_ns=(1_000_000,) * 3) for _ in range(rounds))
    other = tuple(
        Block(latency_ns=(round(1_000_000 * math.exp(ratio + spread * (turn % 3 - 1))),) * 3) for turn in range(rounds)
    )
    return Epoch(
        values={SUBJECT: ratio},
        blocks={BASELINE: stock, SUBJECT: other},
        rounds=rounds + 1,
        discarded=1,
        setup_s=1.0,
        cost_s=2.0,
    )


def test_the_noise_of_a_round_is_that_within_an_epoch_and_not_between_them() -> None:
    # Epochs a whole 20 % apart; in each, rounds at -3 %, 0 and +3 %: quartiles 6 % apart.
    noise = round_noise([an_epoch(0.0, 0.03), an_epoch(0.2, 0.03)])

    assert noise == pytest.approx(0.06 / 1.349, rel=1e-3)


def test_without_a_round_there_is_no_noise_to_know() -> None:
    empty = Epoch(values={}, blocks={}, rounds=9, discarded=9, setup_s=1.0, cost_s=2.0)

    assert round_noise([empty]) is None


def test_a_comparison_without_an_answer_says_so() -> None:
    found = Confirmation(comparisons={}, epochs=(), is_too_noisy=False, ran_out=True)

    assert observed(found)["verdict"] == "no-answer"


def test_a_comparison_is_kept_with_its_epochs_and_discards() -> None:
    estimate = Estimate(value=1.0, low=0.9, high=1.1)
    comparison = Comparison(
        config=TrialConfig(), verdict=Verdict.EQUIVALENT, speedup=estimate, remeasure=estimate, margin=math.inf,
        noise_floor=0.0, epochs=(0.1,), clone_epochs=(0.2,),
    )  # fmt: skip
    epochs = (an_epoch(0.1, 0.0),)
    found = observed(Confirmation(comparisons={SUBJECT: comparison}, epochs=epochs, is_too_noisy=False, ran_out=False))

    assert found["verdict"] == "equivalent"
    assert (found["epochs"], found["rounds"], found["discarded"]) == ([0.1], 10, 1)
    assert found["margin"] is None  # infinite: JSON has no such number


def test_a_difference_that_no_margin_hides_is_false_over_equals() -> None:
    assert not is_false_without_margin(QUIET)
    assert is_false_without_margin([0.0040, 0.0041, 0.0042, 0.0043])
    assert not is_false_without_margin([0.0040, 0.0041, 0.0042])  # no look was reached


def test_what_an_early_look_found_stays_found() -> None:
    assert is_false_without_margin([0.0040, 0.0041, 0.0042, 0.0043, -0.1, 0.1])


@pytest.mark.parametrize(
    ("verdict", "margin", "wrong"),
    [
        ("faster", 0.01, True),
        ("slower", 0.01, False),
        ("inconclusive", 0.01, False),
        ("too-noisy", None, False),
        ("equivalent", 0.01, True),
        ("equivalent", 0.08, True),  # nothing is called equal within more than 2 %
    ],
)
def test_a_slow_one_may_be_doubted_but_not_praised(verdict: str, margin: float | None, wrong: bool) -> None:
    assert is_wrong(pair(verdict, margin=margin), slowdown=0.05) is wrong


# The experiments' verdicts.


def test_equals_that_differ_are_counted_with_and_without_the_margin() -> None:
    apart = [0.0040, 0.0041, 0.0042, 0.0043]

    without, tool = equals.judge([pair(), pair("faster"), pair(epochs=apart)]).evidence

    assert (without.row, without.target.measured) == (1, 1.0)
    assert (tool.row, tool.target.measured, tool.target.unit) == (1, 1.0, "of 3")


def test_a_comparison_too_noisy_for_an_answer_proves_nothing_on_an_idle_machine() -> None:
    _, tool = equals.judge([pair("too-noisy"), pair("no-answer")]).evidence

    assert tool.target.is_met is None
    assert "2 of 2" in tool.cause


def test_beside_a_neighbour_too_noisy_is_a_right_answer() -> None:
    seen = [pair("too-noisy", kind="equal")] * 9 + [pair("inconclusive", kind="slowed"), pair("slower", kind="slowed")]

    same, slow = hostile.judge(seen).evidence

    assert same.target.is_met and same.target.unit == "of 9"
    assert slow.target.is_met and slow.target.unit == "of 2"
    assert {same.row, slow.row} == {3}


def test_beside_a_neighbour_a_wrong_sign_is_a_miss_and_a_blind_comparison_is_not_judged() -> None:
    findings = hostile.judge([pair("faster", kind="slowed"), pair("faster", kind="blind")])
    same, slow = findings.evidence

    assert slow.target.is_met is False
    assert same.target.is_met is None
    assert findings.results["blind_verdicts"] == "1 faster"


def slow_pairs(verdicts: Mapping[float, list[str]], noise: float | None = 0.02) -> list[Observation]:
    return [pair(word, share=share, round_noise=noise) for share, words in verdicts.items() for word in words]


def test_each_slow_down_has_a_line_and_all_signs_one() -> None:
    seen = slow_pairs({0.10: ["slower"] * 4, 0.05: ["slower", "slower"], 0.03: ["inconclusive"] * 3, 0.02: ["faster"]})

    ten, five, three, two, sign = power.judge(seen).evidence

    assert (ten.target.is_met, five.target.is_met, three.target.is_met) == (True, True, False)
    assert (ten.row, ten.target.unit) == (4, "of 4")
    assert two.target.at_least == 0.0
    assert (sign.target.measured, sign.target.is_met) == (1.0, False)


@pytest.mark.parametrize(("verdict", "noise"), [("inconclusive", 0.09), ("too-noisy", 0.02), ("no-answer", None)])
def test_surroundings_worse_than_promised_for_are_named_and_not_counted(verdict: str, noise: float | None) -> None:
    ten, *_ = power.judge(slow_pairs({0.10: [verdict] * 4}, noise=noise)).evidence

    assert ten.target.is_met is None
    assert "4 of 4" in ten.cause


def test_a_slow_down_that_there_was_no_time_for_is_not_measured() -> None:
    five = power.judge(slow_pairs({0.10: ["slower"]})).evidence[1]

    assert five.target.is_met is None
    assert five.cause == "there was no time for it"


def nodes(epochs: list[float], verdicts: list[str]) -> list[Observation]:
    return [pair(kind="reference", epochs=epochs), *(pair(word, kind="pair") for word in verdicts)]


def test_what_nodes_cost_decides_what_the_tool_should_have_found() -> None:
    found, sign = extra_nodes.judge(nodes([0.08, 0.081, 0.079, 0.08], ["slower", "slower", "inconclusive"])).evidence

    assert found.target.at_least == 2.0  # of 3, at a promise of 95 %
    assert found.target.is_met and sign.target.is_met
    assert "cost 8.0%" in found.setting


def test_nodes_that_cost_little_promise_no_more_than_the_right_sign() -> None:
    found, sign = extra_nodes.judge(nodes([0.02, 0.021, 0.019, 0.02], ["inconclusive", "faster"])).evidence

    assert found.target.at_least == 0.0
    assert sign.target.is_met is False


def test_nodes_whose_cost_is_not_known_judge_nobody() -> None:
    (line,) = extra_nodes.judge(nodes([0.08, -0.09, 0.07, -0.05], ["faster"])).evidence

    assert line.target.is_met is None
    assert "could not be told from nothing" in line.cause


def tune(verdict: str) -> Observation:
    return {"model": "m", "verdict": verdict, "best_of_the_screen_log": -0.02}


@pytest.mark.parametrize(("wrong", "is_met"), [(0, True), (2, False)])
def test_a_winner_among_equals_is_false(wrong: int, is_met: bool) -> None:
    (line,) = tunes.judge([tune("faster")] * wrong + [tune("no-faster")] * (8 - wrong)).evidence

    assert (line.row, line.target.is_met) == (2, is_met)


def test_a_tune_that_was_too_noisy_proves_nothing() -> None:
    (line,) = tunes.judge([tune("too-noisy")] * 3).evidence

    assert line.target.is_met is None
    assert "3 of 3" in line.cause


def test_equals_have_names_of_their_own_and_nothing_else() -> None:
    stock = TrialConfig()
    found = tunes.equals(stock, 16)

    assert len({config.key for config in (stock, *found)}) == 17
    assert {config.options.parallel for config in found} == {False}
    assert {config.recipe for config in found} == {stock.recipe}


CLAIM = MappingProxyType({"verdict": "faster", "reason": "r", "winner": "w", "estimate": 2.0})


def again(estimate: float | None, *, is_inside: bool = True, verdict: str = "faster") -> Observation:
    found = {"estimate": estimate, "is_inside": is_inside, "verdict": verdict}
    return {"kind": "bench", "model": "m", "after_s": 1800.0, "found": found}


def test_later_means_inside_and_on_the_same_side() -> None:
    seen = [again(1.9), again(2.4, is_inside=False), again(0.9, is_inside=False, verdict="slower"), again(2.0)]

    inside, side = remeasured.judge(seen).evidence

    assert (inside.target.measured, side.target.measured) == (2.0, 3.0)
    assert inside.row == side.row == 6
    assert "30 to 30 minutes later" in inside.setting


def test_no_answer_later_is_not_inside_and_has_no_sign() -> None:
    inside, side = remeasured.judge([again(None, is_inside=False)]).evidence

    assert (inside.target.unit, side.target.unit) == ("of 1", "of 0")


def test_where_nothing_was_claimed_there_is_nothing_to_find_again() -> None:
    claim = dict(CLAIM) | {"verdict": "no-faster"}
    lines = remeasured.judge([{"kind": "tune", "model": "m", "claim": claim, "error": None}]).evidence

    assert {line.target.is_met for line in lines} == {None}
    assert "1 no-faster" in lines[0].cause


def sets(bias: float, *, count: int = 6, seed: int = 0) -> list[Observation]:
    """Rounds of three processes, 0, 5 and 9 % apart by luck, in which whoever comes first is slower by `bias`."""
    generator = random.Random(seed)
    found: list[Observation] = []
    for _ in range(count):
        orders, values = [], []
        for _ in range(30):
            order = ["a", "b", "c"]
            generator.shuffle(order)
            luck = {"a": 0.0, "b": 0.05, "c": 0.09}
            orders.append(order)
            values.append({key: luck[key] + bias * (key == order[0]) + generator.gauss(0.0, 0.002) for key in luck})
        found.append({"model": "m", "orders": orders, "values": values, "discarded": 0})
    return found


@pytest.mark.parametrize(("bias", "is_met"), [(0.0, True), (0.03, False), (-0.03, False)])
def test_a_first_place_that_matters_is_seen_through_the_luck_of_processes(bias: float, is_met: bool) -> None:
    findings = position.judge(sets(bias))
    (line,) = findings.evidence

    assert line.target.is_met is is_met
    assert findings.results["bias_percent"].value == pytest.approx(100 * bias, abs=0.3)


def test_disturbed_rounds_say_nothing_about_places() -> None:
    (line,) = position.judge([{"model": "m", "orders": [], "values": [], "discarded": 30}] * 4).evidence

    assert line.target.is_met is None
    assert "4 of 4" in line.cause


def test_a_quota_that_cannot_be_set_is_said_and_not_passed_over() -> None:
    (line,) = quota.judge([{"refused": "read-only"}]).evidence

    assert line.target.is_met is None
    assert line.cause == "read-only"


def test_the_group_that_rules_the_cpu_is_found_in_both_versions(tmp_path: Path) -> None:
    (tmp_path / "cpu" / "mine").mkdir(parents=True)
    (tmp_path / "cpu" / "mine" / "cgroup.procs").touch()
    (tmp_path / "yours").mkdir()
    (tmp_path / "yours" / "cgroup.controllers").touch()

    assert quota.group_of("4:memory:/x\n2:cpu,cpuacct:/mine\n0::/", tmp_path) == tmp_path / "cpu" / "mine"
    assert quota.group_of("0::/yours", tmp_path) == tmp_path / "yours"
    assert quota.group_of("0::/gone", tmp_path) is None


def test_a_group_that_cannot_be_made_gives_its_reason(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("1:cpu:/mine\n")
    home = tmp_path / "cpu" / "mine"
    home.mkdir(parents=True)
    (home / "cgroup.procs").touch()
    # No mere permission: whoever runs this may be root.
    (home / f"infer-opt-prove-{os.getpid()}").write_text("in the way")

    with quota.quota(1.5, tmp_path, membership) as refused:
        assert refused is not None and "takes no group" in refused
    with quota.quota(1.5, tmp_path, tmp_path / "nothing") as refused:
        assert refused is not None and "no control group" in refused


def test_the_overhead_is_judged_as_its_own_program_does() -> None:
    target = {"name": "n", "unit": "ns a run", "measured": 80.0, "high": 95.0, "at_most": 1000.0, "at_least": None}
    (line,) = overhead.judge([{"targets": [target | {"is_met": True}], "error": None}]).evidence

    assert (line.row, line.target.high, line.target.is_met) == (11, 95.0, True)


def test_an_overhead_that_was_not_measured_is_not_kept() -> None:
    (line,) = overhead.judge([{"targets": [], "error": "it crashed"}]).evidence

    assert (line.target.is_met, line.cause) == (None, "it crashed")
