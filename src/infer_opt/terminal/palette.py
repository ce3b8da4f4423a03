"""The colour of every ink: one palette that can be read on dark and on light terminals, whose background is kept."""

from rich.style import Style

from infer_opt.terminal.inks import Ink

# Of middling luminance, so that they stand out from black and from white alike (tests/unit/terminal hold them to it).
COLOURS = {
    Ink.DIM: "#808488",
    Ink.BORDER: "#808488",
    Ink.FOCUS: "#3a86d8",
    Ink.LABEL: "#1f8fa8",
    Ink.KEY: "#3a86d8",
    Ink.GOOD: "#2f9e50",
    Ink.INFO: "#3a86d8",
    Ink.WARNING: "#b87a00",
    Ink.CRITICAL: "#dc4b4b",
    Ink.LEVEL_1: "#2f9e50",
    Ink.LEVEL_2: "#6f9622",
    Ink.LEVEL_3: "#a58300",
    Ink.LEVEL_4: "#cf6a1f",
    Ink.LEVEL_5: "#dc4b4b",
    Ink.MEMORY: "#3a86d8",
    Ink.CACHE: "#8f76d6",
    Ink.READ: "#1f8fa8",
    Ink.WRITE: "#c0609a",
    Ink.CHOSEN: "#3a86d8",
}
_WEIGHTS = {
    Ink.BOLD: Style(bold=True),
    Ink.TITLE: Style(bold=True),
    Ink.KEY: Style(bold=True),
    Ink.WARNING: Style(bold=True),
    Ink.CRITICAL: Style(bold=True),
    Ink.CHOSEN: Style(bold=True),
    Ink.SELECTED: Style(reverse=True, bold=True),
    Ink.HEADING: Style(bold=True, underline=True),
}

STYLES = {ink: Style(color=COLOURS.get(ink)) + _WEIGHTS.get(ink, Style.null()) for ink in Ink}
