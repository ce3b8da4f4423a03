"""Profiles to JSON and back."""

import json

import pytest

from infer_opt.errors import ConfigError
from infer_opt.profiles.documents import from_document, read_document, to_document
from made_profiles import made_profile


def test_a_profile_comes_back_from_json_as_it_was() -> None:
    profile = made_profile()

    assert read_document(json.dumps(to_document(profile))) == profile


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "infer-opt profile"}', '{"kind": "else", "profile": {}}'])
def test_what_is_no_profile_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="not a profile"):
        read_document(text)


def test_a_profile_of_another_release_says_so() -> None:
    document = to_document(made_profile())
    del document["profile"]["call"]

    with pytest.raises(ConfigError, match="cannot be read") as refused:
        from_document(document)

    assert "another release" in str(refused.value.hint)
