"""Tunings from the store, against what they were when they were put there."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from golden.tunings import BY_SHAPE, FASTER, NO_FASTER, TOO_NOISY
from infer_opt.errors import StorageError
from infer_opt.rebuilding import tuning
from infer_opt.reports.documents import tuning_document
from infer_opt.reports.html.pages import render
from infer_opt.results import Block, Standing, TrialFailure, TrialResult, Tuning
from infer_opt.store.database import Store
from infer_opt.store.kept_results import Kind, kept
from made_reports import made_tuning

FILES = Path(__file__).parents[1] / "store_files"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        yield store


def put(store: Store, found: Tuning) -> str:
    """As `tune` does, but for the epochs."""
    identity = store.begin("k", {"model": found.model.path})
    store.save_trial(identity, found.baseline, phase="stock")
    for standing in found.standings:
        if standing.trial.config != found.baseline.config:
            store.save_trial(identity, standing.trial, phase="screen")
    store.finish(identity, tuning_document(found))
    return identity


def in_order(standings: tuple[Standing, ...]) -> list[Standing]:
    """A document lists trials as reports do, and a failure without readings has its reason from its standing."""
    return sorted((_plain(standing) for standing in standings), key=lambda standing: standing.trial.config.key)


def _plain(standing: Standing) -> Standing:
    reason = standing.reason or (standing.trial.reason if isinstance(standing.trial, TrialFailure) else "")
    return replace(standing, reason=reason)


@pytest.mark.parametrize("found", [FASTER, NO_FASTER, BY_SHAPE, made_tuning()])
def test_a_tuning_comes_back_as_it_was(store: Store, found: Tuning) -> None:
    identity = put(store, found)

    back = tuning(store, identity)

    assert back.kept_as == identity
    assert in_order(back.standings) == in_order(found.standings)
    assert replace(back, standings=(), kept_as=None, settings={}) == replace(found, standings=(), settings={})
    assert dict(back.settings) == dict(found.settings)


def test_a_tuning_without_a_comparison_comes_back(store: Store) -> None:
    back = tuning(store, put(store, TOO_NOISY))

    assert back.comparison is None
    assert [standing.trial for standing in back.standings] == [TOO_NOISY.baseline]


def test_the_page_of_a_tuning_is_the_same_from_the_store(store: Store) -> None:
    found = made_tuning()
    back = tuning(store, put(store, found))

    # The order of trials in memory is that of the screen; that of a document is that of the reports.
    ordered = replace(found, standings=back.standings)
    assert render(back) == render(ordered)


def test_runs_of_the_confirmation_take_the_place_of_those_of_the_screen(store: Store) -> None:
    identity = put(store, FASTER)
    blocks = {
        name: [{"latency_ns": [value], "spacing_ns": None, "shapes": []}]
        for name, value in (("baseline", 26), ("clone", 27), (FASTER.winner.config.key, 11))
    }
    for epoch in range(2):
        payload = {"values": {}, "blocks": blocks, "rounds": 1, "discarded": 0, "setup_s": 1.0, "cost_s": 2.0}
        store.save_rounds(identity, "confirm", epoch, payload)

    back = tuning(store, identity)

    assert back.baseline.blocks == (Block(latency_ns=(26,)),) * 2
    assert back.winner.blocks == (Block(latency_ns=(11,)),) * 2
    others = [one.trial for one in back.standings if isinstance(one.trial, TrialResult)]
    assert {
        len(trial.blocks) for trial in others if trial.config not in (back.winner.config, back.baseline.config)
    } == {1}


def test_a_tuning_of_before_there_were_reports_comes_back_with_its_runs(tmp_path: Path) -> None:
    shutil.copy(FILES / "v3.db", tmp_path / "v3.db")

    with Store.open(f"sqlite:///{tmp_path / 'v3.db'}") as store:
        whole, stub = kept(store)
        back = tuning(store, whole.id)

        assert (whole.kind, whole.verdict, whole.subject) == (Kind.TUNE, "faster 2.31x", "minilm.onnx")
        assert (back.verdict, back.comparison, back.frontiers) == (FASTER.verdict, FASTER.comparison, FASTER.frontiers)
        assert back.winner.blocks[0].latency_ns == (11_400_000, 11_401_000)
        assert stub.verdict == "faster 1.92x"
        with pytest.raises(StorageError, match="cannot be read") as refused:
            tuning(store, stub.id)
        assert refused.value.hint is not None and "another release" in refused.value.hint


def test_a_tuning_that_was_not_finished_is_refused(store: Store) -> None:
    identity = store.begin("k", {})

    with pytest.raises(StorageError, match="was not finished"):
        tuning(store, identity)
