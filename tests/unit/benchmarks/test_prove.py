"""The proof as a program: which steps, how the time is shared, what is kept, and what the exit code says."""

import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks import proof_table, prove
from benchmarks.evidence import Evidence, Findings, Tier
from benchmarks.live.stand import Experiment, Observation, Stand, repeat
from benchmarks.prove import Proof, Step, chosen, report, slices
from benchmarks.record import Record, Target

from infer_opt.budget import Budget
from infer_opt.errors import ConfigError, ModelError


class FakeTime:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def line(row: int = 1, measured: float | None = 0.0, at_most: float = 1.0, cause: str = "") -> Evidence:
    target = Target(name="false verdicts", unit="of 9", measured=measured, at_most=at_most)
    return Evidence(row=row, tier=Tier.LIVE, setting="idle", target=target, cause=cause)


def a_record() -> Record:
    return Record(name="prove", command="c", machine={"cpu_model": "x"}, began="then", commit=None, load_average=())


def a_stand(tmp_path: Path) -> Stand:
    return Stand(folder=tmp_path, environment={}, generator=random.Random(0), show=lambda text: None)


def counting(values: Sequence[float], *, fails: bool = False) -> Experiment:
    """An experiment that sees `values` one after another, and is missed where their sum is above 1."""

    def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
        for value in values:
            yield {"value": value}
        if fails:
            raise ModelError("the stock session died")

    def judge(found: Sequence[Observation]) -> Findings:
        return Findings(evidence=(line(measured=sum(one["value"] for one in found)),))

    return Experiment(run=run, judge=judge)


