import json
import subprocess
import sys
from pathlib import Path

import pytest

from alerting import event, rules
from infer_opt.alerts.actions import Actions
from infer_opt.alerts.outbox import Outbox
from infer_opt.alerts.plan import AlertPlan, WebhookTarget
from infer_opt.alerts.webhook import Answer
from infer_opt.errors import AlertError, StorageError
from infer_opt.readings.findings import AlertState

TEXT = """
actions:
  log: {{path: {folder}/alerts.log}}
  webhook: {{url: "https://h.example/${{SECRET}}"}}
  exit: {{code: 42}}
rules:
  - {{name: shown, reading: cpu.busy, above: 9%, actions: [screen]}}
  - {{name: logged, reading: cpu.busy, above: 9%, actions: [log]}}
  - {{name: posted, reading: cpu.busy, above: 9%, actions: [webhook]}}
  - {{name: last, reading: cpu.busy, above: 9%, actions: [screen, exit]}}
"""


class Posts:
    """An outbox whose posts go into a list."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or Answer(status=200, why="HTTP 200")
        self.bodies: list[dict[str, object]] = []

    def open(self, target: WebhookTarget) -> Outbox:
        return Outbox(target, post=self.post, sleep=lambda s: None)

    def post(self, target: WebhookTarget, body: bytes) -> Answer:
        self.bodies.append(json.loads(body))
        return self.answer


@pytest.fixture
def plan(tmp_path: Path) -> AlertPlan:
    return rules(tmp_path, TEXT.format(folder=tmp_path), {"SECRET": "T0PSECRET"})


def test_each_event_goes_where_its_rule_says(plan: AlertPlan, tmp_path: Path) -> None:
    posts = Posts()
    actions = Actions(plan, host="box", open_outbox=posts.open)

    shown = actions.act([event("shown"), event("logged"), event("posted")])

    assert actions.close() == ()
    assert [one.rule for one in shown] == ["shown"]
    assert "rule=logged" in (tmp_path / "alerts.log").read_text()
    assert [body["text"] for body in posts.bodies] == ["[warning] firing on box: posted: GPU 0 is at 91.5 °C"]
    assert actions.exit_code is None
    assert actions.error is None


def test_the_body_of_a_webhook_is_what_the_documentation_says(plan: AlertPlan) -> None:
    posts = Posts()
    actions = Actions(plan, host="box", open_outbox=posts.open)

    actions.act([event("posted"), event("posted", state=AlertState.RESOLVED, value=None)])
    actions.close()

    first, second = posts.bodies
    assert first == {
        "version": 1,
        "source": "infer-opt",
        "host": "box",
        "text": "[warning] firing on box: posted: GPU 0 is at 91.5 °C",
        "alert": {
            "id": "7fbbe359ef185987",
            "at": "2023-11-14T22:13:50.500Z",
            "state": "firing",
            "severity": "warning",
            "rule": "posted",
            "reading": "gpu[0].temperature_celsius",
            "value": 91.5,
            "unit": "celsius",
            "since": "2023-11-14T22:13:20.000Z",
            "message": "GPU 0 is at 91.5 °C",
        },
    }
    # Beginning and end of one alert have one id.
    assert isinstance(first["alert"], dict)
    assert isinstance(second["alert"], dict)
    assert (second["alert"]["id"], second["alert"]["state"]) == (first["alert"]["id"], "resolved")
    assert second["alert"]["value"] is None


def test_only_the_beginning_of_an_alert_ends_the_monitor_and_the_first_one_counts(plan: AlertPlan) -> None:
    actions = Actions(plan, open_outbox=Posts().open)

    actions.act([event("last", state=AlertState.RESOLVED)])
    assert actions.exit_code is None
    actions.act([event("last", what="first"), event("last", what="second")])
    actions.close()

    assert actions.exit_code == 42
    assert isinstance(actions.error, AlertError)
    assert actions.error.what == "alert last: first"
    assert AlertError.exit_code == 8


def test_troubles_of_the_actions_are_told_once(plan: AlertPlan, tmp_path: Path) -> None:
    posts = Posts(Answer(status=404, why="HTTP 404"))
    actions = Actions(plan, open_outbox=posts.open)
    (tmp_path / "alerts.log").unlink()
    (tmp_path / "alerts.log").mkdir()

    actions.act([event("logged"), event("logged"), event("posted"), event("posted")])
    said = actions.close()

    assert said == (
        f"the alert log {tmp_path}/alerts.log cannot be written: Is a directory; lines are lost until it can",
        "alerts do not reach https://h.example: HTTP 404; the next ones are tried all the same",
        "2 alerts never reached https://h.example",
    )
    assert actions.notices() == actions.close() == ()


def test_a_log_that_cannot_be_opened_is_an_error_at_the_beginning(tmp_path: Path) -> None:
    plan = rules(tmp_path, TEXT.format(folder=tmp_path / "nowhere"), {"SECRET": "x"})

    with pytest.raises(StorageError, match="cannot be written"):
        Actions(plan, open_outbox=Posts().open)


def test_what_has_no_webhook_loads_no_http() -> None:
    script = """
import sys
from infer_opt.alerts.actions import Actions
from infer_opt.alerts.evaluating import Alerts
print([name for name in ("ssl", "http.client", "urllib.request", "yaml", "numpy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
