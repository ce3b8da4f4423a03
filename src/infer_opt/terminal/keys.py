"""Every key of the screen: the one table that bindings, the help and the hints at the bottom are made from."""

from dataclasses import dataclass

from textual.binding import Binding

from infer_opt.terminal.inks import Ink, Line, Span, cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, as Textual calls it (several with commas), as people do, what it does, and the action that does it.

    `hint` is the word for the line at the bottom, where it is to stand there. Without an action the key belongs to a
    list that is moved in, or to Textual.
    """

    keys: str
    shown: str
    what: str
    action: str = ""
    hint: str = ""


GROUPS: dict[str, tuple[Key, ...]] = {
    "Screen": (
        Key(keys="q,ctrl+c", shown="q", what="quit; so does Ctrl-C", action="quit", hint="quit"),
        Key(keys="question_mark,h,f1", shown="?", what="this help; so do h and F1", action="help", hint="help"),
        Key(keys="1", shown="1", what="overview of everything", action="view('overview')"),
        Key(keys="2", shown="2", what="processes, with all the room there is", action="view('processes')"),
        Key(keys="3", shown="3", what="findings and alerts, with their details", action="view('findings')"),
        Key(keys="space", shown="space", what="freeze what is shown, and go on; samples are taken all the while", action="freeze", hint="freeze"),
        Key(keys="plus,equals_sign", shown="+", what="sample less often, up to once a minute", action="pace(1)"),
        Key(keys="minus", shown="-", what="sample more often, up to 20 times a second", action="pace(-1)"),
        Key(keys="tab", shown="tab", what="go from processes to findings and back"),
    ),
    "Lists": (
        Key(keys="up,down", shown="↑ ↓", what="choose the one above or below"),
        Key(keys="pageup,pagedown", shown="pgup pgdn", what="go a page up or down"),
        Key(keys="home,end", shown="home end", what="go to the first or the last"),
        Key(keys="enter", shown="enter", what="details: the course of a process, the causes of a finding", hint="open"),
        Key(keys="escape", shown="esc", what="clear the filter, then the choice; close what is open", action="clear"),
    ),
    "Processes": (
        Key(keys="c", shown="c", what="sort by CPU", action="sort('cpu')"),
        Key(keys="m", shown="m", what="sort by memory", action="sort('memory')"),
        Key(keys="g", shown="g", what="sort by GPU memory", action="sort('gpu memory')"),
        Key(keys="p", shown="p", what="sort by number (PID)", action="sort('pid')"),
        Key(keys="i", shown="i", what="sort by disk I/O", action="sort('disk')"),
        Key(keys="left,right", shown="← →", what="sort by the next column; so does a click on a heading"),
        Key(keys="r", shown="r", what="reverse the order", action="reverse"),
        Key(keys="slash", shown="/", what="filter by text or regular expression; esc clears it", action="filter", hint="filter"),
        Key(keys="t", shown="t", what="show them as a tree", action="tree", hint="tree"),
        Key(keys="f", shown="f", what="only the chosen processes and what descends from them", action="only_chosen", hint="chosen"),
        Key(keys="k", shown="k", what="stop the process that is selected (SIGTERM), after a question", action="stop", hint="stop"),
    ),
}  # fmt: skip

KEYS = tuple(key for keys in GROUPS.values() for key in keys)
_HINTED = tuple(key for key in KEYS if key.hint)
_KEY_WIDTH = 10


def bindings() -> list[Binding]:
    """What Textual is to bind in the app; a Ctrl-C quits whatever has the keys."""
    return [
        Binding(name, key.action, key.what, show=False, priority=name == "ctrl+c")
        for key in KEYS
        if key.action
        for name in key.keys.split(",")
    ]


def help_lines() -> list[Line]:
    """All keys by group, a line each."""
    lines: list[Line] = []
    for title, keys in GROUPS.items():
        lines += [((title, Ink.TITLE),)] if not lines else [(("", Ink.TEXT),), ((title, Ink.TITLE),)]
        lines += [((f"  {key.shown:<{_KEY_WIDTH}}", Ink.KEY), (key.what, Ink.TEXT)) for key in keys]
    return lines


def hints(width: int) -> Line:
    """As many hints as fit, whole ones only."""
    spans: list[Span] = []
    for key in _HINTED:
        more: list[Span] = [(f" {key.shown} ", Ink.KEY), (f"{key.hint} ", Ink.DIM)]
        if cells((*spans, *more)) > width:
            break
        spans += more
    return tuple(spans)


def hint_at(x: int, width: int) -> Key | None:
    """The key whose hint stands there, for clicks."""
    start = 0
    for key, shown in zip(_HINTED, _paired(hints(width)), strict=False):
        if start <= x < start + cells(shown):
            return key
        start += cells(shown)
    return None


def _paired(line: Line) -> list[Line]:
    return [line[number : number + 2] for number in range(0, len(line), 2)]
