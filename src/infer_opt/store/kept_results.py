"""Finished results: benchmarks and profiles, kept here whole; and tunings, whose parts `database` keeps. All by id."""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Select, select

from infer_opt.errors import ConfigError, InferOptError, StorageError
from infer_opt.profiles import documents
from infer_opt.profiles.profile import Profile
from infer_opt.results import Benchmark
from infer_opt.store.codec import OTHER_RELEASE, from_text, plain_value, to_text, unknown_key
from infer_opt.store.database import Store, new_id
from infer_opt.store.tables import results, tunings

MOST_RESULTS = 200
MOST_BYTES = 200_000_000
LAST = "last"  # in the place of an id: the newest result

_BENCHMARK = "infer-opt benchmark"
_NAMED = 5  # results in the hint of an error
_ID = re.compile("[0-9a-f]{1,14}")


class Kind(StrEnum):
    """Which command found it."""

    TUNE = "tune"
    BENCH = "bench"
    PROFILE = "profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResult:
    """One line of the list of results. `started_ms` is since 1970; `size_bytes` is None for a tuning.

    `verdict` is a few words; `fingerprint` is that of the machine, None where an unfinished tuning does not say.
    """

    id: str
    kind: Kind
    subject: str
    verdict: str
    fingerprint: str | None
    started_ms: int
    size_bytes: int | None = None
    is_finished: bool = True


def keep(store: Store, found: Benchmark | Profile, *, verdict: str, started_ms: int) -> str:
    """Keep a result whole, raw times included, and give back its id, 14 hex digits. The oldest make room for it.

    Arguments:
        verdict: what it says, in a few words, for the list.

    Raises:
        StorageError: the database cannot be written.
    """
    identity, body = new_id(started_ms), _packed(found)
    with store.transaction() as connection:
        connection.execute(
            results.insert().values(
                id=identity,
                kind=(Kind.BENCH if isinstance(found, Benchmark) else Kind.PROFILE).value,
                subject=found.subject,
                verdict=verdict,
                fingerprint=found.machine.fingerprint,
                started_ms=started_ms,
                size=len(body),
                document=body,
            )
        )
    prune(store)
    return identity


def kept(store: Store, limit: int = 20) -> tuple[KeptResult, ...]:
    """The latest finished results of all kinds, newest first.

    Raises:
        StorageError: the database cannot be read.
    """
    finished = _TUNINGS.where(tunings.c.finished_ms.is_not(None)).limit(limit)
    lines = [_tuning_line(row) for row in store.rows(finished)]
    lines += [_line(row) for row in store.rows(_RESULTS.limit(limit))]
    return tuple(sorted(lines, key=lambda line: (line.started_ms, line.id), reverse=True)[:limit])


def named(store: Store, name: str) -> KeptResult:
    """One finished result, by its id, by the beginning of it where no other begins like that, or the newest by `last`.

    Raises:
        ConfigError: there is none of that name, there are several, or it is a tuning that was cut off.
        StorageError: the database cannot be read.
    """
    if name == LAST:
        newest = kept(store, 1)
        if newest:
            return newest[0]
    found = _beginning(store, name) if _ID.fullmatch(name) else []
    exact = [line for line in found if line.id == name] or found
    if len(exact) > 1:
        raise ConfigError(f"several results begin with {name!r}", hint=f"choose from {_ids(exact)}")
    if not exact:
        newest = kept(store, _NAMED)
        hint = (
            f"the newest are {_ids(newest)}" if newest else "there is none yet: tune, bench and profile keep one each"
        )
        raise ConfigError(f"the store {store.url} has no result {name!r}", hint=hint)
    if not exact[0].is_finished:
        raise ConfigError(
            f"the tuning {exact[0].id} was cut off before its end", hint="infer-opt tune --resume goes on with it"
        )
    return exact[0]


