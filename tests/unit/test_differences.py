from dataclasses import replace

import pytest

from infer_opt.differences import compare
from infer_opt.errors import EvidenceError
from infer_opt.profiles.comparing import OperatorDifference, ProfileDifference
from infer_opt.profiles.profile import Profile
from infer_opt.results import Caution
from made_differences import MACHINE, NODES, profile, slowed


def clear(rows: tuple[OperatorDifference, ...]) -> list[str]:
    return [row.name for row in rows if row.is_clear]


def anything(found: ProfileDifference) -> bool:
    return found.is_clear or bool(clear(found.operators) + clear(found.modules) + clear(found.nodes))


def test_a_slower_operator_is_found_and_accounts_for_the_difference() -> None:
    found = compare(profile(seed=1, nodes=slowed("soft1", 2.0)), profile(seed=2), paired=True)

    softmax = found.operators[0]
    assert (softmax.name, softmax.is_clear, softmax.subject_nodes, softmax.reference_nodes) == ("Softmax", True, 2, 2)
    assert softmax.difference.low < 60_000 < softmax.difference.high
    assert softmax.share is not None and 0.6 < softmax.share < 1.4
    assert found.is_clear and found.total.low < 60_000 < found.total.high
    assert found.nodes[0].name == "soft1"
    assert clear(found.nodes) == ["soft1"]


def test_a_module_is_found_by_the_nodes_in_it() -> None:
    found = compare(profile(seed=3, nodes=slowed("gelu", 3.0)), profile(seed=4), paired=True)

    assert clear(found.modules) == ["head"]


@pytest.mark.parametrize("paired", [True, False])
def test_two_equal_models_differ_in_nothing_nearly_always(paired: bool) -> None:
    wrong = sum(
        anything(compare(profile(seed=seed, calls=12), profile(seed=10_000 + seed, calls=12), paired=paired))
        for seed in range(120)
    )

    assert wrong <= 6  # 5 %


def test_a_coarse_clock_finds_no_more_in_two_equal_models() -> None:
    tiny = (*NODES, *((f"tiny{one}", "Squeeze", "head", 1.3 + one / 7) for one in range(5)))

    wrong = sum(
        anything(
            compare(
                profile(seed=seed, nodes=tiny, calls=12, step_ns=1000),
                profile(seed=10_000 + seed, nodes=tiny, calls=12, step_ns=1000),
                paired=True,
            )
        )
        for seed in range(60)
    )

    assert wrong <= 3


def test_what_the_machine_does_meanwhile_cancels_in_pairs_alone() -> None:
    drift = (1.0, 1.3, 0.8, 1.5, 1.1, 0.9)
    subject = profile(seed=5, nodes=slowed("mm1", 1.2), drift=drift)
    reference = profile(seed=6, drift=drift)

    assert "MatMul" in clear(compare(subject, reference, paired=True).operators)
    assert clear(compare(subject, reference, paired=False).operators) == []


def test_an_operator_that_only_one_side_has_is_shown_as_such() -> None:
    found = compare(profile(seed=7), profile(seed=8, nodes=NODES[:-1]), paired=True)

    gelu = next(row for row in found.operators if row.name == "com.microsoft.Gelu")
    assert gelu.reference is None and gelu.reference_nodes == 0
    assert gelu.is_clear and gelu.difference.value == pytest.approx(70_000, rel=0.05)
    assert "gelu" not in {row.name for row in found.nodes}


def test_nodes_of_one_name_and_different_operators_are_not_compared() -> None:
    other = tuple((name, "Gemm" if name == "mm1" else kind, module, us) for name, kind, module, us in NODES)

    found = compare(profile(seed=1), profile(seed=2, nodes=other), paired=False)

    assert "mm1" not in {row.name for row in found.nodes}
    assert {"Gemm", "MatMul"} <= {row.name for row in found.operators}


def with_origins(whole: Profile, **origins: tuple[str, ...]) -> Profile:
    return replace(
        whole,
        nodes=tuple(
            replace(times, node=replace(times.node, origins=origins.get(times.node.name, (times.node.name,))))
            for times in whole.nodes
        ),
    )


