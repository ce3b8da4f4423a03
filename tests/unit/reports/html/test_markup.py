import json
import math

from infer_opt.reports.html.markup import Markup, data_script, element, escaped, joined


def test_text_is_escaped_and_markup_is_not_escaped_twice() -> None:
    assert escaped('<b> & "x"') == "&lt;b&gt; &amp; &quot;x&quot;"
    assert escaped(Markup("<b>")) == "<b>"
    assert joined(["<", Markup("<br>"), None]) == "&lt;<br>"


def test_control_characters_are_blanks() -> None:
    assert escaped("a\x00b\x1b[31mc\nd") == "a b [31mc\nd"


def test_a_number_stays_with_its_per_cent_sign() -> None:
    assert escaped("95 % of calls") == "95\u00a0% of calls"


def test_attributes_are_escaped_and_left_out_where_there_is_nothing_to_say() -> None:
    drawn = element("a", "x", href='"><script>', hidden=True, title=None, open=False, aria_label="y", class_="z")

    assert drawn == '<a href="&quot;&gt;&lt;script&gt;" hidden aria-label="y" class="z">x</a>'


def test_empty_elements_have_no_end() -> None:
    assert element("meta", name="a") == '<meta name="a">'


def test_json_cannot_end_its_script_and_says_the_same() -> None:
    value = {"name": "</script><!--<script>&\u2028", "ratio": math.inf, "none": math.nan}
    drawn = data_script("data", value)
    body = drawn.removeprefix('<script type="application/json" id="data">').removesuffix("</script>")

    assert "<" not in body and "&" not in body and "\u2028" not in body
    assert json.loads(body) == {"name": value["name"], "ratio": None, "none": None}
