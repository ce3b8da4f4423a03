"""YAML that knows where it stands: every fault is told with file, line and column, and with what would be right."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.reader import ReaderError

from infer_opt.errors import ConfigError

MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A piece of a YAML file."""

    path: Path
    node: yaml.Node

    def fault(self, what: str, hint: str | None = None) -> ConfigError:
        """The error that says what is wrong with this piece."""
        return _fault(self.path, self.node.start_mark, what, hint)

    def text(self, name: str) -> str:
        """What is written here. `name` is what it should be.

        Raises:
            ConfigError: a list or a mapping, or nothing.
        """
        if not isinstance(self.node, yaml.ScalarNode):
            raise self.fault(f"{name} is one value, not a {_kind(self.node)}")
        if self.node.tag == "tag:yaml.org,2002:null" or not self.node.value.strip():
            raise self.fault(f"{name} is empty", "write a value behind the colon, or leave the line out")
        return str(self.node.value)

    def is_true(self, name: str) -> bool:
        """Whether `true` is written here.

        Raises:
            ConfigError: neither true nor false.
        """
        text = self.text(name)
        if self.node.tag != "tag:yaml.org,2002:bool":
            raise self.fault(f"{name} is true or false, got {text!r}", f"write {name}: true")
        return text.lower() in ("true", "yes", "on")

    def choice(self, name: str, known: Collection[str]) -> str:
        """The word written here, one of `known`.

        Raises:
            ConfigError: another one; the hint has the nearest.
        """
        text = self.text(name)
        if text not in known:
            raise self.fault(f"{name} is one of {', '.join(known)}, got {text!r}", nearest(text, known))
        return text

    def items(self, name: str) -> list["Node"]:
        """The items of a list.

        Raises:
            ConfigError: no list, or an empty one.
        """
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.fault(f"{name} is a list, not a {_kind(self.node)}", "put a dash before each item: - ...")
        if not self.node.value:
            raise self.fault(f"{name} is an empty list", "give it an item, or leave the line out")
        return [Node(path=self.path, node=item) for item in self.node.value]

    def entries(self, name: str, known: Sequence[str] | None) -> dict[str, "Entry"]:
        """The entries of a mapping by key, in the order of the file. Any key goes where `known` is None.

        Raises:
            ConfigError: no mapping, or a key that is not text, unknown, or there twice.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self.fault(f"{name} is written as lines of `key: value`, not as a {_kind(self.node)}")
        found: dict[str, Entry] = {}
        for key, value in self.node.value:
            word = Node(path=self.path, node=key).text(f"a key of {name}")
            if known is not None and word not in known:
                raise _fault(self.path, key.start_mark, f"{name} has no key {word!r}", nearest(word, known))
            if word in found:
                first = found[word].key.start_mark.line + 1
                raise _fault(self.path, key.start_mark, f"{word} is given twice", f"it already stands in line {first}")
            found[word] = Entry(path=self.path, node=value, key=key)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Node):
    """A value with its key."""

    key: yaml.Node

    def misplaced(self, what: str, hint: str | None = None) -> ConfigError:
        """The error that says why this key should not stand here."""
        return _fault(self.path, self.key.start_mark, what, hint)


def read_yaml(path: Path) -> Node:
    """The one document in a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, holds nothing, or is far too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}", "name a YAML file of rules") from error
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{path} is larger than a file of rules ever is ({MOST_BYTES:,} bytes)")
    # Bytes that are no text become characters that YAML refuses with a message of its own.
    text = content.decode("utf-8", errors="surrogateescape")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"this is not YAML: {error.problem or error.context}"
        raise (ConfigError(f"{path}: {what}") if mark is None else _fault(path, mark, what, None)) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}, line {line}: this is not YAML: {error.reason}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not a file of rules: it is nested too deeply") from error
    if node is None:
        raise ConfigError(f"{path} is empty", hint="copy configs/alerts.yaml and change what does not suit")
    return Node(path=path, node=node)


def nearest(word: str, known: Collection[str]) -> str:
    """A hint: the known word that resembles this one, or all of them."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(known)}"


def _fault(path: Path, mark: yaml.Mark, what: str, hint: str | None) -> ConfigError:
    return ConfigError(f"{path}, line {mark.line + 1}, column {mark.column + 1}: {what}", hint=hint)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "list"
    return "mapping" if isinstance(node, yaml.MappingNode) else "single value"
