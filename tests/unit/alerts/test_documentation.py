"""docs/alerts.md says what the code does."""

import json
import re
from pathlib import Path

import pytest

from alerting import event, rules
from infer_opt.alerts.documents import as_document
from infer_opt.alerts.plan import Action
from infer_opt.alerts.rules import RULE_KEYS
from infer_opt.errors import ConfigError

TEXT = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
EXAMPLE = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[0]


def test_the_example_is_sound(tmp_path: Path) -> None:
    (rule,) = rules(tmp_path, EXAMPLE, {"ALERT_WEBHOOK": "https://h.example/x"}).rules

    assert rule.actions == {Action.SCREEN, Action.LOG, Action.WEBHOOK}


def test_the_error_that_it_shows_is_the_one_that_is_given(tmp_path: Path) -> None:
    wrong = EXAMPLE.replace("gpu.temperature_celsius", "gpu.temprature_celsius")

    with pytest.raises(ConfigError) as caught:
        rules(tmp_path, wrong, {"ALERT_WEBHOOK": "https://h.example/x"})

    assert f"Error: {caught.value.what.removeprefix(f'{tmp_path}/')}\nHint:  {caught.value.hint}\n" in TEXT


def test_every_key_of_a_rule_is_described() -> None:
    table = TEXT.partition("## Keys of a rule")[2].partition("\n## ")[0]
    described = {
        key for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)
    }

    assert described == set(RULE_KEYS)


def test_every_action_is_described() -> None:
    table = TEXT.partition("## Actions")[2].partition("### ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(Action)


def test_every_field_of_the_webhook_is_described_and_shown() -> None:
    shown = json.loads(re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)[0])
    sent = as_document(event(), "box")

    assert isinstance(sent["alert"], dict)
    assert (list(shown), list(shown["alert"])) == (list(sent), list(sent["alert"]))
    for field in [*(name for name in sent if name != "alert"), *(f"alert.{name}" for name in sent["alert"])]:
        assert f"`{field}`" in TEXT
