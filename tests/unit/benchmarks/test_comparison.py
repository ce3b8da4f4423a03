"""Who is ahead of whom, from contests that are made up."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks import calls, comparison
from benchmarks.comparison import document, parse, targets_of
from benchmarks.rivals import building, environments, showing
from benchmarks.rivals.building import RIVALS, Rival, made_folder, make, reason
from benchmarks.rivals.standings import (
    HINDSIGHT,
    Contest,
    Kind,
    Standing,
    duels,
    geometric,
    last_look,
    lead,
    names,
    speed,
)

from infer_opt.results import Estimate, Verdict

CLONE = (0.001, -0.001, 0.002, -0.002, 0.0, 0.0)
WOBBLE = (0.002, -0.002, 0.001, -0.001, 0.0, 0.0)


def standing(name: str, kind: Kind, times: float | None, **more: Any) -> Standing:
    """One that is so many times as fast as stock, or out."""
    epochs = () if times is None else tuple(-math.log(times) + step for step in WOBBLE)
    out = {"reason": "it gave no file"} if times is None else {"score": 0.999}
    return Standing(name=name, kind=kind, configuration="as it is", epochs=epochs, **{**out, **more})


def contest(model: str, ours: float | None, **others: float | None) -> Contest:
    kinds = {"olive": Kind.OLIVE, "nncf": Kind.NNCF}
    rivals = [standing(name, kinds.get(name, Kind.UNIFORM), times) for name, times in others.items()]
    return Contest(
        model=model,
        parity=0.99,
        samples=64,
        standings=(standing("infer-opt", Kind.OURS, ours), *rivals),
        clone=CLONE,
    )


def test_twice_as_fast_is_ahead_and_half_as_fast_is_behind() -> None:
    slower, faster, same = duels(contest("net", 2.0, olive=1.0, nncf=4.0, dynamic=2.0))

    assert (slower.verdict, faster.verdict, same.verdict) == (Verdict.FASTER, Verdict.SLOWER, Verdict.EQUIVALENT)
    assert [round(duel.ratio.value, 3) for duel in (slower, faster, same)] == [2.0, 0.5, 1.0]
    assert [duel.seems_behind for duel in (slower, faster, same)] == [False, True, False]


def test_behind_by_less_than_the_margin_is_not_behind() -> None:
    (close,) = duels(contest("net", 2.0, olive=2.015))

    assert close.margin >= 0.01
    assert not close.seems_behind
    assert close.verdict is not Verdict.SLOWER


def test_between_two_looks_the_epochs_up_to_the_last_look_decide() -> None:
    found = contest("net", 2.0, olive=1.0)
    cut = Contest(
        **{
            **_fields(found),
            "standings": tuple(replace(one, epochs=one.epochs[:5]) for one in found.standings),
            "clone": CLONE[:5],
        }
    )

    assert [last_look(count) for count in (3, 4, 5, 6, 8, 9)] == [3, 4, 4, 6, 6, 9]
    assert [duel.verdict for duel in duels(cut)] == [Verdict.FASTER]


def test_who_is_out_is_in_no_duel_and_counts_as_stock() -> None:
    found = [contest("one", 2.0, olive=None), contest("two", 2.0, olive=4.0)]

    assert [duel.rival for duel in duels(found[0])] == []
    mean = speed(found, "olive")
    assert (mean.counted, mean.models) == (1, 2)
    assert mean.estimate.value == pytest.approx(2.0, rel=1e-3)
    assert lead(found, "olive").estimate.value == pytest.approx(1.0, rel=1e-3)


def test_a_contestant_that_was_not_tried_on_a_model_counts_as_stock_there() -> None:
    found = [contest("one", 2.0), contest("two", 2.0, nncf=1.0)]

    assert speed(found, "nncf").estimate.value == pytest.approx(1.0)
    assert speed(found, "nncf").counted == 1


def test_the_geometric_mean_is_that_of_the_centres_and_its_interval_holds_it() -> None:
    found = geometric([[math.log(0.5) + step for step in WOBBLE], [math.log(2.0) + step for step in WOBBLE], []])

    assert found.value == pytest.approx(1.0)
    assert found.low < found.value < found.high
    assert found.high / found.low < 1.01


def test_nothing_measured_has_no_spread() -> None:
    assert geometric([[], []]) == Estimate(value=1.0, low=1.0, high=1.0)
    assert geometric([]).value == 1.0


def test_in_hindsight_the_fastest_of_a_kind_that_agrees_stands_for_it() -> None:
    found = contest("net", 2.0, dynamic=1.2, static=1.8, lost=None)
    (name,) = [name for name, kind in HINDSIGHT.items() if kind is Kind.UNIFORM]

    chosen = found.named(name)

    assert chosen is not None
    assert chosen.name == "static"
    assert speed([found], name).estimate.value == pytest.approx(1.8, rel=1e-3)


def test_infer_opt_comes_first_and_nobody_twice() -> None:
    assert names([contest("one", 2.0, olive=1.0), contest("two", 2.0, nncf=1.0, olive=1.0)]) == (
        "infer-opt",
        "olive",
        "nncf",
    )


def test_promises_are_kept_only_where_infer_opt_is_behind_nobody_and_ahead_on_average() -> None:
    good = targets_of([contest("net", 2.0, olive=1.5, nncf=None)])
    beaten = targets_of([contest("net", 2.0, olive=3.0)])

    assert [target.is_met for target in good] == [True, True, True]
    assert [target.is_met for target in beaten] == [False, False, False]


def test_a_model_on_which_infer_opt_gave_nothing_keeps_no_promise() -> None:
    count, seeming, _ = targets_of([contest("net", None, olive=1.5)])

    assert (count.is_met, seeming.is_met) == (None, None)
    assert duels(contest("net", None, olive=1.5)) == ()


def test_a_contest_survives_its_journal() -> None:
    look = Estimate(value=1.4, low=1.3, high=1.5)
    out = standing("olive", Kind.OLIVE, None, score=0.8, first_look=look)
    before = contest("net", 2.0, nncf=0.7)
    before = Contest(**{**_fields(before), "standings": (*before.standings, out)})

    after = Contest.from_dict(json.loads(json.dumps(before.to_dict())))

    assert after == before


def _fields(found: Contest) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Contest.__slots__}


def test_the_tables_say_who_is_out_and_who_is_ahead(tmp_path: Path) -> None:
    look = Estimate(value=1.4, low=1.3, high=1.5)
    wrong = standing("wrong", Kind.OLIVE, None, score=0.8, first_look=look, reason="agrees to 0.8 only")
    found = contest("net", 2.0, static=3.0, nofile=None)
    found = Contest(**{**_fields(found), "standings": (*found.standings, wrong)})

    text = showing.markdown([found], {"olive": {"onnx": "1"}})

    assert "(0.800, 1.40)" in text
    assert "3.00 **ahead**" in text
    assert "–" in text
    assert "olive: onnx 1" in text
    assert ["net", "wrong", "0.8000", "agrees to 0.8 only"] in showing.reasons([found])
    assert "infer-opt" in showing.terminal([found])
    plain = document([found], tmp_path)
    assert plain["models"]["net"]["standings"][1]["infer_opt_is"] == "BEHIND"


def test_the_picture_names_everybody_that_has_a_speed(tmp_path: Path) -> None:
    showing.draw([contest("net", 2.0, olive=1.5, nncf=None), contest("other", 1.0, olive=0.5)], tmp_path / "p.svg")

    picture = (tmp_path / "p.svg").read_text()
    assert "olive" in picture
    assert "other" in picture
    assert "nncf" not in picture


@pytest.mark.parametrize(
    ("code", "files", "log", "said"),
    [
        (None, 0, "", "took more than 600 s"),
        (1, 0, "Traceback\nValueError: no such thing\n", "exit code 1: ValueError: no such thing"),
        (0, 0, "all well\n", "no file, although the exit code is 0: all well"),
        (0, 2, "", "left 2 files"),
    ],
)
def test_why_a_tool_gave_no_file_is_told_in_one_sentence(code: int | None, files: int, log: str, said: str) -> None:
    assert reason(code, files, log) == said


def a_rival(script: str) -> Rival:
    return Rival(
        name="A tool",
        kind=Kind.OLIVE,
        environment="olive",
        runtime="onnx",
        pattern="*.onnx",
        command=lambda interpreter, model, calibration, folder: ["/bin/sh", "-c", script],
        configuration=script,
    )


def test_a_tools_file_is_made_once(tmp_path: Path) -> None:
    rival = a_rival("echo . > model.onnx; date +%N >> ../count")

    folder, made = make(rival, tmp_path / "m.onnx", tmp_path / "c.npz", content="x", folder=tmp_path)
    again, same = make(rival, tmp_path / "m.onnx", tmp_path / "c.npz", content="x", folder=tmp_path)

    assert made.reason is None
    assert made.file == "model.onnx"
    assert (again, same) == (folder, made)
    assert len((tmp_path / "made" / "count").read_text().splitlines()) == 1


def test_that_a_tool_fails_is_kept_too(tmp_path: Path) -> None:
    rival = a_rival("echo 'RuntimeError: not this one' >&2; exit 3")

    _, made = make(rival, tmp_path / "m.onnx", tmp_path / "c.npz", content="x", folder=tmp_path)

    assert made.file is None
    assert made.reason == "exit code 3: RuntimeError: not this one"


def test_another_model_or_another_way_is_another_file(tmp_path: Path) -> None:
    one, two = RIVALS[0], RIVALS[1]

    assert made_folder(one, "x", tmp_path) != made_folder(one, "y", tmp_path)
    assert made_folder(one, "x", tmp_path) != made_folder(two, "x", tmp_path)


def test_environments_are_pinned_to_the_last_package_and_keep_ours_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "somewhere")

    for name in environments.NAMES:
        lines = environments.requirements(name).read_text().splitlines()
        assert all("==" in line for line in lines if not line.startswith("#"))
    assert "PYTHONPATH" not in environments.surroundings(Path("/home"))
    assert building.versions()["nncf"]["nncf"]


def test_the_command_gives_each_model_its_bound() -> None:
    options = parse(["--parity-of", "net=0.9", "--epochs", "4"])
    path = Path("net.onnx")

    assert comparison.parity_of(calls.Model(path=path), options) == 0.9
    assert comparison.parity_of(calls.Model(path=Path("other.onnx")), options) == 0.99


def test_without_environments_nothing_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = comparison.main(["--models", "digits_cnn", "--folder", str(tmp_path)])

    assert code == 1
    assert "--prepare" in capsys.readouterr().err
