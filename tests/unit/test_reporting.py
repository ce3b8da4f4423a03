import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from golden.tunings import ALONE, BENCHMARK
from infer_opt.errors import ConfigError
from infer_opt.reporting import NOTHING, listing, recall, remember, render, verdict
from infer_opt.reports import benchmark, profile
from infer_opt.results import Estimate
from infer_opt.store.database import Store
from made_profiles import made_profile

NOW_MS = 1_790_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        yield store


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
def test_a_benchmark_is_shown_again_as_it_was_printed(store: Store, form: str) -> None:
    identity = remember(store, BENCHMARK, started_ms=NOW_MS)

    assert render(recall(store, identity[:9]), form) == benchmark.render(BENCHMARK, form)


def test_a_page_of_a_kept_result_says_which_it_is(store: Store) -> None:
    identity = remember(store, made_profile(), started_ms=NOW_MS)

    page = render(recall(store, "last"), "html")

    assert f"result {identity}" in page and "measured on 20" in page


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
def test_a_profile_is_shown_again_as_it_was_printed(store: Store, form: str) -> None:
    identity = remember(store, made_profile(), started_ms=NOW_MS)

    assert render(recall(store, identity), form) == profile.render(made_profile(), form)


def test_a_list_says_what_was_found_and_where_nothing_is_kept_how_to_get_something(store: Store) -> None:
    assert listing(store, "table", most=5) == NOTHING
    assert json.loads(listing(store, "json", most=5)) == {"schema_version": 1, "results": []}

    identity = remember(store, BENCHMARK, started_ms=NOW_MS)

    line = listing(store, "table", most=5).splitlines()[2]
    assert line.split()[:2] == [identity, "bench"]
    assert line.endswith("faster 2.25x  minilm-tuned")
    (entry,) = json.loads(listing(store, "json", most=5))["results"]
    assert (entry["id"], entry["kind"], entry["started_ms"]) == (identity, "bench", NOW_MS)


def test_a_list_is_no_page(store: Store) -> None:
    with pytest.raises(ConfigError, match="a list of results cannot be written as html"):
        listing(store, "html", most=5)


def test_a_verdict_is_a_few_words() -> None:
    assert verdict(BENCHMARK) == "faster 2.25x"
    assert verdict(ALONE) == "median 26.4 ms"
    assert verdict(replace(ALONE, median_ns=Estimate(value=3e6, low=2e6, high=4e6))) == "median 3.00 ms"
    assert verdict(made_profile()) == "104 µs a call"
