from pathlib import Path

import pytest

from alerting import rules, sample
from infer_opt.alerts.evaluating import Alerts
from infer_opt.alerts.plan import Action, AlertPlan, Bound, RuleKind
from infer_opt.alerts.rules import default_path, load_rules
from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import CATALOGUE, quantity_of
from infer_opt.readings.findings import Severity

HEAD = "rules:\n  - name: hot\n    reading: gpu.temperature_celsius\n"


def refused(folder: Path, text: str) -> tuple[str, str | None]:
    """(what, hint) of the error, without the file's name, which it begins with."""
    with pytest.raises(ConfigError) as caught:
        rules(folder, text)
    path = folder / "alerts.yaml"
    assert caught.value.what.startswith(str(path))
    return caught.value.what.removeprefix(f"{path}, "), caught.value.hint


# What is read


def test_a_rule_in_full(tmp_path: Path) -> None:
    text = """
rules:
  - name: low
    reading: memory.available_bytes
    below: 10% of memory.total_bytes
    clear: 15% of memory.total_bytes
    for: 30s
    clear_for: 1m
    severity: critical
    message: "{value} left"
    actions: [screen, exit]
"""
    (rule,) = rules(tmp_path, text).rules

    assert (rule.name, rule.kind, rule.reading) == ("low", RuleKind.BELOW, "memory.available_bytes")
    assert rule.bound == Bound(value=0.1, of="memory.total_bytes")
    assert rule.clear == Bound(value=0.15, of="memory.total_bytes")
    assert (rule.for_s, rule.clear_for_s, rule.severity) == (30.0, 60.0, Severity.CRITICAL)
    assert (rule.message, set(rule.actions)) == ("{value} left", {Action.SCREEN, Action.EXIT})


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    (rule,) = rules(tmp_path, HEAD + "    above: 85C\n").rules

    assert rule.bound == rule.clear == Bound(value=85.0)
    assert (rule.for_s, rule.clear_for_s, rule.severity, rule.message) == (0.0, 0.0, Severity.WARNING, None)
    assert rule.actions == {Action.SCREEN}


def test_a_rule_is_resolved_after_the_time_that_it_takes_to_fire_unless_it_says_otherwise(tmp_path: Path) -> None:
    (rule,) = rules(tmp_path, HEAD + "    above: 85C\n    for: 2m\n").rules
    (counter,) = rules(tmp_path, "rules: [{name: oom, reading: memory.oom_kills, grows: true}]").rules

    assert rule.clear_for_s == 120.0
    assert counter.clear_for_s == 300.0


def test_the_severity_of_a_finding_counts_unless_the_rule_says_otherwise(tmp_path: Path) -> None:
    text = "rules:\n- {name: a, finding: any}\n- {name: b, finding: leak, at_least: critical, severity: info}\n"
    first, second = rules(tmp_path, text).rules

    assert (first.finding, first.at_least, first.severity) == (None, Severity.INFO, None)
    assert (second.finding, second.at_least, second.severity) == ("leak", Severity.CRITICAL, Severity.INFO)


def test_a_long_message_may_be_folded_and_stays_one_line(tmp_path: Path) -> None:
    (rule,) = rules(tmp_path, HEAD + "    above: 85\n    message: |\n      too hot:\n      {value}\n").rules

    assert rule.message == "too hot: {value}"


