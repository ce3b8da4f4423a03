from dataclasses import replace

import pytest

from golden.tunings import FASTER
from infer_opt.causes import Cause, Diagnosis
from infer_opt.reports import diagnoses, sentences
from infer_opt.results import Search

HEAVY = Diagnosis(
    cause=Cause.MEMORY_BOUND,
    what="Weights are read from memory once a call and used for few items: most of a call waits for memory.",
    evidence=("3 nodes read 50.3 MB of weights a call", "they take 2.00 ms, 80 % of a call: 25.2 GB/s"),
    action="Quantise the weights to 8 bits (infer-opt tune does, and checks the outputs).",
    gain_ns=1.5e6,
    nodes=("a", "b", "c", "d", "e", "f"),
    knobs=("quantise",),
)
SPINS = Diagnosis(cause=Cause.SPINNING, what="It spins.", evidence=("20 ms",), action="Stop.", knobs=("spin",))
UNKNOWN = replace(SPINS, cause=Cause.OVERSUBSCRIBED)


def test_each_finding_stands_with_what_it_could_win_its_evidence_and_what_to_do() -> None:
    lines = diagnoses.table([HEAVY, SPINS], latency_ns=2.5e6)

    text = "\n".join(lines)
    assert lines[0] == diagnoses.TITLE
    assert " 1. memory-bound: up to 1.50 ms of a call (60 %)" in lines
    assert "    - 3 nodes read 50.3 MB of weights a call" in lines
    assert "    > Quantise the weights to 8 bits (infer-opt tune does, and checks the outputs)." in lines
    assert "nodes: a, b, c, d and 2 more" in text
    assert " 2. spinning: costs no time within a call" in lines
    assert diagnoses.FOOTNOTE not in lines


def test_gains_that_overlap_are_said_not_to_add_up() -> None:
    assert diagnoses.table([HEAVY, replace(HEAVY, cause=Cause.SMALL_BATCH)], latency_ns=2.5e6)[-1] == diagnoses.FOOTNOTE


def test_what_cannot_be_told_is_said_to_be_so() -> None:
    assert diagnoses.gain(UNKNOWN, 1e6) == "how much of a call it costs cannot be told from a profile"


def test_a_model_without_a_finding_is_told_so() -> None:
    assert diagnoses.table([], latency_ns=1e6) == [diagnoses.NOTHING]
    assert diagnoses.markdown([], latency_ns=1e6)[-1] == diagnoses.NOTHING


@pytest.mark.parametrize("width", [40, 60, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, diagnoses.table([HEAVY, SPINS, UNKNOWN], latency_ns=2.5e6, width=width))) <= width


def test_names_from_a_file_do_not_break_a_page() -> None:
    odd = replace(HEAVY, nodes=("a\nb", "c"), evidence=("<script>|x",))

    assert "nodes: a b, c" in "\n".join(diagnoses.table([odd], latency_ns=1e6))
    assert "- &lt;script>\\|x" in "\n".join(diagnoses.markdown([odd], latency_ns=1e6))


def test_a_tuning_says_in_one_sentence_what_it_tried_first() -> None:
    search = Search(strategy="gp", configurations=9, screened=3, suspected=("quantise", "fuse", "intra_threads"))
    found = replace(FASTER, diagnoses=(HEAVY, SPINS), search=search)

    assert sentences.diagnosed(found) == [
        "A short profile of stock: memory-bound, spinning; quantised recipes, fused recipes and thread counts were "
        "tried first."
    ]
    assert sentences.diagnosed(replace(found, search=replace(search, suspected=()))) == [
        "A short profile of stock: memory-bound, spinning."
    ]
    assert sentences.diagnosed(replace(found, diagnoses=())) == []
