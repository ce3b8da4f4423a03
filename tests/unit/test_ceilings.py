"""The ceilings of this machine are measured once, and again where they may be wrong."""

import dataclasses
from pathlib import Path

import pytest

from fakes import MACHINE
from infer_opt import ceilings
from infer_opt.ceilings import cautions, ceilings_of, threads_of
from infer_opt.config import Provider, SessionOptions
from infer_opt.errors import ConfigError
from infer_opt.profiles.roofline import Ceilings
from infer_opt.results import Caution
from infer_opt.roofline.keeping import Setting
from made_profiles import around, made_profile, made_roofline

STOCK = SessionOptions()


class Measuring:
    """Stands in for the process that measures: each time a little more, disturbed for so many times."""

    def __init__(self, *, disturbed: int = 0) -> None:
        self.asked: list[Setting] = []
        self.disturbed = disturbed

    def __call__(self, target: str, setting: Setting, levels: object, *, timeout_s: float) -> Ceilings:
        assert target == "infer_opt.ceilings:measure_here"
        self.asked.append(setting)
        return dataclasses.replace(
            made_roofline().ceilings,
            operations_per_s=(("float32", around(100.0 * len(self.asked))),),
            disturbed_by="others" if len(self.asked) <= self.disturbed else None,
        )


def ask(
    cache: Path, *, version: str = "1.0", options: SessionOptions = STOCK, again: bool = False, more: bool = False
) -> Ceilings:
    return ceilings_of(MACHINE, options=options, runtime="onnx", version=version, cache=cache, again=again, more=more)


def peak(found: Ceilings) -> float:
    return dict(found.operations_per_s)["float32"].value


def test_a_quiet_measurement_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring()
    monkeypatch.setattr(ceilings, "run_task", measuring)

    assert ask(tmp_path) == ask(tmp_path)
    assert [one.threads for one in measuring.asked] == [2]


def test_another_runtime_version_or_number_of_threads_is_measured_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring = Measuring()
    monkeypatch.setattr(ceilings, "run_task", measuring)

    ask(tmp_path)
    ask(tmp_path, version="1.1")
    ask(tmp_path, options=SessionOptions(intra_threads=1))

    assert [(one.version, one.threads) for one in measuring.asked] == [("1.0", 2), ("1.1", 2), ("1.0", 1)]


def test_what_was_disturbed_is_measured_again_and_the_most_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measuring = Measuring(disturbed=1)
    monkeypatch.setattr(ceilings, "run_task", measuring)

    first, second, third = (ask(tmp_path) for _ in range(3))

    assert (first.disturbed_by, second.disturbed_by) == ("others", None)
    assert (peak(first), peak(second)) == (100.0, 200.0)
    assert third == second
    assert len(measuring.asked) == 2


def test_a_machine_that_is_never_quiet_is_measured_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring(disturbed=99)
    monkeypatch.setattr(ceilings, "run_task", measuring)

    found = [ask(tmp_path) for _ in range(5)]

    assert len(measuring.asked) == 3
    assert [one.measurements for one in found] == [1, 2, 3, 3, 3]
    assert found[-1].disturbed_by == "others"


def test_asked_again_what_was_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring()
    monkeypatch.setattr(ceilings, "run_task", measuring)

    ask(tmp_path)
    found = ask(tmp_path, again=True)

    assert (peak(found), found.measurements) == (200.0, 1)
    assert ask(tmp_path) == found


@pytest.mark.parametrize("runtime", ["torch", "openvino", "else"])
def test_another_runtime_which_changes_what_it_is_given_is_refused(tmp_path: Path, runtime: str) -> None:
    with pytest.raises(ConfigError, match=f"with ONNX Runtime, not with {runtime}"):
        ceilings_of(MACHINE, options=STOCK, runtime=runtime, version="1.0", cache=tmp_path)


def test_asked_for_more_the_most_of_both_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring = Measuring()
    monkeypatch.setattr(ceilings, "run_task", measuring)

    ask(tmp_path)
    found = ask(tmp_path, more=True)

    assert (peak(found), found.measurements, len(measuring.asked)) == (200.0, 2, 2)
    assert ask(tmp_path) == found


@pytest.mark.parametrize(
    ("physical", "usable", "options", "threads"),
    [
        (8, 16.0, SessionOptions(), 8),
        (8, 1.5, SessionOptions(), 1),
        (8, 0.5, SessionOptions(), 1),
        (8, 16.0, SessionOptions(intra_threads=3), 3),
        (8, 16.0, SessionOptions(provider=Provider.CUDA), 0),
    ],
)
def test_a_session_has_as_many_threads_as_it_was_told_or_as_there_are_cores(
    physical: int, usable: float, options: SessionOptions, threads: int
) -> None:
    machine = dataclasses.replace(MACHINE, physical_cores=physical, usable_cores=usable)

    assert threads_of(machine, options) == threads


def test_floors_that_may_be_too_high_come_with_a_caution() -> None:
    found, nodes = made_roofline(), made_profile().nodes
    quick = dataclasses.replace(nodes[0], time=around(50_000.0))
    beside = dataclasses.replace(found, ceilings=dataclasses.replace(found.ceilings, disturbed_by="steal"))

    assert cautions(found, nodes) == ()
    (faster,) = cautions(found, (quick, *nodes[1:]))
    assert "a node was faster than the floor, /encoder/fc/MatMul for one" in faster.text
    (disturbed,) = cautions(beside, nodes)
    assert "(steal)" in disturbed.text
    assert {faster.caution, disturbed.caution} == {Caution.LOW_CEILING}
