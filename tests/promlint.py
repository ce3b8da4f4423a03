"""What `promtool check metrics` holds against metrics, for tests that have no promtool.

Source: the rules of client_golang's promlint, which promtool uses (prometheus/testutil/promlint), and the naming
guide at https://prometheus.io/docs/practices/naming/.
"""

import re
from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

BASE_UNITS = {"amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "metres", "seconds", "volts"}
OTHER_UNITS = {
    "minutes", "hours", "days", "weeks", "kelvins", "fahrenheit", "rankine", "inches", "yards", "miles", "bits",
    "calories", "pounds", "ounces",
}  # fmt: skip
PREFIXES = (
    "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mibi", "giga", "gibi",
    "tera", "tebi", "peta", "pebi",
)  # fmt: skip
ABBREVIATIONS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
TYPES = {"counter", "gauge", "summary", "histogram", "gauge_histogram"}
NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")


def problems(text: str) -> list[str]:
    """Everything that is wrong with these metrics, in the text format."""
    # The parser puts the suffix of a counter right, so this has to be looked for in the text.
    counters = re.findall(r"^# TYPE (\S+) counter$", text, re.MULTILINE)
    bare = [f"{name}: a counter does not end in _total" for name in counters if not name.endswith("_total")]
    found: list[Metric] = list(text_string_to_metric_families(text))
    return bare + [f"{family.name}: {problem}" for family in found for problem in _problems(family)]


def _problems(family: Metric) -> Iterator[str]:
    # The parser takes `_total` off the name of a counter.
    name = f"{family.name}_total" if family.type == "counter" else family.name
    words = name.split("_")
    if not family.documentation.strip():
        yield "no help text"
    if not NAME.match(name):
        yield "not in snake_case"
    if family.type != "counter" and name.endswith("_total"):
        yield "_total is for counters"
    yield from (
        f"the suffix {end} is reserved" for end in ("_bucket", "_count", "_sum", "_created") if name.endswith(end)
    )
    yield from (f"the type {kind} is in the name" for kind in TYPES if f"_{kind}_" in f"{name}_")
    yield from (f"{word} is an abbreviated unit" for word in words if word in ABBREVIATIONS)
    for word in words:
        stem = next((word.removeprefix(prefix) for prefix in PREFIXES if word.startswith(prefix)), "")
        if word in OTHER_UNITS or stem in BASE_UNITS | OTHER_UNITS:
            yield f"{word} is not a base unit"
    for sample in family.samples:
        if sample.name != name and family.type != "counter":
            yield f"has a sample {sample.name}"
        yield from (f"the label {label} is reserved" for label in sample.labels if label in ("le", "quantile"))
        yield from (f"the label {label} is not in snake_case" for label in sample.labels if not NAME.match(label))
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
    if len(set(series)) < len(series):
        yield "a series is there twice"
