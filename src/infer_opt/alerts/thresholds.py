"""What a rule compares: the reading, its bound, and where it is well again."""

import re

from infer_opt.alerts.nodes import Entry, Node, nearest
from infer_opt.alerts.plan import Bound, RuleKind
from infer_opt.alerts.quantities import parse_value
from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import CATALOGUE, quantity_of

_SHARE = re.compile(r"\s*(?P<percent>\d+(?:\.\d+)?)\s*%\s+of\s+(?P<key>\S+)\s*\Z")


def read_reading(entry: Node) -> str:
    """The key of a reading that there is.

    Raises:
        ConfigError: there is none; the hint has the nearest.
    """
    return _known(entry, entry.text("reading").strip())


def read_bounds(key: str, kind: RuleKind, entry: Entry, clear: Entry | None) -> tuple[Bound, Bound]:
    """The bound of a rule about `key`, and the one at which it is resolved: the same, unless `clear` says so.

    Raises:
        ConfigError: a value in another unit, a share of what cannot be compared, or `clear` on the wrong side.
    """
    bound = _bound(key, entry, kind)
    if clear is None:
        return bound, bound
    end = _bound(key, clear, "clear")
    if end.of != bound.of:
        like = "a plain value" if bound.of is None else f"a share of {bound.of}"
        raise clear.fault(f"clear is written as {kind} is: {like}", f"{kind} says {entry.text(kind)}")
    is_beyond = end.value > bound.value if kind is RuleKind.ABOVE else end.value < bound.value
    if is_beyond:
        side = "at or below" if kind is RuleKind.ABOVE else "at or above"
        raise clear.fault(
            f"clear: {clear.text('clear')} would end the alert where it begins", f"it lies {side} {entry.text(kind)}"
        )
    return bound, end


def _bound(key: str, entry: Entry, name: str) -> Bound:
    quantity, text = quantity_of(key), entry.text(name)
    share = _SHARE.match(text)
    if share is not None:
        of = _known(entry, share["key"])
        other = quantity_of(of)
        if other.unit is not quantity.unit:
            raise entry.fault(
                f"{key} is in {quantity.unit} and {of} in {other.unit}: one is no share of the other",
                "name a reading in the same unit",
            )
        return Bound(value=float(share["percent"]) / 100, of=of)
    if " of " in text:
        raise entry.fault(f"{text!r} is not a share of another reading", "write it as 90% of memory.total_bytes")
    try:
        return Bound(value=parse_value(text, quantity.unit, of_what=key))
    except ConfigError as error:
        raise entry.fault(error.what, error.hint) from error


def _known(entry: Node, key: str) -> str:
    try:
        quantity_of(key)
    except ConfigError as error:
        every = [f"{family}.{name}" for family, name in CATALOGUE]
        hint = nearest(key, every)
        raise entry.fault(error.what, error.hint if hint.startswith("choose") else hint) from error
    return key
