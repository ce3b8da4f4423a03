from pathlib import Path

import pytest

from infer_opt.alerts.alerting import Alerting
from infer_opt.errors import ConfigError
from infer_opt.readings.findings import AlertState
from infer_opt.readings.samples import Sample

RULES = """\
rules:
  - name: busy
    reading: cpu.busy
    above: 50%
    actions: [screen, exit]
"""


def sample(number: int, busy: float) -> Sample:
    return Sample(number=number, at_s=float(number), clock_s=float(number), values={"cpu.busy": busy})


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "alerts.yaml"
    path.write_text(RULES)
    return path


def test_without_a_file_nothing_is_an_alert() -> None:
    with Alerting(None) as alerting:
        assert alerting.see(sample(0, 1.0), ()) == ()
        assert (alerting.firing(), alerting.notices(), alerting.exit_code, alerting.error) == ((), (), None, None)


def test_what_begins_is_shown_and_leaves_an_exit_code(rules: Path) -> None:
    with Alerting(rules) as alerting:
        quiet = alerting.see(sample(0, 0.1), ())
        begun = alerting.see(sample(1, 0.9), ())

        assert quiet == ()
        assert [(event.rule, event.state) for event in begun] == [("busy", AlertState.FIRING)]
        assert [event.rule for event in alerting.firing()] == ["busy"]
        assert alerting.exit_code == 8
        assert alerting.error is not None
        assert "busy" in alerting.error.what


def test_a_rule_that_makes_no_sense_is_refused_before_anything_is_watched(rules: Path) -> None:
    rules.write_text(RULES.replace("cpu.busy", "cpu.bussy"))

    with pytest.raises(ConfigError, match="line 3"):
        Alerting(rules)
