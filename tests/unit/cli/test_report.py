"""`infer-opt report` as a user calls it."""

from pathlib import Path

import pytest

from driving import Home
from golden.tunings import BENCHMARK, FASTER
from infer_opt.reporting import remember
from infer_opt.reports import benchmark
from infer_opt.reports.documents import tuning_document
from infer_opt.reports.tuning import render
from infer_opt.store.database import Store


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in home.variables.items():
        monkeypatch.setenv(name, value)
    return home


def kept(home: Home) -> str:
    with Store.open(f"sqlite:///{home.store}") as store:
        return remember(store, BENCHMARK, started_ms=1_790_000_000_000)


def test_without_an_id_there_is_a_list(home: Home) -> None:
    assert home.call("report").out.startswith("Nothing is kept yet")
    identity = kept(home)
    assert identity in home.call("report").out


def test_a_page_goes_to_a_file_named_for_the_result(home: Home) -> None:
    identity = kept(home)

    ended = home.call("report", "last")

    assert (ended.code, ended.out, ended.err) == (0, "", f"Report: report-{identity}.html\n")
    page = (home.folder / f"report-{identity}.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n")


def test_other_forms_go_to_standard_output_or_where_they_are_told_to(home: Home) -> None:
    identity = kept(home)
    expected = benchmark.render(BENCHMARK, "markdown") + "\n"

    assert home.call("report", identity[:10], "--format", "markdown").out == expected
    assert home.call("report", identity, "--format", "markdown", "--out", "page.md").out == ""
    assert (home.folder / "page.md").read_text(encoding="utf-8") == expected


def test_a_tuning_is_shown_again_as_it_was_printed(home: Home) -> None:
    with Store.open(f"sqlite:///{home.store}") as store:
        identity = store.begin("k", {"model": "minilm.onnx"})
        for standing in FASTER.standings:
            store.save_trial(identity, standing.trial, phase="screen")
        store.finish(identity, tuning_document(FASTER))

    assert home.call("report", identity, "--format", "table").out == render(FASTER) + "\n"
    assert home.call("report", identity, "--format", "json").out == render(FASTER, "json") + "\n"


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("report", "ffff"), 2, "has no result 'ffff'"),
        (("report", "--format", "markdown"), 2, "a list of results cannot be written as markdown"),
        (("report", "last", "--out", "."), 2, ". is a directory"),
        (("report", "last", "--out", "nowhere/a.html"), 6, "does not exist"),
        (("report", "last", "--store", "nonsense"), 2, "is not a database URL"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence_and_a_hint(
    home: Home, words: tuple[str, ...], code: int, what: str
) -> None:
    kept(home)

    ended = home.call(*words)

    assert ended.code == code
    assert what in ended.err
    assert len(ended.err.splitlines()) == 2
    assert ended.out == ""
