"""`infer-opt profile --against` and `--runtime-env`: two models, runtimes, machines or days, operator by operator."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from infer_opt.budget import Budget
from infer_opt.differences import compare
from infer_opt.errors import ConfigError, StorageError
from infer_opt.profiles.comparing import ProfileDifference
from infer_opt.profiles.documents import read_document
from infer_opt.profiles.executed import ProcessTrace
from infer_opt.profiles.profile import Profile
from infer_opt.profiling import Ready, Show, prepare, profile_of, timed
from infer_opt.profiling import profile as measured
from infer_opt.request import Request
from infer_opt.results import Caution, Note, Progress
from infer_opt.setting_up import cache_folder, scratch_folder
from infer_opt.stats.intervals import PROCESSES_FOR_A_CLAIM
from infer_opt.transforms.cache import ArtefactCache
from infer_opt.workers.environments import environment

MOST_PAIRS, ATTEMPTS = 10, 14
PRECISION = (
    0.02  # of the reference's latency: half of the interval's width at which more pairs are not worth their time
)
LONGEST_S, SHORTEST_S, STARTING_S = 5.0, 0.1, 1.0


def profile_against(
    request: Request, *, against: Path | None, runtime_env: Path | None, budget: Budget, show: Show
) -> tuple[Profile, Profile, ProfileDifference]:
    """The profiles of `request.model` and of what it is compared with, and what they differ by.

    Two models or runtimes are measured now, in turn, in pairs of fresh processes. A profile that was saved with
    `--format json` stands for the other side as it is, and the other one is measured as ever; with two saved ones
    nothing is measured.

    Raises:
        ConfigError: neither `against` nor `runtime_env`, or a saved profile where a runtime is to be tried.
        InferOptError: a side cannot be run or profiled.
    """
    if against is None and runtime_env is None:
        raise ConfigError("there is nothing to compare with", hint="name another model, profile or --runtime-env")
    saved = None if against is None else read_saved(against)
    mine = read_saved(request.model)
    if runtime_env is not None and (saved is not None or mine is not None):
        raise ConfigError(
            "a saved profile cannot be measured again with the runtime of --runtime-env", hint="name the model itself"
        )
    if saved is None and mine is None:
        return _in_turn(request, against or request.model, runtime_env, budget=budget, show=show)
    other = saved or measured(replace(request, model=against or request.model), budget=budget, show=show)
    subject = mine or measured(request, budget=budget, show=show)
    return subject, other, compare(subject, other, paired=False)


def read_saved(path: Path) -> Profile | None:
    """The profile in a JSON file; None for what is no JSON file by name.

    Raises:
        ConfigError: it is no profile.
        StorageError: it cannot be read.
    """
    if path.suffix.lower() != ".json" or path.is_dir():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} cannot be read: {error}", hint="name a file of profile --format json") from error
    found = read_document(text)
    return replace(found, subject=f"{found.subject} ({path})")


@dataclass(slots=True, kw_only=True)
class _Pairs:
    """Pairs of traces, subject and reference, as they were made; those that something disturbed are apart."""

    quiet: list[tuple[ProcessTrace, ProcessTrace]] = field(default_factory=list)
    disturbed: list[tuple[ProcessTrace, ProcessTrace]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def used(self) -> list[tuple[ProcessTrace, ProcessTrace]]:
        """Quiet ones; disturbed ones only where there are too few of them."""
        return [*self.quiet, *self.disturbed[: max(0, PROCESSES_FOR_A_CLAIM - len(self.quiet))]]

    def notes(self) -> list[Note]:
        """What there is to say of disturbed pairs that count."""
        count = len(self.used) - len(self.quiet)
        if not count:
            return []
        text = (
            f"{count} of {len(self.used)} pairs were disturbed from outside ({', '.join(dict.fromkeys(self.reasons))})"
        )
        return [Note(caution=Caution.TOO_NOISY, text=text)]


def _in_turn(
    request: Request, other: Path, runtime_env: Path | None, *, budget: Budget, show: Show
) -> tuple[Profile, Profile, ProfileDifference]:
    with ExitStack() as stack:
        cache = stack.enter_context(ArtefactCache(cache_folder() / "artefacts"))
        elsewhere = None
        if runtime_env is not None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="infer-opt-")))
            elsewhere = environment(runtime_env, folder)
        first, second = (stack.enter_context(scratch_folder()) for _ in range(2))
        subject = prepare(request, first, cache, budget=budget, show=show)
        reference = prepare(replace(request, model=other), second, cache, budget=budget, show=show, elsewhere=elsewhere)
        pairs = _pairs(subject, reference, budget=budget, show=show)
    notes = pairs.notes()
    mine, theirs = (
        profile_of(side, [pair[place] for pair in pairs.used], notes) for place, side in enumerate((subject, reference))
    )
    mine, theirs = _told_apart(mine, theirs)
    found = compare(mine, theirs, paired=True)
    return mine, theirs, replace(found, notes=(*found.notes, *notes))


def _pairs(subject: Ready, reference: Ready, *, budget: Budget, show: Show) -> _Pairs:
    """Pairs of fresh processes, whoever comes first drawn for each; five at least, where there is time."""
    pairs, cost_s = _Pairs(), 0.0
    order = [0, 1]
    for number in range(ATTEMPTS):
        if number and not budget.fits(cost_s):
            break
        if len(pairs.quiet) >= PROCESSES_FOR_A_CLAIM and (
            len(pairs.quiet) >= MOST_PAIRS or _is_precise(subject, reference, pairs.quiet)
        ):
            break
        show(Progress(stage="profile", done=number, total=max(number + 1, PROCESSES_FOR_A_CLAIM)))
        before = budget.elapsed_s
        left = 2 * max(1, PROCESSES_FOR_A_CLAIM - number)
        seconds = min(LONGEST_S, max(SHORTEST_S, budget.left_s / left - STARTING_S))
        subject.setup.generator.shuffle(order)
        found: dict[int, ProcessTrace] = {}
        reasons = []
        for place in order:
            # Both of a pair open their sessions in the same order, so that what it does to them is no difference.
            found[place], reason = timed((subject, reference)[place], seconds=seconds, profiled_first=bool(number % 2))
            reasons += [] if reason is None else [reason]
        (pairs.disturbed if reasons else pairs.quiet).append((found[0], found[1]))
        pairs.reasons += reasons
        cost_s = budget.elapsed_s - before
    return pairs


def _is_precise(subject: Ready, reference: Ready, pairs: Sequence[tuple[ProcessTrace, ProcessTrace]]) -> bool:
    """Whether the latencies' difference is known well enough: looked at by its width alone, never by its sign."""
    sides = [profile_of(side, [pair[place] for pair in pairs]) for place, side in enumerate((subject, reference))]
    found = compare(*sides, paired=True)
    latency = found.reference_latency
    return latency is not None and (found.total.high - found.total.low) / 2 <= PRECISION * latency.value


def _told_apart(subject: Profile, reference: Profile) -> tuple[Profile, Profile]:
    """With the runtimes' versions beside the names, where those are the same."""
    if subject.subject != reference.subject or subject.runtime_version == reference.runtime_version:
        return subject, reference
    mine, theirs = (
        replace(side, subject=f"{side.subject} (ONNX Runtime {side.runtime_version})") for side in (subject, reference)
    )
    return mine, theirs
