"""What a profile is explained by: looks at what slows nodes down, where there is time for them."""

from pathlib import Path
from typing import Any

import pytest

from fakes import MACHINE
from infer_opt import explaining
from infer_opt.budget import Budget
from infer_opt.causes import Cause
from infer_opt.config import Provider, SessionOptions
from infer_opt.diagnoses import Circumstances
from infer_opt.errors import ModelError
from infer_opt.explaining import Limits, explain, find_circumstances
from infer_opt.glancing import Glance
from infer_opt.profiles.nodes import MemoryCourse
from infer_opt.results import Caution, Note
from infer_opt.tracing import Subject
from made_cases import Graph, products

SUBJECT = Subject(artefact=Path("m.onnx"), options=SessionOptions(), feeds=Path("f.npz"))


def seen(*, us: float) -> Glance:
    graph = Graph()
    graph.add("Mul", "x w0", "y", us=us)
    return Glance(
        nodes=tuple(graph.nodes),
        memory=MemoryCourse(alive_bytes=(), peak_index=0, holders=(), weight_bytes=0),
        runtime_version="1.30.0",
        placement=None,
        profiled_ns=us * 1000,
        subnormal_weights=(("w0", 0.5),),
        cores_after=0.9,
    )


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[SessionOptions]:
    """With what options a process was asked to look."""
    found: list[SessionOptions] = []

    def run_task(target: str, artefact: Path, options: SessionOptions, feeds: Path, **settings: Any) -> Glance:
        found.append(options)
        return seen(us=10.0 if options.flush_denormals else 100.0)

    monkeypatch.setattr(explaining, "run_task", run_task)
    return found


def circumstances(subject: Subject = SUBJECT, *, total_s: float = 60.0) -> Circumstances:
    budget = Budget(total_s=total_s)
    return find_circumstances(MACHINE, subject, before=None, wall_ns=1e9, budget=budget, show=lambda progress: None)


def test_two_processes_look_at_what_subnormal_numbers_cost(looks: list[SessionOptions]) -> None:
    around = circumstances()

    assert [options.flush_denormals for options in looks] == [False, True]
    ((name, plain_ns, flushed_ns),) = ((one.node, one.plain_ns, one.flushed_ns) for one in around.flushed)
    assert (name, plain_ns, flushed_ns) == ("mul0", 100_000.0, 10_000.0)
    assert (around.cores_after, around.subnormal_weights) == (0.9, (("w0", 0.5),))
    assert around.has_vnni is False


@pytest.mark.parametrize(
    ("subject", "total_s"),
    [
        (SUBJECT, 1.0),
        (Subject(artefact=Path("m"), options=SessionOptions(flush_denormals=True), feeds=Path("f")), 60.0),
        (Subject(artefact=Path("m"), options=SessionOptions(provider=Provider.CUDA), feeds=Path("f")), 60.0),
        (Subject(artefact=Path("m"), options=SessionOptions(), feeds=Path("f"), buckets=(("n", (8,)),)), 60.0),
    ],
)
def test_nobody_looks_where_there_is_no_time_or_nothing_to_compare(
    looks: list[SessionOptions], subject: Subject, total_s: float
) -> None:
    around = circumstances(subject, total_s=total_s)

    assert looks == []
    assert around.flushed == ()
    assert around.cores_after is None


def test_a_look_that_fails_leaves_the_profile_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_task(*arguments: object, **settings: object) -> Glance:
        raise ModelError("spoilt")

    monkeypatch.setattr(explaining, "run_task", run_task)

    assert circumstances().flushed == ()


def test_a_profile_is_diagnosed_with_and_without_floors() -> None:
    graph = products(us=100.0)
    graph.add("Transpose", "h2", "y", us=100.0)
    why = Note(caution=Caution.LOW_CEILING, text="there are no floors")

    found = explain(graph.profile(), Limits(ceilings=None, notes=(why,)), Circumstances())

    assert [one.cause for one in found.diagnoses] == [Cause.TRANSPOSES]
    assert found.roofline is None
    assert why in found.notes
