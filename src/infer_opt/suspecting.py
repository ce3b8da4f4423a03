"""A short profile of stock, before the screen: what would help is tried first. A hint, on which no claim rests."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from infer_opt.causes import Diagnosis
from infer_opt.config import SessionOptions, TrialConfig
from infer_opt.diagnoses import diagnose
from infer_opt.errors import InferOptError
from infer_opt.glancing import Glance, circumstances
from infer_opt.machine.cgroup import throttling
from infer_opt.profiles.nodes import CallTimes
from infer_opt.profiles.profile import Profile
from infer_opt.results import Estimate, TrialResult
from infer_opt.rig import Rig
from infer_opt.workers.process import run_task

LEAST_S = 0.5  # below it, starting the process takes longer than looking
SLOW_TO_OPEN = 2.0  # times the seconds that there are: a model that takes longer to open is not opened for this


def suspect(rig: Rig, stock: TrialResult, *, seconds: float) -> tuple[Diagnosis, ...]:
    """What makes stock slow, by about `seconds` of a profile; () where there is none, or nothing was found.

    Whatever goes wrong here is no failure of the tuning: without a suspicion it goes the usual way.
    """
    config = stock.config
    is_slow = stock.readings.open_ns > SLOW_TO_OPEN * seconds * 1e9
    if config.runtime != TrialConfig().runtime or seconds < LEAST_S or is_slow:
        return ()
    before, began = throttling(), time.monotonic_ns()
    try:
        seen = _glance(rig, config, config.options, seconds=seconds)
        # A second process takes as long again: only where the weights give reason to.
        flushes = replace(config.options, flush_denormals=True)
        flushed = _glance(rig, config, flushes, seconds=seconds) if seen.subnormal_weights else None
    except InferOptError:
        return ()
    around = circumstances(
        rig.machine,
        config.options,
        seen=seen,
        flushed=flushed,
        readings=stock.readings,
        before=before,
        wall_ns=time.monotonic_ns() - began,
    )
    return diagnose(_profile(rig, stock, seen), around)


def _glance(rig: Rig, config: TrialConfig, options: SessionOptions, *, seconds: float) -> Glance:
    seen: Glance = run_task(
        "infer_opt.glancing:glance",
        rig.model,
        options,
        rig.feeds[config.batch],
        seconds=seconds,
        is_mixture=bool(rig.workload.shapes),
        timeout_s=rig.timeout_s,
    )
    return seen


def _profile(rig: Rig, stock: TrialResult, seen: Glance) -> Profile:
    """The nodes as they were seen, and the call as the baseline's own measurement has it: without the profiler."""
    readings = stock.readings
    latency_ns = readings.expected_ns or readings.quantile_ns(0.5) or seen.profiled_ns
    return Profile(
        subject=str(rig.model),
        config=stock.config,
        runtime_version=seen.runtime_version,
        model=rig.facts,
        machine=rig.machine,
        call=CallTimes(
            latency=Estimate(value=latency_ns, low=latency_ns, high=latency_ns),
            profiled=Estimate(value=seen.profiled_ns, low=seen.profiled_ns, high=seen.profiled_ns),
            nodes_ns=sum(one.time.value for one in seen.nodes),
            open_ns=readings.open_ns,
            first_ns=readings.first_run_ns,
            latency_raw_ns=(),
        ),
        nodes=seen.nodes,
        memory=seen.memory,
        processes=1,
        placement=seen.placement,
    )


def diagnoses_record(diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """Diagnoses as plain JSON types, for the store."""
    return {"diagnoses": msgspec.to_builtins(diagnoses)}


def diagnoses_from(records: Sequence[Mapping[str, Any]], *, began: bool) -> tuple[Diagnosis, ...] | None:
    """The diagnoses that an earlier call of the same tuning kept; None where it came to neither them nor a trial.

    Arguments:
        began: whether it finished trials. If it did so without diagnoses, the tuning goes on without.
    """
    if records:
        return msgspec.convert(records[-1]["diagnoses"], tuple[Diagnosis, ...])
    return () if began else None
