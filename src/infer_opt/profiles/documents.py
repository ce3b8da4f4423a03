"""Profiles as plain JSON values and back: what is stored, and what `profile --format json` gives."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from infer_opt.config import TrialConfig
from infer_opt.errors import ConfigError
from infer_opt.profiles.nodes import Node
from infer_opt.profiles.profile import Profile

KIND = "infer-opt profile"


def to_document(profile: Profile) -> dict[str, Any]:
    """The profile as JSON values; `from_document` gives an equal one back."""
    document: dict[str, Any] = _finite(msgspec.to_builtins(dataclasses.replace(profile)))
    return {"kind": KIND, "profile": document | {"config": profile.config.to_dict()}}


def from_document(document: Mapping[str, Any]) -> Profile:
    """The profile that `to_document` described.

    Raises:
        ConfigError: it is no profile, or one of another release.
    """
    if document.get("kind") != KIND or not isinstance(document.get("profile"), dict):
        raise ConfigError("this is not a profile", hint="infer-opt profile MODEL --format json writes one")
    body: dict[str, Any] = _infinite(dict(document["profile"]))
    try:
        config = TrialConfig.from_dict(body["config"])
        profile = msgspec.convert(body | {"config": msgspec.to_builtins(config)}, type=Profile)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"this profile cannot be read: {error}", hint="it was written by another release of infer-opt"
        ) from error
    nodes = tuple(dataclasses.replace(times, node=_with_tuples(times.node)) for times in profile.nodes)
    return dataclasses.replace(profile, nodes=nodes)


def read_document(text: str) -> Profile:
    """The profile in a file's text.

    Raises:
        ConfigError: it is no JSON, or no profile.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"this is not a profile: {error}", hint="infer-opt profile MODEL --format json writes one"
        ) from error
    if not isinstance(document, dict):
        raise ConfigError("this is not a profile", hint="infer-opt profile MODEL --format json writes one")
    return from_document(document)


def _finite(value: Any) -> Any:
    """JSON has no word for infinity: an interval that ends nowhere, from one process, ends in null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _infinite(value: Any) -> Any:
    """Ends that are null, open again."""
    if isinstance(value, list | tuple):
        return [_infinite(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    found = {key: _infinite(inner) for key, inner in value.items()}
    if found.keys() >= {"value", "low", "high", "confidence"}:
        ends = {"low": -math.inf, "high": math.inf}
        found |= {key: end for key, end in ends.items() if found[key] is None}
    return found


def _with_tuples(node: Node) -> Node:
    """JSON has lists alone; attributes are tuples, so that a node can be hashed."""
    return dataclasses.replace(
        node,
        attributes=tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in node.attributes),
    )
