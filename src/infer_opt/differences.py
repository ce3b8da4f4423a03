"""Two profiles side by side: which operators, modules and nodes account for what a call takes more or less."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from infer_opt.errors import EvidenceError
from infer_opt.profiles.comparing import OperatorDifference, ProfileDifference
from infer_opt.profiles.nodes import NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.results import Caution, Estimate, Note
from infer_opt.stats.differences import (
    Difference,
    judged,
    paired_difference,
    sums_by_call,
    trimmed_mean,
    welch_difference,
)
from infer_opt.stats.intervals import PROCESSES_FOR_A_CLAIM, is_provisional, mean_interval

# What is false by chance, among all that is said of two equal models, stays within 5 %: 1 % for the latencies, and as
# much for each way of grouping the nodes, but 2 % for operators, which are what is looked at first.
TOTAL_LEVEL, OPERATOR_LEVEL, MODULE_LEVEL, NODE_LEVEL = 0.01, 0.02, 0.01, 0.01
NO_MODULE = "(no module)"
LOOKED_AT = 50  # calls of a process: enough to see in which steps a clock counts
ORIGINS_SHOWN = 3
COARSE_NS = 1000  # a runtime's profile that counts in whole microseconds

Values = Mapping[str, Sequence[float]]  # group -> what it takes a call, in ns, process by process
Compare = Callable[..., Difference]


def compare(subject: Profile, reference: Profile, *, paired: bool) -> ProfileDifference:
    """What the subject takes more (above 0) or less than the reference, by operator, by module and by node.

    A process's value of a group is the trimmed mean over its calls of the sum of the group's nodes; processes are what
    replicates. `paired` says that the processes of both ran in turn on one machine, the first with the first: their
    differences are then judged by Student's t, and unpaired ones by Welch's. Both need the raw times.

    Raises:
        EvidenceError: a profile without raw times, or pairs that are not as many of each.
    """
    for one in (subject, reference):
        if not one.call.latency_raw_ns or not all(one.call.latency_raw_ns):
            raise EvidenceError(f"the profile of {one.subject} holds no times of single calls")
    versus: Compare = paired_difference if paired else welch_difference
    total = versus(_latencies(subject), _latencies(reference))
    judge = _Judge(subject=subject, reference=reference, versus=versus, total=total)
    same = subject.machine.fingerprint == reference.machine.fingerprint
    return ProfileDifference(
        subject=subject.subject,
        reference=reference.subject,
        operators=judge.groups(lambda times: times.node.kind, level=OPERATOR_LEVEL),
        modules=judge.groups(lambda times: times.node.module or NO_MODULE, level=MODULE_LEVEL, is_telling=_has_modules),
        nodes=judge.nodes(level=NODE_LEVEL),
        total=total.interval(1.0 - TOTAL_LEVEL),
        outside=judge.outside(),
        is_same_machine=same,
        paired=paired,
        subject_latency=mean_interval(_latencies(subject)),
        reference_latency=mean_interval(_latencies(reference)),
        subject_runtime=subject.runtime_version,
        reference_runtime=reference.runtime_version,
        subject_machine=subject.machine.cpu_model,
        reference_machine=reference.machine.cpu_model,
        subject_processes=subject.processes,
        reference_processes=reference.processes,
        notes=_notes(subject, reference, paired=paired, is_same_machine=same),
    )


class _Judge:
    """The groups of two profiles, one way of grouping after another."""

    def __init__(self, *, subject: Profile, reference: Profile, versus: Compare, total: Difference) -> None:
        self._sides = (subject, reference)
        self._versus = versus
        self._total = total
        self._is_clear = _excludes_zero(total.interval(1.0 - TOTAL_LEVEL))

    def groups(
        self,
        name_of: Callable[[NodeTimes], str],
        *,
        level: float,
        is_telling: Callable[[Iterable[str]], bool] = lambda names: True,
    ) -> tuple[OperatorDifference, ...]:
        """All groups of either side, the largest difference first; none where the names tell nothing."""
        grouped = [_grouped(side.nodes, name_of) for side in self._sides]
        names = list(dict.fromkeys(name for groups in grouped for name in groups))
        return self._judged(names, grouped, level=level) if is_telling(names) else ()

    def nodes(self, *, level: float) -> tuple[OperatorDifference, ...]:
        """The places of the network that are in both: nodes of one name, or that do the work of the same nodes."""
        grouped = _places(self._sides)
        return self._judged(list(grouped[0]), grouped, level=level)

    def outside(self) -> Estimate:
        """What the latencies differ by beyond all nodes: the runtime between them, the way in and out, and overlap."""
        apart = [
            [latency - nodes for latency, nodes in zip(_latencies(side), _values(side, side.nodes), strict=True)]
            for side in self._sides
        ]
        return self._versus(*apart).interval(1.0 - TOTAL_LEVEL)

    def _judged(
        self, names: Sequence[str], grouped: Sequence[Mapping[str, Sequence[NodeTimes]]], *, level: float
    ) -> tuple[OperatorDifference, ...]:
        values = [
            {name: _values(side, groups.get(name, ())) for name in names}
            for side, groups in zip(self._sides, grouped, strict=True)
        ]
        differences = {
            name: self._versus(
                values[0][name],
                values[1][name],
                resolution=_resolution([*grouped[0].get(name, ()), *grouped[1].get(name, ())]),
            )
            for name in names
        }
        found = judged(differences, level=level) if names else {}
        rows = [
            OperatorDifference(
                name=name,
                subject=mean_interval(values[0][name]) if name in grouped[0] else None,
                reference=mean_interval(values[1][name]) if name in grouped[1] else None,
                difference=found[name],
                subject_nodes=len(grouped[0].get(name, ())),
                reference_nodes=len(grouped[1].get(name, ())),
                share=found[name].value / self._total.value if self._is_clear else None,
            )
            for name in names
        ]
        return tuple(sorted(rows, key=lambda row: (-abs(row.difference.value), row.name)))


def _grouped(nodes: Iterable[NodeTimes], name_of: Callable[[NodeTimes], str]) -> dict[str, list[NodeTimes]]:
    groups: dict[str, list[NodeTimes]] = defaultdict(list)
    for times in nodes:
        groups[name_of(times)].append(times)
    return dict(groups)


def _places(sides: Sequence[Profile]) -> list[dict[str, list[NodeTimes]]]:
    """For either side, the nodes at each place that both have.

    A node is where the nodes of the model are whose work it does; without them, it is where its name says. One runtime
    may fuse what another leaves alone: all that share such a node, on either side, are one place.
    """
    places = _Joined()
    for side in sides:
        for times in side.nodes:
            places.join(_origins(times))
    found: list[dict[str, list[NodeTimes]]] = []
    for side in sides:
        at: dict[str, list[NodeTimes]] = defaultdict(list)
        for times in side.nodes:
            if any(_origins(times)):
                at[places.of(_origins(times)[0])].append(times)
        found.append(at)
    common = [place for place in found[0] if _is_same(found[0][place], found[1].get(place, []))]
    names = {place: _place_name(found[0][place], found[1][place]) for place in common}
    counts = Counter(names.values())
    return [{names[place]: side[place] for place in common if counts[names[place]] == 1} for side in found]


class _Joined:
    """Names that belong together. Source: Galler & Fischer 1964, "An improved equivalence algorithm"."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def of(self, name: str) -> str:
        """The name that stands for all that belong with this one."""
        while (parent := self._parents.setdefault(name, name)) != name:
            self._parents[name] = self._parents[parent]
            name = parent
        return name

    def join(self, names: Sequence[str]) -> None:
        """From now on, these belong together."""
        for name in names[1:]:
            self._parents[self.of(name)] = self.of(names[0])


