import json
import re
from dataclasses import replace

import pytest

from infer_opt.differences import compare
from infer_opt.errors import ConfigError
from infer_opt.reports import By, Format
from infer_opt.reports.differences import render
from made_differences import MACHINE, NODES, profile, slowed

CLEAR = compare(profile(seed=1, nodes=slowed("soft1", 2.0), subject="slow.onnx"), profile(seed=2), paired=True)
NOISE = compare(profile(seed=11), profile(seed=12), paired=True)


def test_the_answer_names_the_operators_and_their_part_of_the_difference() -> None:
    text = render(CLEAR)

    assert re.search(r"A call of slow\.onnx takes .* more than one of net\.onnx", text)
    assert re.search(r"Softmax accounts for \d+ % of the difference", text)
    assert re.search(r"^\* +Softmax ×2 .*%$", text, re.MULTILINE)
    assert "Measured in turn in 6 pairs" in text


def test_a_star_stands_where_an_interval_excludes_zero_and_nowhere_else() -> None:
    rows = {row.name: row.is_clear for row in CLEAR.operators}
    starred = re.findall(r"^(\*| ) +(\S+)(?: ×2)?  .*µs|ns", render(CLEAR), re.MULTILINE)

    assert {name: star == "*" for star, name in starred if name in rows} == rows


def test_noise_is_called_noise() -> None:
    text = render(NOISE)

    assert "the difference cannot be told from noise" in text
    assert "None of the 4 operators differs by more than noise." in text
    assert not re.search(r"^\* ", text, re.MULTILINE)


def test_a_saved_profile_says_that_it_was_not_measured_in_turn_and_where() -> None:
    there = replace(MACHINE, fingerprint="there", cpu_model="Intel Xeon")
    text = render(compare(profile(seed=1), profile(seed=2, machine=there, runtime="1.23.2"), paired=False))

    assert "NOT measured in turn" in text and "another machine: Intel Xeon" in " ".join(text.split())
    assert "ONNX Runtime 1.23.2 and 1.32.0" in text
    assert "- other-machine:" in text


def test_an_operator_of_one_side_alone_has_none_on_the_other() -> None:
    text = render(compare(profile(seed=7), profile(seed=8, nodes=NODES[:-1]), paired=True))

    assert re.search(r"com\.microsoft\.Gelu ×1/0 .* none ", text)


@pytest.mark.parametrize(("by", "name"), [(By.MODULE, "encoder.0"), (By.NODE, "soft1")])
def test_modules_and_nodes_are_shown_where_they_are_asked_for(by: By, name: str) -> None:
    assert re.search(rf"^\* +{re.escape(name)}", render(CLEAR, by=by), re.MULTILINE)


def test_models_without_modules_say_why_nothing_is_compared_by_them() -> None:
    bare = tuple((name, kind, "", us) for name, kind, _, us in NODES)
    found = compare(profile(nodes=bare), profile(seed=1, nodes=bare), paired=True)

    assert "Nothing can be compared by module" in render(found, by=By.MODULE)


def test_blocks_are_not_compared() -> None:
    with pytest.raises(ConfigError):
        render(CLEAR, by=By.BLOCK)


def test_rows_beyond_the_top_are_added_up() -> None:
    assert re.search(r"3 more", render(CLEAR, top=1))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    longest = max(len(line) for line in render(CLEAR, width=width).splitlines())

    assert longest <= max(width, 76)  # a star, a name, a difference and its interval need that


def test_one_process_a_side_has_no_interval() -> None:
    text = render(compare(profile(processes=1), profile(seed=1, processes=1), paired=True))

    assert "one process a side gives no interval" in " ".join(text.split()) and "none yet" in text


def test_json_says_of_every_row_whether_it_is_clear() -> None:
    found = json.loads(render(CLEAR, Format.JSON))

    assert found["kind"] == "infer-opt profile difference"
    rows = found["difference"]["operators"]
    assert [row["is_clear"] for row in rows] == [row.is_clear for row in CLEAR.operators]
    assert found["difference"]["paired"] is True and found["difference"]["is_clear"] is True


def test_an_infinite_interval_is_null_in_json() -> None:
    found = json.loads(render(compare(profile(processes=1), profile(seed=1, processes=1), paired=True), Format.JSON))

    assert found["difference"]["total"]["low"] is None
