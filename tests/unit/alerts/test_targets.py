from pathlib import Path

import pytest

from alerting import rules
from infer_opt.alerts.plan import Action, AlertPlan, LogFormat, LogTarget, WebhookTarget
from infer_opt.errors import ConfigError

RULES = "rules: [{name: hot, reading: gpu.temperature_celsius, above: 85C}]\n"
SECRET = "T0PSECRET"


def plan(folder: Path, actions: str, environment: dict[str, str] | None = None) -> AlertPlan:
    return rules(folder, f"{RULES}actions: {actions}\n", environment)


def webhook(folder: Path, url: str, rest: str = "") -> WebhookTarget:
    target = plan(folder, f"{{webhook: {{url: '{url}'{rest}}}}}", {"SECRET": SECRET}).webhook
    assert target is not None
    return target


def test_without_the_section_alerts_go_to_the_screen(tmp_path: Path) -> None:
    found = rules(tmp_path, RULES)

    assert (found.log, found.webhook, found.exit_code) == (None, None, 8)
    assert found.rules[0].actions == {Action.SCREEN}


def test_what_is_set_up_is_used_by_rules_that_name_no_action_but_never_the_end(tmp_path: Path) -> None:
    found = plan(tmp_path, "{log: {path: a.log}, webhook: {url: 'https://h.example/x'}, exit: {code: 9}}")

    assert found.rules[0].actions == {Action.SCREEN, Action.LOG, Action.WEBHOOK}
    assert found.exit_code == 9


def test_the_log_is_where_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert plan(tmp_path, "{log: {path: '${DIR}/a.log', format: json}}", {"DIR": "/logs"}).log == LogTarget(
        path=Path("/logs/a.log"), format=LogFormat.JSON
    )
    assert plan(tmp_path, "{log: {path: ~/a.log}}").log == LogTarget(path=Path("/home/somebody/a.log"))


def test_the_url_may_come_from_the_environment(tmp_path: Path) -> None:
    target = webhook(tmp_path, "https://hooks.example.com:8443/${SECRET}?key=${SECRET}#part")

    assert target.url == f"https://hooks.example.com:8443/{SECRET}?key={SECRET}"
    assert target.address == "https://hooks.example.com"
    assert (target.timeout_s, target.tries, target.headers) == (10.0, 5, ())


def test_user_and_password_become_a_header(tmp_path: Path) -> None:
    target = webhook(tmp_path, "https://me:p%40ss@hooks.example.com/x")

    assert target.url == "https://hooks.example.com/x"
    assert target.headers == (("Authorization", "Basic bWU6cEBzcw=="),)


def test_headers_times_and_tries_can_be_set(tmp_path: Path) -> None:
    rest = ", headers: {Authorization: 'Bearer ${SECRET}', X-Team: ml}, timeout: 500ms, tries: 2"
    target = webhook(tmp_path, "http://[::1]:9/x", rest)

    assert target.headers == (("Authorization", f"Bearer {SECRET}"), ("X-Team", "ml"))
    assert (target.timeout_s, target.tries, target.address) == (0.5, 2, "http://[::1]")


def test_a_plan_can_be_printed_without_its_secrets(tmp_path: Path) -> None:
    rest = ", headers: {Authorization: 'Bearer ${SECRET}'}"
    text = f"{RULES}actions: {{webhook: {{url: 'https://me:${{SECRET}}@h.example/${{SECRET}}'}}}}\n"
    plain = webhook(tmp_path, "https://h.example/${SECRET}", rest)
    with_user = rules(tmp_path, text, {"SECRET": SECRET})

    for shown in (repr(plain), str(plain), repr(with_user)):
        assert SECRET not in shown
        assert "https://h.example" in shown


@pytest.mark.parametrize(
    ("url", "rest", "what"),
    [
        ("ftp://h.example/${SECRET}", "", "column 26: the webhook's url is no http or https address"),
        ("${SECRET}", "", "the webhook's url is no http or https address"),
        ("https:///${SECRET}", "", "the webhook's url is no http or https address"),
        ("https://[${SECRET}/x", "", "the webhook's url is not a URL"),
        ("https://h.example:${SECRET}/x", "", "the webhook's url is not a URL"),
        ("https://h.example/${SECRET} x", "", "the webhook's url holds spaces"),
        ("https://h.example/${SECRET}é", "", "the webhook's url holds spaces, or letters that a URL cannot hold"),
        ("https://h.example/${}", "", "url has a variable that is not written as one"),
        ("https://h.example/${SECRET", "", "url has a variable that is not written as one"),
        ("https://h.example/${NOT_SET}", "", "url needs the variable NOT_SET, which is not set"),
        (
            "https://me:${SECRET}@h.example/",
            ", headers: {authorization: x}",
            "the url has a user, and headers an Authorization",
        ),
        ("https://h.example/", ", headers: {Host: x}", "'Host' cannot be a header here"),
        ("https://h.example/", ", headers: {'A b': x}", "'A b' cannot be a header here"),
        ("https://h.example/", ', headers: {A: "${SECRET}\\n\\nx"}', "header A holds what a header cannot"),
        ("https://h.example/", ", headers: {A: '${SECRET}é'}", "header A holds what a header cannot"),
        ("https://h.example/", ", tries: 0", "tries is a whole number from 1 to 20, got 0"),
        ("https://h.example/", ", tries: 1.5", "tries is a whole number from 1 to 20, got 1.5"),
        ("https://h.example/", ", timeout: 1h", "timeout is a number of seconds from 0.1 to 120, got 1h"),
        ("https://h.example/", ", timeout: 2GB", "'2GB' is bytes, and timeout is seconds"),
        ("https://h.example/", ", retry: 3", "webhook has no key 'retry'"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_without_telling_its_url(
    tmp_path: Path, url: str, rest: str, what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        webhook(tmp_path, url, rest)

    assert f"{tmp_path}/alerts.yaml, line 2, column " in caught.value.what
    assert what in caught.value.what
    assert SECRET not in f"{caught.value.what} {caught.value.hint}"
    # Neither does the chain of causes, should somebody print a traceback.
    cause = caught.value.__cause__
    assert SECRET not in str(cause)


@pytest.mark.parametrize(
    ("actions", "what"),
    [
        ("{webhook: {tries: 3}}", "line 2, column 11: there is no url here"),
        ("{log: {format: json}}", "line 2, column 11: there is no path here"),
        ("{log: {path: a, format: xml}}", "line 2, column 34: format is one of logfmt, json, got 'xml'"),
        ("{log: {path: /}}", "line 2, column 23: path is a folder: /"),
        ("{log: alerts.log}", "log is written as lines of `key: value`, not as a single value"),
        ("{exit: {}}", "there is no code here"),
        ("{exit: {code: 0}}", "code is a whole number from 1 to 255, got 0"),
        ("{exit: {code: 256}}", "code is a whole number from 1 to 255, got 256"),
        ("{exits: {code: 9}}", "line 2, column 11: actions has no key 'exits'"),
        ("[screen]", "actions is written as lines of `key: value`, not as a list"),
    ],
)
def test_a_section_that_makes_no_sense_is_refused(tmp_path: Path, actions: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, actions)

    assert what in caught.value.what