# What is refused


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (HEAD + "    above: 85\n    abov: 3\n", "line 5, column 5: a rule has no key 'abov'", "did you mean 'above'?"),
        (HEAD + "    for: 30s\n", "line 2, column 5: this rule does not say when it holds", "add above: 85"),
        (HEAD + "    above: 85\n    below: 3\n", "line 5, column 5: below stands beside above", "a rule has one"),
        (
            HEAD + "    above: 2GB\n",
            "line 4, column 12: '2GB' is bytes, and gpu.temperature_celsius is",
            "write it as 85C",
        ),
        (HEAD + "    above: [85]\n", "line 4, column 12: above is one value, not a list", None),
        (HEAD + "    above:\n", "line 4, column 11: above is empty", "write a value"),
        (
            HEAD + "    above: 85\n    clear: 90\n",
            "line 5, column 12: clear: 90 would end the alert",
            "it lies at or below 85",
        ),
        (
            HEAD + "    above: 85\n    clear: 90% of gpu.memory_temperature_celsius\n",
            "line 5, column 12: clear is written as above is: a plain value",
            "above says 85",
        ),
        (HEAD + "    above: 9% off x\n", "line 4, column 12: '9% off x' is not a value of", "write it as 85C"),
        (
            HEAD + "    above: 9 of gpu.power_watts\n",
            "line 4, column 12: '9 of gpu.power_watts' is not a share of another reading",
            "write it as 90% of memory.total_bytes",
        ),
        (
            HEAD + "    above: 9% of gpu.power_watts\n",
            "line 4, column 12: gpu.temperature_celsius is in celsius and gpu.power_watts in watts",
            "name a reading in the same unit",
        ),
        (
            HEAD + "    above: 9% of gpu.power_wats\n",
            "line 4, column 12: there is no reading gpu.power_wats",
            "'gpu.power_watts'",
        ),
        (
            HEAD + "    missing: maybe\n",
            "line 4, column 14: missing is true or false, got 'maybe'",
            "write missing: true",
        ),
        (HEAD + "    missing: false\n", "line 4, column 14: missing: false says nothing", "leave the line out"),
        (
            HEAD + "    missing: true\n    clear: 3\n",
            "line 5, column 5: clear means nothing beside missing",
            "reading, missing, for",
        ),
        (HEAD + "    grows: true\n", "line 4, column 5: grows is for readings that only ever grow", "say above"),
        (HEAD + "    above: 85\n    at_least: info\n", "line 5, column 5: at_least means nothing beside above", None),
        (
            HEAD + "    above: 85\n    finding: any\n",
            "line 5, column 5: a rule waits for a reading or for a finding",
            "make two",
        ),
        (
            HEAD + "    above: 85\n    for: soon\n",
            "line 5, column 10: 'soon' is not a value of for",
            "write it as 500ms",
        ),
        (
            HEAD + "    above: 85\n    for: 10%\n",
            "line 5, column 10: '10%' is a share, and for is seconds",
            "write it as 500ms",
        ),
        (HEAD + "    above: 85\n    for: -3s\n", "line 5, column 10: for is 0 or more seconds", "write it as 30s"),
        (
            HEAD + "    above: 85\n    severity: urgent\n",
            "line 5, column 15: severity is one of info, warning, critical, got 'urgent'",
            "choose from info, warning, critical",
        ),
        (
            HEAD + "    above: 85\n    severity: critcal\n",
            "line 5, column 15: severity is one of",
            "did you mean 'critical'?",
        ),
        (
            HEAD + "    above: 85\n    actions: screen\n",
            "line 5, column 14: actions is a list, not a single value",
            "put a dash",
        ),
        (HEAD + "    above: 85\n    actions: []\n", "line 5, column 14: actions is an empty list", "give it an item"),
        (HEAD + "    above: 85\n    actions: [scren]\n", "line 5, column 15: an action is one of screen", "'screen'"),
        (
            HEAD + "    above: 85\n    actions: [screen, webhook]\n",
            "line 5, column 23: this rule wants the webhook, which is not set up",
            "in webhook:",
        ),
        (
            HEAD + "    above: 85\n    message: '{valu}'\n",
            "line 5, column 14: message has no value {valu} here",
            "'value'",
        ),
        (
            HEAD + "    above: 85\n    message: '{what}'\n",
            "line 5, column 14: message has no value {what} here",
            "choose from",
        ),
        (
            HEAD + "    above: 85\n    message: '{rule.x}'\n",
            "line 5, column 14: message has no value {rule.x} here",
            None,
        ),
        (
            HEAD + "    above: 85\n    message: '{value:.2f}'\n",
            "line 5, column 14: {value} comes with its unit",
            "write {value}",
        ),
        (HEAD + "    above: 85\n    message: '{'\n", "line 5, column 14: the braces of message do not match", "{{"),
        (HEAD.replace("hot", "''") + "    above: 85\n", "line 2, column 11: name is empty", None),
        (
            HEAD.replace("hot", "x" * 81) + "    above: 85\n",
            "line 2, column 11: a name is one line of at most 80",
            None,
        ),
        (HEAD.replace("hot", '"a\\nb"') + "    above: 85\n", "line 2, column 11: a name is one line", None),
        ("rules:\n  - reading: cpu.busy\n    above: 9%\n", "line 2, column 5: this rule has no name", "name: gpu-hot"),
        (
            "rules:\n  - name: a\n    above: 9%\n",
            "line 2, column 5: this rule does not say what it waits for",
            "add reading",
        ),
        (
            "rules:\n  - {name: a, finding: x, above: 3}\n",
            "line 2, column 27: above means nothing beside finding",
            None,
        ),
        (
            "rules:\n  - {name: a, reading: cpu.bussy, above: 9%}\n",
            "line 2, column 24: there is no reading cpu.bussy",
            "did you mean 'cpu.busy'?",
        ),
        (
            "rules:\n  - {name: a, reading: qqq, above: 9%}\n",
            "line 2, column 24: 'qqq' is not the name of a reading",
            "family.name",
        ),
        (
            "rules:\n  - {name: a, reading: cpu.busy, above: 9%}\n  - {name: a, reading: cpu.user, above: 9%}\n",
            "line 3, column 12: a second rule is named 'a'",
            "give each rule a name of its own",
        ),
        (
            "rules:\n  - {name: a, reading: cpu.busy, above: 9%, above: 8%}\n",
            "line 2, column 45: above is given twice",
            "it already stands in line 2",
        ),
        (
            "rules:\n  - hot\n",
            "line 2, column 5: a rule is written as lines of `key: value`, not as a single value",
            None,
        ),
        ("rules: {a: 1}\n", "line 1, column 8: rules is a list, not a mapping", "put a dash"),
        ("rules: []\n", "line 1, column 8: rules is an empty list", None),
        ("rule: []\n", "line 1, column 1: a file of alert rules has no key 'rule'", "did you mean 'rules'?"),
        ("actions: {exit: {code: 9}}\n", "line 1, column 1: there are no rules", "see configs/alerts.yaml"),
        ("- a\n", "line 1, column 1: a file of alert rules is written as lines of `key: value`, not as a list", None),
        ("rules: &all [*all]\n", "line 1, column 8: a rule is written as lines of `key: value`, not as a list", None),
        ("rules:\n  - name: a\n   reading: b\n", "line 3, column 4: this is not YAML", None),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: this is not YAML: but found another document", None),
        ("rules: [\n", "line 2, column 1: this is not YAML", None),
        ("rules:\n  - name: \x07\n", "line 2: this is not YAML: special characters are not allowed", None),
    ],
)
def test_a_bad_rule_is_refused_with_its_place_and_what_would_be_right(
    tmp_path: Path, text: str, what: str, hint: str | None
) -> None:
    told, helps = refused(tmp_path, text)

    assert told.startswith(what)
    assert hint is None or (helps is not None and hint in helps)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a comment\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    what, hint = refused(tmp_path, text)

    assert what.endswith("alerts.yaml is empty")
    assert hint == "copy configs/alerts.yaml and change what does not suit"


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alerts\.yaml cannot be read: No such file or directory"):
        load_rules(tmp_path / "alerts.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_rules(tmp_path)


def test_files_that_are_no_rules_at_all_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    for content, what in (
        (b"\x80\x81\xff\x00", "line 1: this is not YAML"),
        (b"[" * 5000, "nested too deeply"),
        (b"#" * (1 << 20) + b"#", "larger than a file of rules ever is"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=what):
            load_rules(path)


def test_a_finding_that_nobody_gives_is_refused_where_the_names_are_known(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yaml"
    path.write_text("rules:\n- {name: leak, finding: memory-leek}\n")

    assert load_rules(path).rules[0].finding == "memory-leek"
    with pytest.raises(ConfigError, match=r"line 2, column 25: there is no finding 'memory-leek'") as caught:
        load_rules(path, finding_names=("memory-leak", "level-shift"))
    assert caught.value.hint == "did you mean 'memory-leak'?"


# What comes along


@pytest.fixture(scope="module")
def shipped() -> AlertPlan:
    return load_rules(default_path(), environment={}, finding_names=("memory-leak",))


def test_the_rules_that_come_along_are_sound(shipped: AlertPlan) -> None:
    names = {rule.name for rule in shipped.rules}

    assert names >= {
        "memory-nearly-full", "disk-nearly-full", "gpu-hot", "gpu-throttled-by-heat", "steal", "quota-throttled",
        "swapping", "out-of-memory-kill", "gpu-lost", "memory-leak",
    }  # fmt: skip
    assert (shipped.log, shipped.webhook, shipped.exit_code) == (None, None, 8)


def test_the_actions_that_come_along_as_comments_are_sound_too(tmp_path: Path) -> None:
    lines = default_path().read_text().splitlines()
    begin = lines.index("# actions:")
    end = lines.index("", begin)
    section = "\n".join(line.removeprefix("# ") for line in lines[begin:end])
    text = "\n".join([section, *lines[end:]])

    plan = rules(tmp_path, text, {"ALERT_WEBHOOK": "https://hooks.example.com/secret"})

    assert plan.log is not None
    assert plan.webhook is not None
    assert {action for rule in plan.rules for action in rule.actions} == {Action.SCREEN, Action.LOG, Action.WEBHOOK}


def test_no_rule_that_comes_along_fires_on_an_idle_machine(shipped: AlertPlan) -> None:
    alerts = Alerts(shipped)
    # Nothing used, everything free: shares are 0 and sizes full.
    values: dict[str, float | None] = {}
    for family, name in CATALOGUE:
        key = f"{family}[0].{name}" if family in ("gpu", "filesystem") else f"{family}.{name}"
        full = quantity_of(key).unit == "bytes" and ("total" in name or "free" in name or "available" in name)
        values[key] = 1e12 if full else 0.0

    found = [event for second in range(0, 3600, 60) for event in alerts.see(sample(second, values))]

    assert found == []
