"""The ceilings of this machine: from the user's cache, or measured in a process of its own."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.errors import ConfigError
from infer_opt.facts import CacheLevel, MachineFacts
from infer_opt.machine.caches import caches
from infer_opt.machine.memory import available_bytes
from infer_opt.profiles.nodes import NodeTimes
from infer_opt.profiles.roofline import Ceilings, Roofline
from infer_opt.results import Caution, Note
from infer_opt.roofline.floors import faster_than_possible
from infer_opt.roofline.keeping import Setting, keep, kept, the_most
from infer_opt.runtimes import open_runtime
from infer_opt.workers.process import run_task
from infer_opt.workers.watching import watch_machine

FOLDER = "ceilings"  # in the cache folder
MEASURED = TrialConfig().runtime
TRIES = 3  # to measure them while nothing else runs, before what was seen is made do with
TIMEOUT_S = 180.0  # what takes 20 s, on a machine that others use too


def ceilings_of(
    machine: MachineFacts, *, options: SessionOptions, runtime: str, version: str, cache: Path, again: bool = False,
    more: bool = False,
) -> Ceilings:  # fmt: skip
    """What `machine` (this one) can do for a session opened with these options, measured once and kept.

    What was measured while something else ran is measured again by the next two calls, and the most that was seen
    counts. A session without a word about threads has as many as there are physical cores that it may use. It takes up
    to 20 s, in which nothing else should run.

    Arguments:
        cache: the cache folder; they lie in `ceilings/` there.
        again: measure, and forget what is there: the machine has changed.
        more: measure, and keep the most of both: a node was faster than its floor.

    Raises:
        ConfigError: not ONNX Runtime, which alone runs chains of nodes as they are given.
        UnavailableError: the runtime does not run there.
        WorkerError: the measuring process ended, or took longer than three minutes.
        StorageError: the cache folder cannot be written.
    """
    setting, folder = _setting(machine, options, runtime=runtime, version=version), cache / FOLDER
    found = None if again else kept(folder, setting)
    if found is not None and not more and _is_settled(found):
        return found
    fresh: Ceilings = run_task("infer_opt.ceilings:measure_here", setting, caches(), timeout_s=TIMEOUT_S)
    found = fresh if found is None else the_most(found, fresh)
    keep(folder, setting, found)
    return found


def kept_ceilings(
    machine: MachineFacts, *, options: SessionOptions, runtime: str, version: str, cache: Path
) -> tuple[Ceilings | None, bool]:
    """What was measured before, None where nothing was; and whether that will do, so that none need be measured now.

    Raises:
        ConfigError: not ONNX Runtime.
    """
    found = kept(cache / FOLDER, _setting(machine, options, runtime=runtime, version=version))
    return found, found is not None and _is_settled(found)


def _is_settled(found: Ceilings) -> bool:
    return found.disturbed_by is None or found.measurements >= TRIES


def _setting(machine: MachineFacts, options: SessionOptions, *, runtime: str, version: str) -> Setting:
    if runtime != MEASURED:
        raise ConfigError(f"ceilings are measured with ONNX Runtime, not with {runtime}")
    return Setting(
        machine=machine.fingerprint,
        provider=str(options.provider),
        threads=threads_of(machine, options),
        runtime=runtime,
        version=version,
    )


def cautions(found: Roofline, nodes: Sequence[NodeTimes]) -> tuple[Note, ...]:
    """Why the floors of a model may be too high: its ceilings were measured beside others, or nodes beat them."""
    notes = []
    if found.ceilings.disturbed_by is not None:
        text = f"what this machine can do was measured while something else ran ({found.ceilings.disturbed_by})"
        notes.append(f"{text}: floors may be too high")
    faster = faster_than_possible(nodes, found)
    if faster:
        several = f"{len(faster)} nodes were" if len(faster) > 1 else "a node was"
        notes.append(
            f"{several} faster than the floor, {faster[0]} for one: a ceiling was measured too low, "
            "or a kernel needs fewer operations than are counted"
        )
    return tuple(Note(caution=Caution.LOW_CEILING, text=text) for text in notes)


def threads_of(machine: MachineFacts, options: SessionOptions) -> int:
    """How many threads such a session computes with; 0 where a device does."""
    if options.provider is not Provider.CPU:
        return 0
    return options.intra_threads or max(1, min(machine.physical_cores, int(machine.usable_cores)))


def measure_here(setting: Setting, levels: Sequence[CacheLevel]) -> Ceilings:
    """Measure in this process, which should have nothing else to do."""
    from infer_opt.roofline.ceilings import Bench, measure

    bench = Bench(
        runtime=open_runtime(setting.runtime),
        setting=setting,
        caches=levels,
        available_bytes=available_bytes(),
        clock=time.perf_counter_ns,
    )
    disturbance = watch_machine(max(1, setting.threads))([])
    found = measure(bench, now_ms=time.time_ns() // 1_000_000)
    return dataclasses.replace(found, disturbed_by=disturbance())
