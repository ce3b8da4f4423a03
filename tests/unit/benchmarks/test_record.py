"""What a published number comes with."""

import json
from pathlib import Path

import pytest
from benchmarks import record
from benchmarks.record import Record, Target


def a_record() -> Record:
    return Record(
        name="demo",
        command="python -m benchmarks.demo",
        machine={"cpu": "x"},
        began="then",
        commit=None,
        load_average=(),
    )


def test_a_promise_is_judged_by_the_end_of_its_interval() -> None:
    kept = Target(name="a", unit="ns", measured=80.0, high=95.0, at_most=100.0)
    doubtful = Target(name="a", unit="ns", measured=80.0, high=105.0, at_most=100.0)

    assert kept.is_met is True
    assert doubtful.is_met is False


def test_what_was_not_measured_is_not_kept() -> None:
    target = Target(name="a", unit="MB", measured=None, at_most=250.0)

    assert target.is_met is None
    assert target.sentence == "NOT MEASURED: a: nothing MB, at most 250"


@pytest.mark.parametrize(("measured", "is_met"), [(9.0, True), (8.0, False)])
def test_a_promise_may_be_a_least_number(measured: float, is_met: bool) -> None:
    assert Target(name="a", unit="of 10", measured=measured, at_least=9.0).is_met is is_met


@pytest.mark.parametrize(
    ("measured", "code"), [(1.0, 0), (None, 1), (3.0, 1)], ids=["kept", "not measured", "not kept"]
)
def test_the_exit_code_says_whether_every_promise_was_kept(
    measured: float | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = [
        Target(name="a", unit="s", measured=1.0, at_most=2.0),
        Target(name="b", unit="s", measured=measured, at_most=2.0),
    ]

    assert record.report(["x"], [[1.0]], targets, Path("r.json")) == code
    assert "Written to r.json" in capsys.readouterr().out


def test_a_result_appears_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "results" / "demo.json"
    target = Target(name="a", unit="s", measured=1.0, at_most=2.0)

    a_record().write(path, method="how\n  it is done", targets=[target], results={"r": 1}, samples={"s": [1, 2]})

    document = json.loads(path.read_text())
    assert document["targets"][0]["is_met"] is True
    assert document["method"] == "how it is done"
    assert document["machine"] == {"cpu": "x"}
    assert [child.name for child in path.parent.iterdir()] == ["demo.json"]


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text("old")

    with pytest.raises(TypeError):
        a_record().write(path, method="", targets=[], results={"r": object()}, samples={})

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_raw_samples_take_one_line_and_come_back_the_same() -> None:
    document = {"samples": {"a": [1, 2, 3], "b": [1.5, None]}, "rows": [{"x": "[ y ]"}], "none": [], "empty": {}}

    text = record.compact(document)

    assert '"a": [1, 2, 3]' in text
    assert json.loads(text) == document


def test_a_median_of_few_values_has_their_range_for_a_band() -> None:
    found = record.median([30, 10, 20])

    assert (found.low, found.value, found.high) == (10, 20, 30)


def test_paired_differences_have_an_interval_within_their_range() -> None:
    few, many = record.difference([1.0, 2.0, 3.0]), record.difference([float(value) for value in range(101)])

    assert (few.low, few.value, few.high) == (1.0, 2.0, 3.0)
    assert many.value == 50.0
    assert 40.0 < many.low < 46.0 and 54.0 < many.high < 60.0


def test_a_ratio_is_the_centre_on_the_log_scale() -> None:
    assert record.ratio([0.6931471805599453] * 8).value == pytest.approx(2.0)
