"""`infer-opt report`: what earlier commands found, kept, listed, found again and shown in any form."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from infer_opt import rebuilding
from infer_opt.errors import ConfigError
from infer_opt.profiles.profile import Profile
from infer_opt.reports import Format, benchmark, profile, quantities, tuning
from infer_opt.reports.documents import SCHEMA_VERSION, to_json
from infer_opt.reports.html import pages
from infer_opt.reports.html.pages import Reported
from infer_opt.reports.sentences import one_line
from infer_opt.results import Benchmark, Tuning
from infer_opt.store.database import Store
from infer_opt.store.kept_results import KeptResult, Kind, keep, kept, named, read

HTML = "html"
NOTHING = "Nothing is kept yet: infer-opt tune, bench and profile keep what they find."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """A result from the store, and the line of the list that it has there."""

    line: KeptResult
    found: Reported


def recall(store: Store, name: str) -> Recalled:
    """The result of that id, of the only id that begins so, or the newest by `last`.

    Raises:
        ConfigError: there is none, or there are several.
        StorageError: the database cannot be read, or what was found is damaged or of another release.
    """
    line = named(store, name)
    found = rebuilding.tuning(store, line.id) if line.kind is Kind.TUNE else read(store, line.id)
    return Recalled(line=line, found=found)


def remember(store: Store, found: Benchmark | Profile, *, started_ms: int) -> str:
    """Keep what was found, and give back its id.

    Raises:
        StorageError: the database cannot be written.
    """
    return keep(store, found, verdict=verdict(found), started_ms=started_ms)


def verdict(found: Benchmark | Profile) -> str:
    """What it says, in a few words."""
    if isinstance(found, Profile):
        return f"{quantities.duration(found.call.latency.value)} a call"
    if found.comparison is not None:
        return f"{found.comparison.verdict} {quantities.ratio(found.comparison.speedup.value)}"
    median = found.median_ns
    value = found.trial.readings.quantile_ns(0.5) if median is None else median.value
    return f"median {quantities.duration(value)}"


def render(recalled: Recalled, form: str) -> str:
    """The result in that form, as its own command would have given it.

    Raises:
        ConfigError: it cannot be had in that form.
    """
    found, line = recalled.found, recalled.line
    if form == HTML:
        return pages.render(found, measured_ms=line.started_ms, identity=line.id)
    if isinstance(found, Tuning):
        return tuning.render(found, form)
    if isinstance(found, Benchmark):
        return benchmark.render(found, form)
    return profile.render(found, form)


def listing(store: Store, form: str, *, most: int) -> str:
    """The newest results, a line each, or as JSON.

    Raises:
        ConfigError: another form.
        StorageError: the database cannot be read.
    """
    if form not in (Format.TABLE, Format.JSON):
        raise ConfigError(
            f"a list of results cannot be written as {form}", hint="name a result, or --format table or json"
        )
    lines = kept(store, most)
    if form == Format.JSON:
        return to_json({"schema_version": SCHEMA_VERSION, "results": msgspec.to_builtins(lines)})
    return _table(lines) if lines else NOTHING


def _table(lines: Sequence[KeptResult]) -> str:
    from tabulate import tabulate

    rows = [
        [
            line.id,
            line.kind.value,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(line.started_ms / 1000)),
            one_line(line.verdict),
            one_line(line.subject),
        ]
        for line in lines
    ]
    return tabulate(rows, headers=["id", "by", "began", "verdict", "of"], tablefmt="simple", disable_numparse=True)
