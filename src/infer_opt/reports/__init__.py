"""Results in, strings out: nothing here measures, stores or prints."""

from enum import StrEnum


class Format(StrEnum):
    """How a report is written: for a terminal, for programs, for a page, for a spreadsheet."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    CSV = "csv"


class By(StrEnum):
    """What the nodes of a profile are added up by."""

    OPERATOR = "operator"
    MODULE = "module"
    BLOCK = "block"
    NODE = "node"