def test_what_one_side_has_fused_is_compared_with_its_parts_on_the_other() -> None:
    fused = (("mm1", "com.microsoft.FusedMatMul", "encoder.0", 200.0), *NODES[2:4], *NODES[5:])
    subject = with_origins(profile(seed=1, nodes=fused), mm1=("mm1", "add1"))
    reference = with_origins(profile(seed=2))

    found = {row.name: row for row in compare(subject, reference, paired=True).nodes}

    place = found["mm1 + add1"]
    assert (place.subject_nodes, place.reference_nodes, place.is_clear) == (1, 2, True)
    assert place.difference.value == pytest.approx(-208_000, rel=0.05)
    assert "mm2" not in found and "soft1" in found


def test_many_nodes_at_one_place_are_named_by_the_first_few() -> None:
    subject = with_origins(profile(seed=1, nodes=(("all", "Fused", "", 900.0),)), all=tuple(node[0] for node in NODES))

    (row,) = compare(subject, with_origins(profile(seed=2)), paired=True).nodes
    assert row.name == "mm1 + mm2 + soft1 + 4 more"


def test_without_a_difference_of_latencies_no_share_of_it_is_explained() -> None:
    found = compare(profile(seed=11), profile(seed=12), paired=True)

    assert not found.is_clear
    assert {row.share for row in found.operators} == {None}


def test_models_without_modules_are_compared_by_operators_alone() -> None:
    bare = tuple((name, kind, "", us) for name, kind, _, us in NODES)

    assert compare(profile(nodes=bare), profile(seed=1, nodes=bare), paired=True).modules == ()


def test_a_microsecond_more_by_a_clock_of_microseconds_is_no_difference() -> None:
    def made(us: float) -> tuple[tuple[str, str, str, float], ...]:
        return (("tiny", "Add", "", us), ("mm", "MatMul", "", 400.0))

    # 1.98 and 2.02 us: every call of the first reads 1, and of the second 2, in every process.
    one, other = (replace(profile(seed=9, nodes=made(us)), processes=6) for us in (2.0, 3.0))
    one, other = (
        replace(
            whole,
            nodes=tuple(
                replace(times, raw_ns=((reading,) * 30,) * 6) if times.node.name == "tiny" else times
                for times in whole.nodes
            ),
        )
        for whole, reading in ((one, 1137), (other, 2137))
    )

    assert "Add" not in clear(compare(other, one, paired=True).operators)


def test_saved_profiles_say_that_they_are_not_paired() -> None:
    found = compare(profile(seed=1), profile(seed=2, runtime="1.23.2"), paired=False)

    assert [note.caution for note in found.notes] == [Caution.UNPAIRED, Caution.OTHER_RUNTIME]
    assert found.is_same_machine and not found.paired


def test_another_machine_is_named() -> None:
    there = replace(MACHINE, fingerprint="there", cpu_model="Intel Xeon")

    found = compare(profile(seed=1), profile(seed=2, machine=there), paired=False)

    assert not found.is_same_machine
    assert "Intel Xeon" in found.notes[0].text
    assert found.notes[0].caution is Caution.OTHER_MACHINE


def test_one_process_a_side_proves_nothing() -> None:
    found = compare(profile(processes=1, nodes=slowed("mm1", 5.0)), profile(seed=1, processes=1), paired=True)

    assert not anything(found)
    assert found.notes[-1].caution is Caution.PROVISIONAL


def test_what_lies_outside_of_the_nodes_is_told() -> None:
    slow = profile(seed=1)
    call = replace(
        slow.call, latency_raw_ns=tuple(tuple(value + 200_000 for value in row) for row in slow.call.latency_raw_ns)
    )

    found = compare(replace(slow, call=call), profile(seed=2), paired=True)

    assert found.outside is not None and found.outside.low < 200_000 < found.outside.high
    assert clear(found.operators) == []


def test_profiles_without_raw_times_cannot_be_compared() -> None:
    bare = profile()

    with pytest.raises(EvidenceError, match="holds no times of single calls"):
        compare(replace(bare, call=replace(bare.call, latency_raw_ns=())), bare, paired=False)