Put = Callable[[str, Experiment], None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts an experiment in the place of a real one."""

    def in_place_of(name: str, one: Experiment) -> None:
        module = f"fake_{name}"
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(EXPERIMENT=one))
        monkeypatch.setitem(prove.EXPERIMENTS, name, module)

    return in_place_of


def proven(tmp_path: Path, steps: Sequence[Step], budget: Budget) -> Proof:
    proof = Proof(begun=a_record(), path=tmp_path / "prove.json")
    prove.prove(proof, steps, a_stand(tmp_path), budget)
    return proof


def test_all_steps_are_taken_unless_some_are_named() -> None:
    assert chosen(None) == prove.STEPS
    assert {step.name for step in chosen("aa, power")} == {"aa", "power"}


def test_an_unknown_part_is_named_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="'speed'") as error:
        chosen("aa,speed")

    assert "power" in (error.value.hint or "")


def test_every_step_has_a_part_and_every_part_a_step() -> None:
    assert {step.name for step in prove.STEPS} == set(prove.PARTS) | set(prove.EXPERIMENTS)


def test_what_is_measured_again_is_first_and_last() -> None:
    assert prove.STEPS[0].name == prove.STEPS[-1].name == "remeasured"


def test_time_that_one_step_leaves_over_is_there_for_the_others() -> None:
    clock = FakeTime()
    budget = Budget(total_s=100.0 + prove.WRITING_S, clock=clock)
    steps = [Step(name="a", share=1), Step(name="b", share=1), Step(name="c", share=2)]

    found = []
    for step, time_s in slices(steps, budget):
        found.append((step.name, time_s))
        clock.now_s += 10.0

    assert found == [("a", 25.0), ("b", 30.0), ("c", 80.0)]


@pytest.mark.parametrize(
    ("fixed_s", "cost_s", "scales"),
    [
        (0.0, 400.0, [0.01, 0.108]),
        (0.0, 1.0, [0.01, 1.0]),
        (0.0, 6000.0, [0.01]),
        # 5.1 s, then 5.83 s at 8.3 times the scale: there was time for the whole all along.
        (5.0, 10.0, [0.01, 0.0828, 0.524]),
    ],
)
def test_simulations_are_as_large_as_the_time_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fixed_s: float, cost_s: float, scales: list[float]
) -> None:
    clock = FakeTime()
    asked: list[float] = []

    def evidence(scale: float, seed: int) -> Findings:
        clock.now_s += fixed_s + scale * cost_s
        asked.append(scale)
        return Findings(evidence=(), results={"scale": scale})

    monkeypatch.setitem(sys.modules, "fake_part", SimpleNamespace(evidence=evidence))
    monkeypatch.setitem(prove.PARTS, "simulated", "fake_part")
    stand = a_stand(tmp_path)
    stand.time = Budget(total_s=52.0, clock=clock)

    found = prove.part("simulated", stand)

    assert asked == pytest.approx(scales, rel=0.01)
    assert found.results["scale"] == asked[-1]
    assert clock.now_s <= max(52.0, fixed_s + cost_s * prove.PROBE_SCALE)


def test_a_miss_on_few_cases_says_so_and_nothing_else_does() -> None:
    found = prove.coarse(Findings(evidence=[line(), line(measured=2.0), line(measured=2.0, cause="noise")]), 0.1)

    assert [one.cause for one in found.evidence] == [
        "",
        "only 0.1 of the full scale was run",
        "noise; only 0.1 of the full scale was run",
    ]


def test_no_step_begins_without_the_least_time_that_it_needs(tmp_path: Path, put: Put) -> None:
    put("aa", counting([9.0]))
    clock = FakeTime()

    proof = proven(tmp_path, [Step(name="aa", share=1, least_s=31.0)], Budget(total_s=30.0, clock=clock))

    assert proof.evidence == []
    assert "no time" in proof.unrun["aa"]


def test_a_kill_loses_nothing_that_was_seen(tmp_path: Path, put: Put) -> None:
    path = tmp_path / "prove.json"
    on_disk: list[int] = []

    def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
        for number in range(3):
            yield {"value": 0.0}
            on_disk.append(len(json.loads(path.read_text())["samples"]["aa"]) - number)

    put("aa", Experiment(run=run, judge=counting([]).judge))
    proven(tmp_path, [Step(name="aa", share=1)], Budget(total_s=60.0))

    assert on_disk == [1, 1, 1]
    assert json.loads(path.read_text())["is_complete"] is False


def test_an_experiment_that_fails_keeps_what_it_saw_and_the_others_go_on(tmp_path: Path, put: Put) -> None:
    put("aa", counting([0.5], fails=True))
    put("power", counting([0.25]))

    proof = proven(tmp_path, [Step(name="aa", share=1), Step(name="power", share=1)], Budget(total_s=60.0))

    assert [one.target.measured for one in proof.evidence] == [0.5, 0.25]
    assert proof.failed == {"aa": "the stock session died"}
    assert report(proof, was_interrupted=False) == 1


def test_a_step_that_comes_again_goes_on_with_what_it_has_seen(tmp_path: Path, put: Put) -> None:
    handed: list[int] = []

    def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
        handed.append(len(seen))
        yield {"value": 0.25}

    put("aa", Experiment(run=run, judge=counting([]).judge))
    proof = proven(tmp_path, [Step(name="aa", share=1)] * 3, Budget(total_s=60.0))

    assert handed == [0, 1, 2]
    assert [one.target.measured for one in proof.evidence] == [0.75]


@pytest.mark.parametrize(("values", "code"), [([0.5], 0), ([0.5, 0.6], 1)], ids=["kept", "missed"])
def test_a_missed_target_is_the_exit_code(tmp_path: Path, put: Put, values: list[float], code: int) -> None:
    put("aa", counting(values))

    proof = proven(tmp_path, [Step(name="aa", share=1)], Budget(total_s=60.0))

    assert report(proof, was_interrupted=False) == code
    assert report(proof, was_interrupted=True) == 1


def test_an_unknown_part_ends_with_the_code_of_a_contradiction(capsys: pytest.CaptureFixture[str]) -> None:
    assert prove.main(["--only", "nothing"]) == ConfigError.exit_code
    assert "choose from" in capsys.readouterr().err


def test_repeats_end_when_the_longest_so_far_no_longer_fits(tmp_path: Path) -> None:
    clock = FakeTime()
    stand = a_stand(tmp_path)
    stand.time = Budget(total_s=100.0, clock=clock)

    count = 0
    for number in repeat(stand, expected_s=1.0):
        clock.now_s += 10.0 if number else 30.0
        count += 1

    # 30, 10, 10, 10, 10: at 70 s another of 30 still fits, at 80 s none does.
    assert count == 6


def test_one_case_is_seen_even_without_time(tmp_path: Path) -> None:
    stand = a_stand(tmp_path)
    stand.time = Budget(total_s=0.0, clock=FakeTime())

    assert list(repeat(stand, expected_s=5.0)) == [0]


def test_the_table_has_every_test_of_the_contract() -> None:
    found = proof_table.rows([line(row=3), line(row=1)])

    assert [row[0] for row in found] == [str(number) for number in range(1, 13)]
    assert found[0][-1] == "met"
    assert found[1][5] == proof_table.NOT_RUN
    assert found[11][5].startswith("not built yet")


@pytest.mark.parametrize(("measured", "word"), [(0.0, "met"), (2.0, "MISSED"), (None, "not measured")])
def test_a_line_shows_target_and_figure_side_by_side(measured: float | None, word: str) -> None:
    row = proof_table.rows([line(measured=measured, cause="a neighbour computed")])[0]

    assert row[3] == "idle. A neighbour computed"
    assert row[4] == "false verdicts: at most 1 of 9"
    assert row[5:] == ("nothing" if measured is None else f"{measured:g} of 9", word)


def test_a_bar_in_a_cell_does_not_break_the_markdown() -> None:
    text = proof_table.markdown([line(cause="a | b")], {"cpu_model": "cpu"}, "2026-01-02T03")

    assert "A \\| b" in text
    assert text.endswith("Made by `make prove` on 2026-01-02, cpu.")


def test_the_table_goes_between_its_marks_and_replaces_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "measurement.md"
    path.write_text(f"before\n{proof_table.BEGIN}\nold\n{proof_table.END}\nafter\n")

    proof_table.put(path, "new")
    proof_table.put(path, "newer")

    assert path.read_text() == f"before\n{proof_table.BEGIN}\nnewer\n{proof_table.END}\nafter\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_without_marks_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("mine\n")

    with pytest.raises(ConfigError, match="no place"):
        proof_table.put(path, "table")

    assert path.read_text() == "mine\n"


def test_a_new_file_holds_the_table_alone(tmp_path: Path) -> None:
    proof_table.put(tmp_path / "new.md", "table")

    assert (tmp_path / "new.md").read_text() == f"{proof_table.BEGIN}\ntable\n{proof_table.END}\n"