def _origins(times: NodeTimes) -> tuple[str, ...]:
    return times.node.origins or (times.node.name,)


def _is_same(nodes: Sequence[NodeTimes], others: Sequence[NodeTimes]) -> bool:
    """Whether there are nodes on both sides, and not only two that happen to have the same name."""
    if not nodes or not others:
        return False
    if any(times.node.origins for times in (*nodes, *others)):
        return True
    return len(nodes) == len(others) == 1 and nodes[0].node.kind == others[0].node.kind


def _place_name(nodes: Sequence[NodeTimes], others: Sequence[NodeTimes]) -> str:
    """The name that a node has on both sides, or those of the model's nodes that are done there."""
    names = {times.node.name for times in (*nodes, *others)}
    if len(names) == 1:
        return names.pop()
    origins = list(dict.fromkeys(origin for times in (*nodes, *others) for origin in _origins(times)))
    shown = " + ".join(origins[:ORIGINS_SHOWN])
    return shown if len(origins) <= ORIGINS_SHOWN else f"{shown} + {len(origins) - ORIGINS_SHOWN} more"


def _values(profile: Profile, nodes: Sequence[NodeTimes]) -> list[float]:
    """What some nodes take a call together, in ns, process by process; 0 where none of them ran."""
    found = []
    for process in range(len(profile.call.latency_raw_ns)):
        sums = sums_by_call([times.raw_ns[process] for times in nodes if process < len(times.raw_ns)])
        found.append(trimmed_mean(sums) if sums else 0.0)
    return found


