"""What all rules have in common: the order of findings, and that a model which is well has none."""

from dataclasses import replace

from infer_opt.causes import Cause
from infer_opt.diagnoses import RULES, Circumstances, FlushedTime, diagnose
from made_cases import MS, US, Graph, products
from made_profiles import made_profile


def test_a_model_that_is_well_has_no_finding() -> None:
    profile = products().profile()

    assert diagnose(profile) == ()
    around = Circumstances(
        threads=2,
        allowed_cores=2.0,
        quota=None,
        cores_after=0.01,
        has_vnni=True,
        items_per_s=((1, 1000.0), (2, 1010.0), (4, 1005.0)),
        flushed=(FlushedTime(node="matmul0", plain_ns=1.0 * MS, flushed_ns=1.01 * MS),),
    )
    assert diagnose(profile, around) == ()


def test_every_cause_has_a_rule_and_every_rule_its_own_cause() -> None:
    assert len(RULES) == len(Cause)
    assert {rule.__name__.replace("_", "-") for rule in RULES} == set(Cause)


def test_what_could_win_most_comes_first_and_what_is_no_matter_of_a_call_last() -> None:
    graph = products(us=400.0)
    graph.add("Transpose", "h2", "t", us=100.0)
    graph.add("MatMulInteger", "t w9", "y", us=200.0)
    around = Circumstances(
        has_vnni=False,
        cores_after=1.5,
        flushed=(FlushedTime(node="matmul0", plain_ns=400.0 * US, flushed_ns=10.0 * US),),
    )

    found = diagnose(graph.profile(), around)

    causes = [one.cause for one in found]
    assert causes[:2] == [Cause.DENORMALS, Cause.TRANSPOSES]
    assert set(causes[2:]) == {Cause.SPINNING, Cause.INT8_WITHOUT_VNNI}
    assert [one.gain_ns for one in found[2:]] == [None, None]


def test_what_would_win_less_than_three_per_cent_of_a_call_is_not_worth_a_word() -> None:
    graph = products()
    graph.add("Transpose", "h2", "y", us=85.0)
    assert diagnose(graph.profile()) == ()

    graph.add("Transpose", "y", "z", us=20.0)
    (found,) = diagnose(graph.profile())

    assert found.cause is Cause.TRANSPOSES
    assert found.nodes == ("transpose3", "transpose4")


def test_a_profile_without_nodes_or_without_time_has_no_finding() -> None:
    assert diagnose(Graph().profile()) == ()
    assert diagnose(replace(made_profile(), nodes=())) == ()


def test_every_finding_says_what_shows_it_and_what_to_do() -> None:
    graph = products(us=100.0)
    for number in range(20):
        graph.add("Sin", f"s{number}", f"s{number + 1}", us=50.0)
    graph.add("Transpose", "s20", "y", us=500.0)

    for one in diagnose(graph.profile(), Circumstances(threads=9, allowed_cores=2.0, quota=1.5, cores_after=2.0)):
        assert one.what.endswith(".") and one.action.endswith(".")
        assert one.evidence and all(any(char.isdigit() for char in shown) for shown in one.evidence)