def read(store: Store, identity: str) -> Benchmark | Profile:
    """A result that `keep` kept, equal to what it was.

    Raises:
        StorageError: the database cannot be read, has no such result, or it is damaged or of another release.
    """
    rows = store.rows(select(results.c.document).where(results.c.id == identity))
    if not rows:
        raise StorageError(f"the store {store.url} has no result {identity}")
    try:
        return _unpacked(bytes(rows[0].document))
    except InferOptError as error:
        raise StorageError(f"result {identity} cannot be read: {error.what}", hint=error.hint) from error


def prune(store: Store, *, most: int = MOST_RESULTS, most_bytes: int = MOST_BYTES) -> tuple[str, ...]:
    """Remove the oldest benchmarks and profiles until `most` are left, of `most_bytes` together; the ids removed.

    The newest stays, whatever its size. Tunings stay: their trials guide later ones.

    Raises:
        StorageError: the database cannot be written.
    """
    with store.transaction() as connection:
        sizes = connection.execute(
            select(results.c.id, results.c.size).order_by(results.c.started_ms.desc(), results.c.number.desc())
        ).all()
        whole, removed = 0, []
        for place, row in enumerate(sizes):
            whole += row.size
            if place and (place >= most or whole > most_bytes):
                removed.append(str(row.id))
        if removed:
            connection.execute(results.delete().where(results.c.id.in_(removed)))
    return tuple(removed)


_RESULTS = select(
    results.c.id, results.c.kind, results.c.subject, results.c.verdict, results.c.fingerprint, results.c.started_ms,
    results.c.size,
).order_by(results.c.started_ms.desc(), results.c.number.desc())  # fmt: skip
_TUNINGS: Select[Any] = select(tunings).order_by(tunings.c.number.desc())


def _beginning(store: Store, name: str) -> list[KeptResult]:
    lines = [_tuning_line(row) for row in store.rows(_TUNINGS.where(tunings.c.id.startswith(name)).limit(_NAMED))]
    return lines + [_line(row) for row in store.rows(_RESULTS.where(results.c.id.startswith(name)).limit(_NAMED))]


def _line(row: Any) -> KeptResult:
    return KeptResult(
        id=row.id,
        kind=Kind(row.kind),
        subject=row.subject,
        verdict=row.verdict,
        fingerprint=row.fingerprint,
        started_ms=row.started_ms,
        size_bytes=row.size,
    )


def _tuning_line(row: Any) -> KeptResult:
    request, result = from_text(row.request), {} if row.result is None else from_text(row.result)
    speedup = result.get("speedup") or {}
    verdict = str(result.get("verdict", "cut off"))
    if verdict == "faster" and speedup.get("estimate") is not None:
        verdict += f" {speedup['estimate']:.2f}x"
    return KeptResult(
        id=row.id,
        kind=Kind.TUNE,
        subject=str(request.get("model", "")),
        verdict=verdict,
        fingerprint=(result.get("machine") or {}).get("fingerprint"),
        started_ms=row.started_ms,
        is_finished=row.finished_ms is not None,
    )


def _ids(found: list[KeptResult] | tuple[KeptResult, ...]) -> str:
    return ", ".join(line.id for line in found[:_NAMED])


def _packed(found: Benchmark | Profile) -> bytes:
    if isinstance(found, Benchmark):
        document: Mapping[str, Any] = {"kind": _BENCHMARK, "benchmark": plain_value(found)}
    else:
        document = documents.to_document(found)
    return zlib.compress(to_text(document).encode())


def _unpacked(body: bytes) -> Benchmark | Profile:
    try:
        document = json.loads(zlib.decompress(body))
    except (zlib.error, ValueError) as error:
        raise StorageError(f"it is damaged: {error}", hint="measure it again") from error
    if document.get("kind") != _BENCHMARK:
        return documents.from_document(document)
    try:
        found = msgspec.convert(document["benchmark"], Benchmark, strict=True)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(str(error), hint=OTHER_RELEASE) from error
    if unknown := unknown_key(document["benchmark"], plain_value(found)):
        raise StorageError(f"it has a field that this release lacks: {unknown}", hint=OTHER_RELEASE)
    return found
