"""Where alerts go: the `actions` section of a file of rules. What is secret comes from the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from infer_opt.alerts.nodes import Entry, Node
from infer_opt.alerts.plan import Action, LogFormat, LogTarget, WebhookTarget
from infer_opt.alerts.quantities import parse_value
from infer_opt.errors import AlertError, ConfigError
from infer_opt.readings.catalogue import Unit

MOST_TRIES = 20
MOST_TIMEOUT_S = 120.0

_VARIABLE = re.compile(r"\$\{(?P<name>[^}]*)\}?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_OURS = ("content-type", "content-length", "host", "connection", "transfer-encoding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the actions of rules need. `usual` are those of a rule that names none."""

    log: LogTarget | None = None
    webhook: WebhookTarget | None = None
    exit_code: int = AlertError.exit_code

    @property
    def usual(self) -> frozenset[Action]:
        """The screen, and whatever is set up; never the end of the monitor."""
        there = {Action.SCREEN: True, Action.LOG: self.log is not None, Action.WEBHOOK: self.webhook is not None}
        return frozenset(action for action, is_there in there.items() if is_there)


def read_targets(section: Entry | None, environment: Mapping[str, str]) -> Targets:
    """What the section says; nothing is set up where there is none.

    Raises:
        ConfigError: something in it makes no sense, or a variable of the environment is not set.
    """
    if section is None:
        return Targets()
    found = section.entries("actions", ("log", "webhook", "exit"))
    log, webhook, leave = found.get("log"), found.get("webhook"), found.get("exit")
    return Targets(
        log=None if log is None else _log(log, environment),
        webhook=None if webhook is None else _webhook(webhook, environment),
        exit_code=AlertError.exit_code if leave is None else _exit_code(leave),
    )


def _log(section: Entry, environment: Mapping[str, str]) -> LogTarget:
    found = section.entries("log", ("path", "format"))
    path = Path(_filled_in(_needed(section, found, "path"), "path", environment)).expanduser()
    if path.is_dir():
        raise found["path"].fault(f"path is a folder: {path}", "name a file in it")
    kind = found.get("format")
    return LogTarget(path=path, format=LogFormat(kind.choice("format", tuple(LogFormat))) if kind else LogFormat.LOGFMT)


def _webhook(section: Entry, environment: Mapping[str, str]) -> WebhookTarget:
    found = section.entries("webhook", ("url", "headers", "timeout", "tries"))
    entry = _needed(section, found, "url")
    url, address, login = _address(entry, _filled_in(entry, "url", environment))
    headers = _headers(found.get("headers"), environment)
    if login is not None:
        if any(name.lower() == "authorization" for name, _ in headers):
            raise found["headers"].misplaced("the url has a user, and headers an Authorization", "keep one of the two")
        headers = (*headers, ("Authorization", login))
    return WebhookTarget(
        url=url,
        address=address,
        headers=headers,
        timeout_s=_number(found.get("timeout"), "timeout", Unit.SECONDS, 10.0, least=0.1, most=MOST_TIMEOUT_S),
        tries=int(_number(found.get("tries"), "tries", Unit.COUNT, 5, least=1, most=MOST_TRIES)),
    )


def _exit_code(section: Entry) -> int:
    found = section.entries("exit", ("code",))
    code = _number(_needed(section, found, "code"), "code", Unit.COUNT, 0, least=1, most=255)
    return int(code)


def _needed(section: Entry, found: Mapping[str, Entry], key: str) -> Entry:
    if key not in found:
        raise section.misplaced(f"there is no {key} here", f"add {key}: below it")
    return found[key]


def _number(entry: Entry | None, name: str, unit: Unit, default: float, *, least: float, most: float) -> float:
    if entry is None:
        return default
    try:
        value = parse_value(entry.text(name), unit, of_what=name)
    except ConfigError as error:
        raise entry.fault(error.what, error.hint) from error
    if not least <= value <= most or (unit is Unit.COUNT and value != int(value)):
        whole = "a whole number" if unit is Unit.COUNT else f"a number of {unit}"
        raise entry.fault(f"{name} is {whole} from {least:g} to {most:g}, got {entry.text(name)}")
    return value


def _address(entry: Node, text: str) -> tuple[str, str, str | None]:
    """A URL without user and fragment; scheme and host of it; what to send as Authorization, where it has a user.

    No message here may show any of it but the scheme: the URL of a webhook is often the whole secret.
    """
    hint = "it begins with https:// (or http://) and the name of a host; ${NAME} puts a variable in its place"
    if not text.isascii() or any(letter.isspace() or not letter.isprintable() for letter in text):
        raise entry.fault("the webhook's url holds spaces, or letters that a URL cannot hold", "write them as %20")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise entry.fault("the webhook's url is not a URL", hint) from None
    if parts.scheme not in ("http", "https") or not host:
        raise entry.fault("the webhook's url is no http or https address", hint)
    shown = f"[{host}]" if ":" in host else host
    place = shown if port is None else f"{shown}:{port}"
    login = None
    if parts.username is not None:
        from base64 import b64encode

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"Basic {b64encode(pair.encode()).decode()}"
    return urlunsplit((parts.scheme, place, parts.path, parts.query, "")), f"{parts.scheme}://{shown}", login


def _headers(section: Entry | None, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if section is None:
        return ()
    headers: list[tuple[str, str]] = []
    for name, entry in section.entries("headers", None).items():
        if not _HEADER_NAME.match(name) or name.lower() in _OURS:
            raise entry.misplaced(f"{name!r} cannot be a header here", "a name like Authorization")
        value = _filled_in(entry, f"header {name}", environment).strip()
        if not value.isascii() or not value.isprintable():
            raise entry.fault(f"header {name} holds what a header cannot: line breaks or letters beyond ASCII")
        headers.append((name, value))
    return tuple(headers)


def _filled_in(entry: Node, name: str, environment: Mapping[str, str]) -> str:
    """The text with `${NAME}` replaced. Messages name the variable and never its value."""

    def value(found: re.Match[str]) -> str:
        variable = found["name"]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) or not found[0].endswith("}"):
            raise entry.fault(f"{name} has a variable that is not written as one", "write it as ${NAME}")
        if not environment.get(variable):
            raise entry.fault(f"{name} needs the variable {variable}, which is not set", f"export {variable}=...")
        return environment[variable]

    return _VARIABLE.sub(value, entry.text(name))
