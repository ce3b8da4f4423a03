from dataclasses import replace

from fake_source import START_S, alert, leak
from infer_opt.readings.findings import AlertState, Severity
from infer_opt.terminal.ledger import KEPT, Ledger


def test_a_finding_holds_until_it_is_over() -> None:
    ledger = Ledger()
    ledger.add([leak()], [])
    assert [(entry.name, entry.over_s) for entry in ledger.open] == [("memory-leak", None)]

    ledger.add([leak(at_s=START_S + 60, is_over=True)], [])

    assert ledger.open == ()
    assert [(entry.name, entry.since_s, entry.over_s) for entry in ledger.entries] == [
        ("memory-leak", START_S, START_S + 60)
    ]


def test_alerts_fire_and_are_resolved() -> None:
    ledger = Ledger()
    ledger.add([leak()], [alert()])
    assert (ledger.firing, len(ledger.open)) == (1, 2)

    ledger.add([], [alert(state=AlertState.RESOLVED, at_s=START_S + 99)])

    assert (ledger.firing, len(ledger.open)) == (0, 1)
    assert ledger.entries[-1].over_s == START_S + 99


def test_the_most_severe_come_first_and_what_is_over_last() -> None:
    ledger = Ledger()
    remark = replace(leak(), name="remark", severity=Severity.INFO)
    later = replace(leak(), name="later", since_s=START_S + 3)
    ledger.add(
        [remark, leak(), later, replace(leak(), name="gone"), replace(leak(), name="gone", is_over=True)], [alert()]
    )

    assert [entry.name for entry in ledger.entries] == ["gpu-too-hot", "later", "memory-leak", "remark", "gone"]


def test_a_finding_that_is_told_again_is_still_one() -> None:
    ledger = Ledger()
    ledger.add([leak(), leak(what="memory grows by 14 MiB a minute")], [])

    assert [entry.what for entry in ledger.open] == ["memory grows by 14 MiB a minute"]


def test_the_end_of_something_that_was_not_seen_to_begin_is_told_all_the_same() -> None:
    ledger = Ledger()
    ledger.add([leak(is_over=True)], [])

    assert (ledger.open, len(ledger.entries)) == ((), 1)


def test_causes_are_not_lost_with_the_end() -> None:
    ledger = Ledger()
    ledger.add([leak()], [])
    ledger.add([replace(leak(), is_over=True, causes=())], [])

    assert ledger.entries[0].causes == leak().causes


def test_what_is_over_is_not_kept_for_ever() -> None:
    ledger = Ledger()
    for number in range(KEPT + 50):
        finding = replace(leak(), name=f"finding-{number}")
        ledger.add([finding, replace(finding, is_over=True)], [])

    assert len(ledger.entries) == KEPT
    assert ledger.entries[0].name == f"finding-{KEPT + 49}"
