import zlib
from collections.abc import Mapping

import pytest

from infer_opt.errors import StorageError
from infer_opt.store.chunks import ABSENT, MISSING, PRESENT, Chunk, contents, decode, encode
from infer_opt.store.folding import fold
from made_recordings import BEGAN_S, BOOTED_S, noisy, sample


def chunk_of(*values: Mapping[str, float | None]) -> Chunk:
    chunk = Chunk(position=40)
    for number, row in enumerate(values):
        chunk.append(sample(number, row))
    return chunk


def test_a_chunk_comes_back_equal() -> None:
    raw = Chunk(position=7)
    for one in noisy(50, "abcdef"):
        raw.append(one)
    raw.words.append("running")
    raw.processes["1@2.0"] = {"pid": 1, "name": "init"}

    for chunk in (raw, fold([raw], 10.0)):
        assert decode(encode(chunk)) == chunk


def test_a_reading_that_comes_later_was_absent_and_one_without_a_value_is_not_available() -> None:
    back = decode(encode(chunk_of({"a": 1.0}, {"a": None, "b": 2.5}, {"b": None}, {"a": 3.0, "b": 4.0})))

    assert list(back.series["a"].states) == [PRESENT, MISSING, ABSENT, PRESENT]
    assert list(back.series["b"].states) == [ABSENT, PRESENT, MISSING, PRESENT]
    assert list(back.series["b"].means) == [0.0, 2.5, 0.0, 4.0]


def test_what_is_not_a_finite_number_is_not_available() -> None:
    chunk = chunk_of({"a": float("nan"), "b": float("inf"), "c": 1.0})

    assert [chunk.series[key].states[0] for key in "abc"] == [MISSING, MISSING, PRESENT]


def test_times_are_those_of_the_samples_and_the_middle_of_rows_of_several() -> None:
    raw = chunk_of(*({"a": float(number)} for number in range(20)))
    folded = fold([raw], 10.0)

    assert (raw.at_s(3), raw.clock_s(3)) == (BEGAN_S + 3, BOOTED_S + 3)
    assert (folded.at_s(1), folded.clock_s(1)) == (BEGAN_S + 14.5, BOOTED_S + 14.5)
    assert (raw.samples, folded.samples, folded.rows) == (20, 20, 2)


def test_a_part_knows_how_many_samples_came_before_it_and_what_is_in_it() -> None:
    chunk = chunk_of({"a": 1.0}, {"a": 2.0, "b": 5.0}, {"a": 3.0})
    for series in chunk.series.values():
        series.pad(3)

    first, second = chunk.cut(0, 1), chunk.cut(1, 3)

    assert (first.position, second.position) == (40, 41)
    assert (list(first.series), list(second.series)) == (["a"], ["a", "b"])
    assert list(second.series["b"].states) == [PRESENT, ABSENT]


def test_one_reading_can_be_read_without_the_others() -> None:
    chunk = chunk_of({"a": 1.0, "b": 2.0, "c": 3.0})

    for stored in (chunk, fold([chunk], 10.0)):
        assert list(decode(encode(stored), only=("b",)).series) == ["b"]
        assert decode(encode(stored), only=("b",)).series["b"] == decode(encode(stored)).series["b"]


def test_what_is_in_a_chunk_is_told_without_its_numbers() -> None:
    chunk = chunk_of({"a": 1.0, "b": None})

    assert contents(encode(chunk)).keys == ("a", "b")
    assert not contents(encode(chunk)).has_processes


def test_damaged_bytes_are_refused() -> None:
    body = encode(chunk_of({"a": 0.1, "b": 7.0}, {"a": 0.2, "b": 9.0}, {"a": 0.3}))
    inside = zlib.decompress(body)

    damaged = [b"", b"not zlib", body[:-3], *(zlib.compress(inside[:cut]) for cut in (2, 40, len(inside) - 1))]
    damaged += [
        zlib.compress(inside.replace(b'"rows":3', b'"rows":4')),
        zlib.compress(inside.replace(b'"keys"', b'"kexs"')),
    ]
    for bytes_ in damaged:
        with pytest.raises(StorageError, match="damaged"):
            decode(bytes_)


def test_a_newer_format_is_refused_with_what_helps() -> None:
    inside = zlib.decompress(encode(chunk_of({"a": 1.0})))

    for read in (decode, contents):
        with pytest.raises(StorageError, match="format 9") as refused:
            read(zlib.compress(inside.replace(b'"format":1', b'"format":9')))
        assert refused.value.hint == "upgrade infer-opt"
