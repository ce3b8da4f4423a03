"""`infer-opt profile --against` and `--runtime-env` as a user calls them: real processes, in turn."""

import json
import sys

from driving import Home
from zoo import mlp


def test_a_model_against_itself_with_the_runtime_of_an_environment(home: Home) -> None:
    model = home.model("net", mlp())

    words = ("--runtime-env", sys.prefix, "--budget", "1s", "--format", "json")
    found = json.loads(home.call("profile", model, *words).out)["difference"]

    assert found["paired"] and found["is_same_machine"]
    assert found["subject_runtime"] == found["reference_runtime"]
    assert {row["name"] for row in found["operators"]}
    assert all(row["subject_nodes"] == row["reference_nodes"] for row in found["operators"])


def test_a_profile_that_was_saved_is_held_against_another_model(home: Home) -> None:
    wide, narrow = home.model("wide", mlp(width=64)), home.model("narrow", mlp())
    saved = home.folder / "narrow.json"
    saved.write_text(home.call("profile", narrow, "--budget", "1s", "--format", "json").out)

    done = home.call("profile", wide, "--against", saved, "--budget", "1s")

    assert "NOT measured in turn" in done.out
    assert "narrow.json" in done.out


def test_what_is_no_environment_is_one_sentence(home: Home) -> None:
    model = home.model("net", mlp())

    done = home.call("profile", model, "--runtime-env", home.folder)

    assert "is no Python environment" in done.err
    assert done.code == 2
