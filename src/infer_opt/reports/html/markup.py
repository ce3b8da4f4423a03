"""HTML as text: whatever is not `Markup` already is escaped."""

import json
from collections.abc import Iterable
from html import escape
from typing import Any

import msgspec

from infer_opt.reports.documents import finite

_EMPTY = frozenset({"meta", "input", "br", "hr", "col"})

# Inside a script, JSON must not end the script, begin a comment or, in old engines, end a line.
_RISKY = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """The text as HTML shows it literally; control characters are blanks, and a number stays with its per cent sign."""
    if isinstance(text, Markup):
        return text
    printable = "".join(char if char.isprintable() or char == "\n" else " " for char in str(text))
    return Markup(escape(printable.replace(" %", "\u00a0%")))


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """`<name attributes>children</name>`; None among the children, and None or False in an attribute, is left out.

    A trailing underscore of an attribute is dropped (`class_`), others are hyphens (`aria_label`).
    """
    words = [name, *(_attribute(key, value) for key, value in attributes.items() if value not in (None, False))]
    opening = f"<{' '.join(words)}>"
    return Markup(opening) if name in _EMPTY else Markup(f"{opening}{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Markup:
    """One after the other, without anything between them."""
    return Markup("".join(escaped(child) for child in children if child is not None))


def data_script(identity: str, value: object) -> Markup:
    """Plain values as JSON in a script that is not run; `</script>` in a string cannot end it."""
    text = json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False).translate(_RISKY)
    return Markup(f'<script type="application/json" id="{escaped(identity)}">{text}</script>')


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    return name if value is True else f'{name}="{escaped(value)}"'


def _plain(value: object) -> Any:
    return finite(msgspec.to_builtins(value, enc_hook=lambda scalar: scalar.item()))
