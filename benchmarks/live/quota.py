"""A/A inside a control group that may use 1.5 cores: threads that are held back by the kernel, every 100 ms."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.evidence import Findings
from benchmarks.live.pairs import Contest, compare, models_of, of_equals
from benchmarks.live.stand import FAST, SLOW, Experiment, Observation, Stand, repeat

MODELS = (FAST, SLOW)
CORES = 1.5
PERIOD_US = 100_000
CONTEST = Contest(limit_s=25.0, most=6)
RATE = 0.05
ROOT = Path("/sys/fs/cgroup")
GROUP = "infer-opt-prove"
MEMBERSHIP = Path("/proc/self/cgroup")


def run(stand: Stand, seen: Sequence[Observation]) -> Iterator[Observation]:
    """Stock against stock; all that is asked of the machine is asked anew inside the group."""
    with quota(CORES) as refused:
        if refused is not None:
            stand.show(f"no CPU quota: {refused}")
            yield {"refused": refused}
            return
        ready = {name: stand.make_ready(name) for name in MODELS}
        for number in repeat(stand, CONTEST.limit_s):
            name = MODELS[number % len(MODELS)]
            found = compare(
                ready[name],
                ready[name].stock,
                contest=replace(CONTEST, limit_s=min(CONTEST.limit_s, max(stand.time.left_s, 1.0))),
                generator=stand.generator,
                artefact=stand.copy(name),
            )
            stand.show(f"A/A of {name} with {CORES} cores: {found['verdict']}")
            yield {"model": name, "usable_cores": ready[name].rig.machine.usable_cores} | found


@contextlib.contextmanager
def quota(cores: float, root: Path = ROOT, membership: Path = MEMBERSHIP) -> Iterator[str | None]:
    """This process, and those that it starts, in a control group of so many cores. Gives why not, where it cannot be.

    Afterwards this process is back where it was, and the group is gone.
    """
    home = group_of(membership.read_text(), root) if membership.is_file() else None
    if home is None:
        yield "this process is in no control group with a CPU controller that is mounted here"
        return
    for left_behind in home.glob(f"{GROUP}-*"):  # by a proof that was killed; one in use cannot be removed
        with contextlib.suppress(OSError):
            left_behind.rmdir()
    group = home / f"{GROUP}-{os.getpid()}"
    try:
        group.mkdir()
        _limit(group, cores)
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield f"{home} takes no group with a quota: {error.strerror}"
        return
    try:
        yield None
    finally:
        (home / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def group_of(membership: str, root: Path) -> Path | None:
    """The folder of the group, by /proc/self/cgroup, that rules this process's CPU time: version 1, else version 2."""
    unified = None
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(","):
            for mount in (root / controllers, root / "cpu"):
                folder = mount / path.lstrip("/")
                if (folder / "cpu.cfs_quota_us").is_file() or (folder / "cgroup.procs").is_file():
                    return folder
        if not controllers:
            unified = root / path.lstrip("/")
    # Version 2 hands the controller to groups below only where the group above says so.
    return unified if unified is not None and (unified / "cgroup.controllers").is_file() else None


def _limit(group: Path, cores: float) -> None:
    quota_us = round(cores * PERIOD_US)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))
    else:
        (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")


def judge(found: Sequence[Observation]) -> Findings:
    """False verdicts; or why there was no quota."""
    refused = next((one["refused"] for one in found if "refused" in one), "")
    pairs = [one for one in found if "refused" not in one]
    setting = f"CPU quota of {CORES} cores, {models_of(pairs)}" if pairs else f"CPU quota of {CORES} cores"
    return Findings(evidence=(of_equals(pairs, row=3, setting=setting, rate=RATE, cause=refused),))


EXPERIMENT = Experiment(run=run, judge=judge)
