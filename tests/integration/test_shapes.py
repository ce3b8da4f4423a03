"""Tunings for calls of several shapes, from the command line to the bundle."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest

import infer_opt
import infer_opt.setting_up
import infer_opt.tuning
import zoo
from driving import Home, shape_bound
from infer_opt.config import TrialConfig
from infer_opt.errors import ModelError
from infer_opt.recipes import Recipe
from quiet import watch_nothing


def offering(monkeypatch: pytest.MonkeyPatch, *recipes: Recipe) -> None:
    """A space of these recipes."""
    space = tuple(TrialConfig(recipe=recipe) for recipe in recipes)
    monkeypatch.setattr(infer_opt.tuning, "candidates", lambda surroundings, wide: space)


def by_label(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trial["label"]: trial for trial in document["trials"]}


def sizes_of(trial: dict[str, Any], name: str) -> list[tuple[int, float]]:
    return [(shape["dims"][name], shape["weight"]) for shape in trial["readings"]["shapes"]]


@pytest.mark.usefixtures("screen_only")
def test_padded_configurations_of_a_masked_model_agree_and_are_read_shape_by_shape(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    buckets = (("seq", (24,)),)
    two = Recipe(buckets=(("seq", (6, 24)),))
    offering(monkeypatch, Recipe(buckets=buckets), Recipe(buckets=buckets, fixed_shapes=True), two)
    model = home.model("attention", zoo.attention_block())

    ended = home.call("tune", model, "--dim", "seq=2:2,6:1,24:1", "--preset", home.preset(trials=3), "--format", "json")

    assert ended.code == 0, ended.err
    trials = by_label(ended.document)
    assert set(trials) == {"stock", "padded seq to 24", "fixed-shapes + padded seq to 24", "padded seq to 6/24"}
    assert {trial["failure"] for trial in trials.values()} == {None}
    assert {trial["parity"]["passed"] for trial in trials.values()} == {True}
    for trial in trials.values():
        assert sizes_of(trial, "seq") == [(2, 0.5), (6, 0.25), (24, 0.25)]
        medians = [shape["quantiles"][0]["value_ns"] for shape in trial["readings"]["shapes"]]
        expected = trial["readings"]["expected_ns"]
        assert expected == pytest.approx(0.5 * medians[0] + 0.25 * medians[1] + 0.25 * medians[2])
        assert trial["readings"]["items_per_s"] == pytest.approx(1e9 / expected)
        assert all(shape["first_seen_ns"] > 0 for shape in trial["readings"]["shapes"])
        first = trial["readings"]["shapes"][0]["first_seen_ns"]
        assert first == trial["readings"]["first_run_ns"], "nothing was called before it"


@pytest.mark.usefixtures("screen_only")
def test_padding_a_model_that_reads_to_the_end_fails_parity_with_its_reason(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    offering(monkeypatch, Recipe(buckets=(("time", (24,)),)))
    model = home.model("lstm", zoo.lstm_net())

    ended = home.call("tune", model, "--dim", "time=2,24", "--preset", home.preset(), "--format", "json")

    assert ended.code == 0, ended.err
    padded = by_label(ended.document)["padded time to 24"]
    assert padded["failure"] == "parity"
    assert "output value has cosine" in padded["reason"]
    assert ended.document["verdict"] == "no-faster"


@pytest.mark.usefixtures("screen_only")
def test_a_bundle_of_stock_is_measured_under_its_distribution(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    offering(monkeypatch, Recipe(buckets=(("seq", (24,)),)))
    model = home.model("attention", zoo.attention_block())
    tuned = home.call("tune", model, "--dim", "seq=2:3,24:1", "--preset", home.preset())
    assert "Time by shape" in tuned.out

    ended = home.call("bench", home.folder / "attention-tuned", "--budget", "12s", "--format", "json")

    assert ended.code == 0, ended.err
    assert sizes_of(ended.document["trial"], "seq") == [(2, 0.75), (24, 0.25)]


def test_padding_that_pays_is_proven_and_its_bundle_pads_what_it_is_given(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infer_opt.setting_up, "watch_machine", watch_nothing)
    offering(monkeypatch, Recipe(buckets=(("time", (4,)),), fixed_shapes=True))
    model = home.model("bound", shape_bound(steps=5, width=10_000))

    ended = home.call(
        "tune", model, "--dim", "time=2:0.5,4:0.5", "--preset", home.preset(), "--keep-default", "--format", "json"
    )

    assert ended.code == 0, ended.err
    document = ended.document
    assert document["verdict"] == "faster"
    assert document["winner"]["label"] == "fixed-shapes + padded time to 4"
    stock = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    bundle = home.folder / "bound-tuned"
    with infer_opt.load(bundle) as session:
        for size in (1, 2, 3, 4):
            x = np.arange(size, dtype=np.float32)[None]
            answers: Sequence[Any] = stock.run(None, {"x": x})
            np.testing.assert_allclose(session.run({"x": x})["y"], answers[0], rtol=1e-5)
        with pytest.raises(ModelError, match="5"):
            session.run({"x": np.ones((1, 5), np.float32)})

    again = home.call("bench", bundle, "--format", "json")

    assert again.code == 0, again.err
    assert again.document["verdict"] == "faster"
    assert again.document["speedup"]["low"] > 2, "its graph has next to nothing left to do"
    for party in ("trial", "reference_trial"):
        assert sizes_of(again.document[party], "time") == [(2, 0.5), (4, 0.5)]


@pytest.mark.parametrize(
    ("words", "part", "hint"),
    [
        (("--dim", "time=16:0,8:1"), "a share that is not above 0", "leave out sizes"),
        (("--dim", "time=a:1"), "is not NAME=VALUE", "--dim seq=128"),
        (("--dim", "time=4:-1,8:1"), "a share that is not above 0", "leave out sizes"),
        (("--dim", "time=4,4"), "names a size twice", "add up"),
        (("--dim", "tmie=3,4"), "no dynamic dimension 'tmie'", "'time'"),
        (("--dim", "batch=1,2"), "counts the items of a batch", "--batch"),
        (("--dim", "time=1,2,3,4,5,6,7,8,9"), "make 9 shapes together", "fewer sizes"),
        (("--dim", "time=4,99999999999"), "more than 2 GiB", "smaller"),
    ],
)
def test_distributions_that_make_no_sense_are_refused_before_anything_is_measured(
    home: Home, words: tuple[str, ...], part: str, hint: str
) -> None:
    model = home.model("lstm", zoo.lstm_net())

    ended = home.call("tune", model, *words)

    assert (ended.code, ended.out) == (2, "")
    assert part in ended.err
    assert hint in ended.err
    assert not (home.folder / "lstm-tuned").exists()
