"""What `submit` gains for many callers at once: 32 threads that each send one request after another.

Three ways, in turns of random order, on the same bundle: one call at a time (a lock around `run`), `run` from all
threads at once, and `submit`. A turn lasts `--turn` seconds; what counts is answers a second, compared turn by turn.
The bundle holds the shipped model with stock settings, so that nothing but the batching differs.

With `--plans FOLDER`, a fourth way is `submit` of the bundle FOLDER/NAME-tuned, as `infer-opt tune --objective
throughput` left it: with the sessions, threads and batches of its plan.
"""

import argparse
import contextlib
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks import calls, record
from benchmarks.record import Target

import infer_opt
from infer_opt.batching import BatchingLimits
from infer_opt.config import SessionOptions
from infer_opt.models.inputs import load_samples
from infer_opt.models.inspecting import inspect
from infer_opt.protocols import Feeds
from infer_opt.runtimes import open_runtime
from infer_opt.serving import LoadedBundle

NAME = "batching"
MODELS = ("digits_cnn", "sequence_lstm")
WAYS = ("one at a time", "run from all threads", "submit")
BY_PLAN = "submit by the plan"
DISTINCT = 64  # inputs that callers take in turn

Call = Callable[[Feeds], object]


def turn(call: Call, feeds: Sequence[Feeds], *, callers: int, seconds: float) -> tuple[float, list[float]]:
    """Answers a second of `callers` threads, and how long each answer took in seconds."""
    start, until = threading.Barrier(callers + 1), [0.0]
    took: list[list[float]] = [[] for _ in range(callers)]

    def serve(index: int) -> None:
        start.wait()
        number = index
        while (begin := time.perf_counter()) < until[0]:
            call(feeds[number % len(feeds)])
            took[index].append(time.perf_counter() - begin)
            number += callers

    threads = [threading.Thread(target=serve, args=(index,)) for index in range(callers)]
    for thread in threads:
        thread.start()
    begin = time.perf_counter()
    until[0] = begin + seconds
    start.wait()
    for thread in threads:
        thread.join()
    return sum(map(len, took)) / (time.perf_counter() - begin), [one for found in took for one in found]


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Every way, turn by turn."""
    (model,) = calls.models([name])
    if model.inputs is None:
        raise SystemExit(f"{name} has no inputs beside it")
    feeds = load_samples(inspect(model.path), model.inputs, dims={}).batched(1, count=DISTINCT)
    limits = BatchingLimits(max_batch=options.max_batch, max_wait_s=options.max_wait_ms / 1e3)
    lock, generator = threading.Lock(), random.Random(options.seed)
    session = open_runtime("onnx").open(model.path, SessionOptions())
    with contextlib.ExitStack() as stack:
        bundle = stack.enter_context(LoadedBundle(session, (), limits))

        def one_at_a_time(feed: Feeds) -> object:
            with lock:
                return bundle.run(feed)

        ways: dict[str, Call] = dict(
            zip(WAYS, (one_at_a_time, bundle.run, lambda feed: bundle.submit(feed).result()), strict=True)
        )
        if options.plans is not None:
            planned = stack.enter_context(infer_opt.load(options.plans / f"{name}-tuned"))
            ways[BY_PLAN] = lambda feed: planned.submit(feed).result()
        for call in ways.values():
            turn(call, feeds, callers=options.callers, seconds=options.turn / 2)
        rates: dict[str, list[float]] = {way: [] for way in ways}
        took: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(options.turns):
            order = list(ways)
            generator.shuffle(order)
            for way in order:
                rate, each = turn(ways[way], feeds, callers=options.callers, seconds=options.turn)
                rates[way].append(rate)
                took[way] += each
            print(f"{name}: turn {number + 1} of {options.turns}", file=sys.stderr)
    gains = {
        way: record.ratio([float(np.log(own / base)) for base, own in zip(rates[WAYS[0]], rates[way], strict=True)])
        for way in rates
        if way != WAYS[0]
    }
    return {
        "rates": rates,
        "gains": gains,
        "p50_ms": {way: 1e3 * statistics.median(each) for way, each in took.items()},
        "p99_ms": {way: 1e3 * float(np.quantile(each, 0.99)) for way, each in took.items()},
    }


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = record.parser(NAME, __doc__)
    shown = " ".join(MODELS)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help=f"names in models/ (default {shown})")
    parser.add_argument("--callers", type=int, default=32, help="threads (default 32)")
    parser.add_argument("--turns", type=int, default=12, help="turns of each way (default 12)")
    parser.add_argument("--turn", type=float, default=2.0, help="seconds a turn (default 2)")
    parser.add_argument("--max-batch", type=int, default=16, help="items a batch (default 16)")
    parser.add_argument("--max-wait-ms", type=float, default=0.5, help="wait for others (default 0.5 ms)")
    parser.add_argument("--plans", type=Path, help="folder with NAME-tuned bundles; without it, three ways")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    begun = record.begin(NAME, argv)
    results = {name: measure(name, options) for name in options.models}
    targets = [
        Target(
            name=f"{name}: answers a second of submit over one at a time",
            unit="times",
            measured=found["gains"][WAYS[2]].low,
            at_least=1.0,
        )
        for name, found in results.items()
    ]
    begun.write(
        options.result,
        method=__doc__ or "",
        targets=targets,
        results={name: {key: found[key] for key in ("gains", "p50_ms", "p99_ms")} for name, found in results.items()},
        samples={name: found["rates"] for name, found in results.items()},
    )
    rows = [
        [name, way, statistics.median(found["rates"][way]), found["p50_ms"][way], found["p99_ms"][way],
         "" if way == WAYS[0] else "{0.value:.2f} [{0.low:.2f}, {0.high:.2f}]".format(found["gains"][way])]
        for name, found in results.items()
        for way in found["rates"]
    ]  # fmt: skip
    headings = ["model", "way", "answers a second", "p50 ms", "p99 ms", "x one at a time"]
    return record.report(headings, rows, targets, options.result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
