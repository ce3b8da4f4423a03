import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from alerting import event, finding
from full_sample import full_sample
from infer_opt.prometheus.collecting import SampleCollector

PATH = Path(__file__).parents[3] / "configs" / "grafana.json"
ROWS = ["Alerts", "CPU", "Memory", "Pressure", "Disks", "Network", "Processes", "GPUs"]
METRIC = re.compile(r"\binfer_opt_[a-z0-9_]+")


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PATH.read_text())
    return found


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Metric -> its labels, of everything that the endpoint can give."""
    registry = CollectorRegistry()
    registry.register(
        SampleCollector(
            latest=full_sample,
            findings=lambda: [finding("memory-leak", "memory.used_bytes")],
            alerts=lambda: [event()],
        )
    )
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """Every query: of panels, variables and annotations."""
    yield from (target["expr"] for panel in panels(dashboard) for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]["query"] if isinstance(variable["query"], dict) else variable["query"]
    yield from (one["expr"] for one in dashboard["annotations"]["list"] if "expr" in one)


def test_there_is_a_row_for_each_kind_of_reading(dashboard: dict[str, Any]) -> None:
    assert [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"] == ROWS


def test_queries_name_only_metrics_that_the_endpoint_has(
    dashboard: dict[str, Any], labels: dict[str, set[str]]
) -> None:
    named = {name for expression in expressions(dashboard) for name in METRIC.findall(expression)}

    assert len(named) > 50
    assert named - set(labels) == set()


def test_queries_select_and_legends_show_only_labels_that_the_metric_has(
    dashboard: dict[str, Any], labels: dict[str, set[str]]
) -> None:
    for panel in panels(dashboard):
        for target in panel["targets"]:
            there = {"job", "instance"}.union(*(labels[name] for name in METRIC.findall(target["expr"])))
            asked = set(re.findall(r"(\w+)=~", target["expr"]))
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert (asked | shown) - there == set(), panel["title"]
            assert {"job", "instance"} <= asked, panel["title"]


def test_counters_are_only_looked_at_as_rates(dashboard: dict[str, Any]) -> None:
    for expression in expressions(dashboard):
        for name in METRIC.findall(expression):
            if name.endswith("_total"):
                assert re.search(rf"(rate|increase)\({name}\{{[^}}]*\}}\[\$__rate_interval\]\)", expression)


def test_every_panel_has_a_unit_that_fits_its_metric(dashboard: dict[str, Any]) -> None:
    fitting = {
        "_ratio": {"percentunit", "none"}, "_bytes": {"decbytes", "percentunit"}, "_bytes_per_second": {"Bps"},
        "_celsius": {"celsius"}, "_watts": {"watt"}, "_hertz": {"hertz"}, "_seconds": {"s"},
    }  # fmt: skip
    for panel in panels(dashboard):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            for name in METRIC.findall(target["expr"]):
                ends = [end for end in fitting if name.endswith(end)]
                assert not ends or unit in fitting[ends[0]], (panel["title"], name, unit)


def test_the_data_source_is_a_variable_everywhere(dashboard: dict[str, Any]) -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    (variable,) = (one for one in dashboard["templating"]["list"] if one["type"] == "datasource")
    used = [panel["datasource"] for panel in panels(dashboard)]
    used += [target["datasource"] for panel in panels(dashboard) for target in panel["targets"]]
    used += [one["datasource"] for one in dashboard["templating"]["list"] if one["type"] == "query"]

    assert (variable["name"], variable["query"]) == ("datasource", "prometheus")
    assert all(one == source for one in used)


def test_variables_that_queries_use_are_there(dashboard: dict[str, Any]) -> None:
    there = {one["name"] for one in dashboard["templating"]["list"]}
    used = {
        name
        for expression in expressions(dashboard)
        for name in re.findall(r"\$(\w+)", expression)
        if not name.startswith("__")
    }

    assert used == there - {"datasource"}


def test_panels_have_ids_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_it_can_be_imported_into_any_grafana(dashboard: dict[str, Any]) -> None:
    assert dashboard["id"] is None
    assert dashboard["schemaVersion"] >= 39
    assert dashboard["uid"] == "infer-opt-monitor"
    assert all(panel["title"] for panel in dashboard["panels"])
