import dataclasses
import json
import zlib
from collections.abc import Iterator

import numpy
import pytest

from infer_opt.config import Compilation, SessionOptions, Shape, TrialConfig
from infer_opt.errors import StorageError
from infer_opt.recipes import Quantisation, Recipe, Rewriter, WeightOnly
from infer_opt.results import Block, Changes, FailureKind, Quantile, ShapeReadings, Trial, TrialFailure, TrialResult
from infer_opt.store.codec import decode, decode_blocks, encode, encode_blocks, from_text, to_text
from store_files.contents import FAILED, FULL, HUNG, STOCK, TRIALS

# With what has come since the stored databases were written.
MIXED = dataclasses.replace(
    FULL,
    config=TrialConfig(
        recipe=dataclasses.replace(
            FULL.config.recipe,
            rewrite=Rewriter.ONNXSLIM,
            quantise=Quantisation(per_channel=True, smooth=0.75, floats=("head/MatMul", "body/MatMul")),
        )
    ),
    baseline_ns=4_100_000.5,
    changes=Changes(
        operators_added=(("MatMulInteger", 24),),
        operators_removed=(("MatMul", 24), ("Identity", 1)),
        added=48,
        removed=25,
        changed=2,
        nodes_added=("head/MatMul_quant",),
        nodes_removed=("head/MatMul",),
        nodes_changed=("norm",),
        besides=("inputs",),
    ),
)
WEIGHTS = dataclasses.replace(
    STOCK, config=TrialConfig(recipe=Recipe(quantise=Quantisation(weight_only=WeightOnly(bits=8, symmetric=False))))
)
COMPILED = dataclasses.replace(
    STOCK, config=TrialConfig(options=SessionOptions(compiled=Compilation.DEFAULT), runtime="torch")
)
SIDE_BY_SIDE = dataclasses.replace(
    FULL,
    config=TrialConfig(options=SessionOptions(intra_threads=1), instances=2),
    blocks=(Block(latency_ns=(5, 6, 7), spacing_ns=3), Block(latency_ns=(8,), spacing_ns=4)),
)
BY_SHAPE = dataclasses.replace(
    FULL,
    config=TrialConfig(recipe=Recipe(buckets=(("seq", (128, 384)),))),
    readings=dataclasses.replace(
        FULL.readings,
        shapes=(
            ShapeReadings(
                shape=Shape(dims=(("seq", 128), ("past + seq", 192)), weight=0.75),
                quantiles=(Quantile(q=0.5, value_ns=2_000_000.5),),
                first_seen_ns=9_000_000,
            ),
        ),
    ),
    blocks=(Block(latency_ns=(5, 7, 9), shapes=(1, 0, 1)), Block(latency_ns=(6, 8), shapes=(0, 1))),
)


@pytest.mark.parametrize(
    "trial",
    [*TRIALS, MIXED, WEIGHTS, COMPILED, SIDE_BY_SIDE, BY_SHAPE],
    ids=["stock", "full", "failed", "hung", "mixed", "weights", "compiled", "side by side", "shapes"],
)
def test_every_kind_of_trial_comes_back_equal(trial: Trial) -> None:
    back = decode(*encode(trial))

    assert back == trial
    assert back.config.key == trial.config.key
    assert [type(value) for value in _leaves(back)] == [type(value) for value in _leaves(trial)]


def test_the_sample_that_must_come_back_leaves_no_field_out() -> None:
    stock_fields = {"fp16", "arena", "memory_pattern", "runtime"}  # excluded by others in the sample, or plain values
    sample = (FULL, FAILED, MIXED, WEIGHTS, COMPILED, SIDE_BY_SIDE)
    seen = {name for trial in sample for name, value in _fields(trial) if value is not None}
    every = {name for trial in (*TRIALS, MIXED, WEIGHTS) for name, _ in _fields(trial)}

    assert every - seen - stock_fields == set()


def test_run_times_take_little_space_and_stay_out_of_the_body() -> None:
    steady = dataclasses.replace(STOCK, blocks=tuple(Block(latency_ns=(2_000_000,) * 10) for _ in range(100)))

    body, run_times = encode(steady)

    assert "blocks" not in body
    assert len(run_times) < 8 * 1000 / 20
    assert decode_blocks(run_times) == steady.blocks


def test_the_kind_stands_at_the_top_of_the_body() -> None:
    assert json.loads(encode(STOCK)[0])["kind"] == "result"
    assert json.loads(encode(HUNG)[0])["kind"] == "failure"


def test_numbers_of_numpy_are_stored_as_plain_numbers() -> None:
    trial = dataclasses.replace(
        STOCK, log_ratio=numpy.float64(0.5), blocks=(Block(latency_ns=tuple(numpy.array([7, 8]))),)
    )

    back = decode(*encode(trial))

    assert back == trial
    assert isinstance(back, TrialResult)
    assert type(back.log_ratio) is float
    assert type(back.blocks[0].latency_ns[0]) is int


def test_infinity_and_nan_survive() -> None:
    assert from_text(to_text({"a": float("inf")})) == {"a": float("inf")}
    assert str(from_text(to_text({"a": float("nan")}))["a"]) == "nan"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kind":"result"', '"kind":"rumour"'),
        ('"log_ratio":0.0', '"log_ratio":"fast"'),
        ('"spin":null', '"spin":null,"warp_drive":true'),
        ('"provider":"cpu"', '"provider":"abacus"'),
        ('"batch":1', '"batch":0'),
        ('"items_per_s":200.0,', ""),
        ('{"kind"', '{kind"'),
    ],
)
def test_a_body_that_this_release_does_not_understand_is_refused(old: str, new: str) -> None:
    body, run_times = encode(STOCK)
    assert old in body

    with pytest.raises(StorageError):
        decode(body.replace(old, new, 1), run_times)


def test_a_failure_is_not_read_as_a_result() -> None:
    body, run_times = encode(TrialFailure(config=TrialConfig(), kind=FailureKind.CRASH, reason="signal 11"))

    with pytest.raises(StorageError):
        decode(body.replace('"kind":"failure","trial"', '"kind":"result","trial"'), run_times)


def test_damaged_run_times_are_refused() -> None:
    whole = encode_blocks((Block(latency_ns=(1, 2, 3)),))
    wrong_length = zlib.compress(numpy.array([1, 4, 1, 2, 3], dtype="<i8").tobytes())
    too_many_blocks = zlib.compress(numpy.array([9, 1], dtype="<i8").tobytes())
    odd_bytes = zlib.compress(b"12345")

    for damaged in (whole[:-3], b"", b"not zlib", zlib.compress(b""), wrong_length, too_many_blocks, odd_bytes):
        with pytest.raises(StorageError):
            decode_blocks(damaged)


def _fields(value: object) -> Iterator[tuple[str, object]]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            yield field.name, inner
            yield from _fields(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _fields(inner)


def _leaves(value: object) -> Iterator[object]:
    for _, inner in _fields(value):
        if not dataclasses.is_dataclass(inner) and not isinstance(inner, tuple):
            yield inner


def test_run_times_of_one_shape_are_stored_as_they_always_were() -> None:
    blocks = (Block(latency_ns=(5, 7, 9)), Block(latency_ns=(6,)))
    before = zlib.compress(numpy.array([2, 3, 1, 5, 7, 9, 6], dtype="<i8").tobytes())

    assert encode_blocks(blocks) == before
    assert decode_blocks(before) == blocks
