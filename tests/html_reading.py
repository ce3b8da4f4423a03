"""Reads a page as a person or a program would: its text, its elements, and the data that it carries along."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

EMPTY = {"meta", "input", "br", "hr", "col", "link", "img"}
BLOCKS = {
    "p", "li", "h1", "h2", "h3", "dt", "dd", "tr", "caption", "summary", "pre", "a", "section", "title", "figcaption",
    "button",
}  # fmt: skip


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    def all(self, name: str | None = None, **wanted: str) -> Iterator["Element"]:
        """Every element below of that name and with those attributes."""
        for child in self.children:
            if isinstance(child, Element):
                if name in (None, child.name) and all(child.attributes.get(k) == v for k, v in wanted.items()):
                    yield child
                yield from child.all(name, **wanted)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Element(tag, dict(attrs))
        assert len(found.attributes) == len(attrs), f"an attribute twice: {tag} {attrs}"
        self.open[-1].children.append(found)
        if tag not in EMPTY:
            self.open.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> ends <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


@lru_cache(maxsize=32)
def read(page: str) -> Element:
    """The page as a tree; every element must be closed in order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert [element.name for element in reader.open] == [""]
    return reader.root


def data_of(page: str) -> Mapping[str, Any]:
    """What charts and downloads are made of."""
    script = next(read(page).all("script", id="report-data"))
    data: Mapping[str, Any] = json.loads(script.text)
    return data


def text_of(page: str) -> str:
    """What a reader sees, without scripts, a line a block; rows of tables by bars."""
    lines: list[str] = []

    def walk(element: Element) -> None:
        if element.name in ("script", "style", "noscript"):
            return
        if element.name == "tr":
            cells = [child.text.strip() for child in element.children if isinstance(child, Element)]
            lines.append(" | ".join(cells))
            return
        inner = [child for child in element.children if isinstance(child, Element)]
        if element.name in BLOCKS and not any(child.name in BLOCKS for child in inner):
            lines.append(" ".join(element.text.split()))
            return
        for child in inner:
            walk(child)

    walk(read(page))
    return "\n".join(line for line in lines if line)
