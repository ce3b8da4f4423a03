import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from infer_opt.errors import ConfigError
from infer_opt.profiles.surrounding import Stack
from infer_opt.reports import Format
from infer_opt.reports.flame import page
from infer_opt.reports.surroundings import by_function, gil_held, gil_wanted, render
from made_surroundings import SURROUNDING


def test_the_table_says_what_the_time_is_spent_on_and_by_whom() -> None:
    text = render(SURROUNDING)

    assert "python serve.py model.onnx: 10 s sampled, 50 times a second." in text
    assert re.search(r"onnxruntime +60 % +6\.00 s", text)
    assert re.search(r"40 % +4\.00 s +prepare \(serve\.py\)", text)
    assert re.search(r"100 % +10\.0 s +main \(serve\.py\)", text)
    assert "exit code 3" in text
    assert "- memray recorded every allocation." in text


def test_the_gil_is_shared_out_between_holders_and_those_that_wait() -> None:
    assert gil_held(SURROUNDING) == 0.4  # 200 samples of 500 moments
    assert gil_wanted(SURROUNDING) == 0.2  # 125 of 625 in which threads wanted to go on
    text = render(SURROUNDING)
    assert (
        "The GIL was held 40 % of the time, and threads that wanted to go on waited for it 20 % of theirs."
        in " ".join(text.split())
    )
    assert re.search(r"100 % +log \(serve\.py\)", text)


def test_memory_is_that_of_the_peak_by_who_allocated_it() -> None:
    text = render(SURROUNDING)

    assert "Most memory allocated at once: 10.0 MB." in text
    assert re.search(r"80 % +8\.00 MB +load \(serve\.py\) < <module> \(serve\.py\)", text)


def test_what_was_not_looked_at_is_not_said() -> None:
    bare = replace(
        SURROUNDING,
        waiting=None,
        waiting_for_gil=None,
        holding=None,
        memory=None,
        peak_bytes=None,
        cpu_s=None,
        notes=(),
    )

    text = render(bare)
    assert "GIL" not in text and "allocated" not in text and "Notes" not in text
    assert "CPU time n/a" in text
    assert gil_held(bare) is None and gil_wanted(bare) is None


def test_a_program_that_was_never_seen_has_a_report_all_the_same() -> None:
    text = render(
        replace(SURROUNDING, seconds=0.0, stacks=(), waiting=None, waiting_for_gil=None, holding=None, memory=None,
                shares=(), threads=(), notes=("sleep 1 runs no Python.",), exit_code=None)
    )  # fmt: skip

    assert "not sampled" in text and "still running" in text and "sleep 1 runs no Python." in text
    assert "share" not in text


@pytest.mark.parametrize("width", [50, 70, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in render(SURROUNDING, width=width).splitlines()) <= width


def test_a_function_that_calls_itself_counts_once() -> None:
    stacks = (Stack(frames=("f (a.py:1)", "f (a.py:2)", "f (a.py:2)"), samples=5),)

    assert by_function(stacks) == {"f (a.py)": (5, 5)}


def test_json_has_every_stack_and_null_for_what_was_not_looked_at() -> None:
    found = json.loads(render(replace(SURROUNDING, memory=None), Format.JSON))

    assert found["kind"] == "infer-opt surrounding profile"
    assert found["profile"]["stacks"][0]["samples"] == 300
    assert found["profile"]["memory"] is None


def test_a_page_escapes_what_a_table_would_take_for_its_own() -> None:
    odd = replace(SURROUNDING, stacks=(Stack(frames=("<lambda> (a|b.py:1)",), samples=5),))

    assert "&lt;lambda> (a\\|b.py)" in render(odd, Format.MARKDOWN)


def test_a_spreadsheet_is_no_form_of_it() -> None:
    with pytest.raises(ConfigError):
        render(SURROUNDING, Format.CSV)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("src", "href") and str(value) != "data:,"]


def data_of(text: str) -> list[dict[str, object]]:
    found = re.search(r'<script type="application/json" id="stacks">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    tabs: list[dict[str, object]] = json.loads(found[1])
    return tabs


def test_a_flame_graph_asks_for_nothing_from_outside() -> None:
    links = Links()
    links.feed(page(SURROUNDING))

    assert links.found == []
    assert "http" not in page(SURROUNDING).replace("http-equiv", "")


def test_a_flame_graph_has_a_tab_for_each_thing_that_was_looked_at() -> None:
    assert [tab["name"] for tab in data_of(page(SURROUNDING))] == ["CPU", "GIL held", "GIL wanted", "Waiting", "Memory"]
    bare = replace(SURROUNDING, memory=None, holding=None, waiting_for_gil=())
    assert [tab["name"] for tab in data_of(page(bare))] == ["CPU", "Waiting"]


def test_frames_are_as_wide_as_their_samples() -> None:
    cpu = data_of(page(SURROUNDING))[0]
    names, tree = cpu["names"], cpu["tree"]

    assert isinstance(names, list) and isinstance(tree, list)
    assert cpu["whole"] == 500 and tree[0][:2] == [names.index("<module> (serve.py:30)"), 500]
    assert [node[1] for node in tree[0][2]] == [300, 200]


def test_what_is_too_small_to_be_seen_is_left_out() -> None:
    stacks = (Stack(frames=("big (a.py:1)",), samples=100_000), Stack(frames=("tiny (a.py:1)",), samples=1))

    assert data_of(page(replace(SURROUNDING, stacks=stacks)))[0]["names"] == ["big (a.py:1)"]


def test_a_name_cannot_end_the_script_or_the_page() -> None:
    odd = Stack(frames=("</script><img src=x onerror=alert(1)> (a.py:1)",), samples=5)
    text = page(replace(SURROUNDING, subject="python -c '</title><b>'", stacks=(odd,)))

    assert "<img" not in text and "</title><b>" not in text
    assert data_of(text)[0]["names"] == ["</script><img src=x onerror=alert(1)> (a.py:1)"]


def test_its_tables_say_the_same_in_words() -> None:
    text = page(SURROUNDING)

    assert "<td>prepare (serve.py)</td>" in text
    assert "<td>load (serve.py)</td>" in text and "8.00 MB" in text