def _latencies(profile: Profile) -> list[float]:
    return [trimmed_mean(calls) for calls in profile.call.latency_raw_ns]


def _resolution(nodes: Sequence[NodeTimes]) -> float:
    """The standard error in ns that a clock of whole microseconds leaves, where the nodes were timed by such a one.

    A node's true time lies anywhere within a microsecond, and does so in every process alike.
    """
    coarse = [times for times in nodes if all(_is_coarse(row[:LOOKED_AT]) for row in times.raw_ns)]
    return COARSE_NS * math.sqrt(len(coarse) / 12.0)


def _is_coarse(times_ns: Sequence[int]) -> bool:
    """Whether the times lie in steps of half a microsecond, wherever they begin: what a profiler adds was taken off."""
    known = [value for value in times_ns if value]
    first = min(known, default=0)
    return all((value - first) % (COARSE_NS // 2) in (0, 1, COARSE_NS // 2 - 1) for value in known)


def _has_modules(names: Iterable[str]) -> bool:
    return any(name != NO_MODULE for name in names)


def _excludes_zero(estimate: Estimate) -> bool:
    return estimate.low > 0.0 or estimate.high < 0.0


def _notes(subject: Profile, reference: Profile, *, paired: bool, is_same_machine: bool) -> tuple[Note, ...]:
    notes = []
    if not is_same_machine:
        text = (
            f"{reference.subject} was measured on another machine ({reference.machine.cpu_model}) than "
            f"{subject.subject} ({subject.machine.cpu_model}): the machines are part of every difference"
        )
        notes.append(Note(caution=Caution.OTHER_MACHINE, text=text))
    elif not paired:
        text = (
            f"{reference.subject} was not measured in turn with {subject.subject}: what the machine did at the time is "
            "part of every difference, and no interval knows of it"
        )
        notes.append(Note(caution=Caution.UNPAIRED, text=text))
    if subject.runtime_version != reference.runtime_version:
        text = f"ONNX Runtime {subject.runtime_version} against {reference.runtime_version}"
        notes.append(Note(caution=Caution.OTHER_RUNTIME, text=text))
    fewest = min(len(subject.call.latency_raw_ns), len(reference.call.latency_raw_ns))
    if is_provisional(fewest):
        text = f"{fewest} processes of a side were measured, where {PROCESSES_FOR_A_CLAIM} make a claim"
        notes.append(Note(caution=Caution.PROVISIONAL, text=text))
    return tuple(notes)
