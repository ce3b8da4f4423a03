import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import infer_opt.comparing as comparing
from infer_opt.budget import Budget
from infer_opt.comparing import profile_against, read_saved
from infer_opt.errors import ConfigError, StorageError
from infer_opt.profiles.documents import to_document
from infer_opt.request import Request
from infer_opt.results import Caution, Progress
from made_differences import profile, slowed


def show(progress: Progress) -> None:
    pass


def saved(folder: Path, name: str, **made: Any) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(to_document(profile(**made)), default=str))
    return path


def against(subject: Path, other: Path | None, runtime_env: Path | None = None) -> Any:
    return profile_against(
        Request(model=subject), against=other, runtime_env=runtime_env, budget=Budget(total_s=9), show=show
    )


def test_two_saved_profiles_are_compared_without_measuring(tmp_path: Path) -> None:
    slow, usual = saved(tmp_path, "slow", seed=1, nodes=slowed("mm1", 2.0)), saved(tmp_path, "usual", seed=2)

    subject, reference, found = against(slow, usual)

    assert subject.subject == f"net.onnx ({slow})" and reference.subject == f"net.onnx ({usual})"
    assert found.operators[0].name == "MatMul" and found.operators[0].is_clear
    assert not found.paired
    assert found.notes[0].caution is Caution.UNPAIRED


def test_a_saved_profile_is_held_against_what_is_measured_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measured(request: Request, **_: object) -> Any:
        asked.append(request.model)
        return profile(seed=3)

    monkeypatch.setattr(comparing, "measured", measured)
    usual = saved(tmp_path, "usual", seed=2)

    _, reference, _ = against(Path("net.onnx"), usual)
    assert reference.subject == f"net.onnx ({usual})"
    against(usual, Path("other.onnx"))
    assert asked == [Path("net.onnx"), Path("other.onnx")]


def test_a_saved_profile_cannot_be_tried_with_another_runtime(tmp_path: Path) -> None:
    usual = saved(tmp_path, "usual")

    for subject, other in ((usual, None), (Path("net.onnx"), usual)):
        with pytest.raises(ConfigError, match="cannot be measured again"):
            against(subject, other, tmp_path)


def test_with_nothing_to_compare_there_is_no_comparison() -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        against(Path("net.onnx"), None)


def test_a_file_that_is_no_profile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"kind": "something else"}')

    with pytest.raises(ConfigError, match="not a profile"):
        read_saved(tmp_path / "other.json")
    with pytest.raises(StorageError):
        read_saved(tmp_path / "nowhere.json")
    assert read_saved(tmp_path / "model.onnx") is None


@dataclass
class Measured:
    """Stands for what is measured: who came when, and which pairs are disturbed."""

    order: list[tuple[str, bool]]
    disturbed: frozenset[int] = frozenset()

    def timed(self, ready: Any, *, seconds: float, profiled_first: bool) -> tuple[Any, str | None]:
        assert seconds > 0
        self.order.append((ready.name, profiled_first))
        pair = (len(self.order) - 1) // 2
        return f"{ready.name}{pair}", "steal" if pair in self.disturbed else None


def sides(seed: int = 1) -> tuple[Any, Any]:
    setup = SimpleNamespace(generator=random.Random(seed))
    return SimpleNamespace(name="subject", setup=setup), SimpleNamespace(name="reference", setup=setup)


def paired(monkeypatch: pytest.MonkeyPatch, measured: Measured, *, total_s: float = 100.0, precise: bool = True) -> Any:
    clock = iter(range(10**6))
    monkeypatch.setattr(comparing, "timed", measured.timed)
    monkeypatch.setattr(comparing, "_is_precise", lambda *_: precise)
    budget = Budget(total_s=total_s, clock=lambda: float(next(clock)) / 10)
    return comparing._pairs(*sides(), budget=budget, show=show)


def test_both_sides_run_in_every_pair_and_who_comes_first_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured([])

    found = paired(monkeypatch, measured, precise=False)

    names = [name for name, _ in measured.order]
    firsts = names[::2]
    assert all({one, other} == {"subject", "reference"} for one, other in zip(names[::2], names[1::2], strict=True))
    assert {"subject", "reference"} == set(firsts)
    assert found.quiet[3] == ("subject3", "reference3")
    assert len(found.quiet) == comparing.MOST_PAIRS


def test_both_of_a_pair_open_their_sessions_in_one_order_which_changes_from_pair_to_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = Measured([])
    paired(monkeypatch, measured)

    kinds = [first for _, first in measured.order]
    assert kinds == [False, False, True, True, False, False, True, True, False, False]


def test_a_pair_that_was_disturbed_counts_only_where_there_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    found = paired(monkeypatch, Measured([], frozenset({0, 2})))

    assert [pair[0] for pair in found.used] == ["subject1", "subject3", "subject4", "subject5", "subject6"]
    assert found.notes() == []
    noisy = paired(monkeypatch, Measured([], frozenset(range(20))))
    assert len(noisy.used) == 5 and noisy.notes()[0].caution is Caution.TOO_NOISY


def test_no_pair_is_begun_that_there_is_no_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(paired(monkeypatch, Measured([]), total_s=1.0).used) < 5


def test_two_runtimes_of_one_model_are_told_apart_by_their_versions() -> None:
    one, other = comparing._told_apart(profile(), profile(runtime="1.23.2"))

    assert (one.subject, other.subject) == ("net.onnx (ONNX Runtime 1.32.0)", "net.onnx (ONNX Runtime 1.23.2)")
    assert comparing._told_apart(profile(), replace(profile(), subject="b.onnx"))[0].subject == "net.onnx"
