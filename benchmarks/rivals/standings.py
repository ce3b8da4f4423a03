"""Who is ahead of whom, from the epochs of one contest a model: pure functions over what was measured.

Speeds are ratios to stock, 2.0 = half the time. Epoch values are ln(time / stock's time), one an epoch of fresh
processes in which everybody ran side by side; so two contestants are compared epoch by epoch too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from infer_opt.results import Estimate, Verdict
from infer_opt.stats.confirm import LOOKS, decide_all, noise_floor
from infer_opt.stats.intervals import exp_ratio, hodges_lehmann, mean_interval, student_t

MINIMUM_MARGIN = 0.01
WIDEST_MARGIN = 10.0  # of one epoch the noise is not known: a number that JSON can hold stands for "any"


class Kind(StrEnum):
    """Where a contestant comes from."""

    OURS = "infer-opt"
    UNIFORM = "uniform"
    OLIVE = "olive"
    NNCF = "nncf"
    ENGINE = "engine"


# What a user who tries all ways of a tool, and keeps the fastest that agrees, would have: chosen in hindsight.
HINDSIGHT = {
    "best uniform quantisation, in hindsight": Kind.UNIFORM,
    "best of Olive's ways, in hindsight": Kind.OLIVE,
    "best of NNCF's ways, in hindsight": Kind.NNCF,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What became of one contestant on one model.

    `score` is its agreement with stock's outputs, None where it gave none. `reason` says why it is out; None: it is in.
    `first_look` is the speed of one that is out, from a few paired rounds. `epochs` are ln(time / stock's time).
    """

    name: str
    kind: Kind
    configuration: str
    score: float | None = None
    reason: str | None = None
    first_look: Estimate | None = None
    epochs: tuple[float, ...] = ()
    made_s: float | None = None

    @property
    def is_in(self) -> bool:
        """Whether it agrees with stock and was measured."""
        return self.reason is None and bool(self.epochs)

    @property
    def speedup(self) -> Estimate | None:
        """Its speed in times of stock's with the 95 % interval of the epochs; the first look of one that is out."""
        return faster(self.epochs) if self.is_in else self.first_look

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` and JSON made of one."""
        look = data["first_look"]
        return cls(
            **{
                **data,
                "kind": Kind(data["kind"]),
                "epochs": tuple(data["epochs"]),
                "first_look": None if look is None else Estimate(**look),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One model: everybody's standing, and how it was measured. `clone` is a second stock, epoch by epoch."""

    model: str
    parity: float
    samples: int
    standings: tuple[Standing, ...]
    clone: tuple[float, ...]
    tuning: Mapping[str, Any] = field(default_factory=dict)
    stock_ns: float | None = None
    rounds: int = 0
    discarded: int = 0
    took_s: float = 0.0

    @property
    def ours(self) -> Standing:
        """infer-opt's."""
        return next(one for one in self.standings if one.kind is Kind.OURS)

    @property
    def margin(self) -> float:
        """The share by which a difference must clear 1 here: the noise floor, and at least 1 %."""
        floor = noise_floor(self.clone) if self.clone else WIDEST_MARGIN
        return min(max(MINIMUM_MARGIN, floor), WIDEST_MARGIN)

    def named(self, name: str) -> Standing | None:
        """The standing of this contestant, or of the fastest of its kind for a name of HINDSIGHT."""
        if name in HINDSIGHT:
            among = [one for one in self.standings if one.kind is HINDSIGHT[name] and one.is_in]
            return min(among, key=lambda one: hodges_lehmann(one.epochs), default=None)
        return next((one for one in self.standings if one.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` and JSON made of one."""
        standings = tuple(map(Standing.from_dict, data["standings"]))
        return cls(**{**data, "standings": standings, "clone": tuple(data["clone"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """infer-opt against one contestant on one model. `ratio` is its time over ours: above 1, infer-opt is faster.

    `verdict` is what is proven of infer-opt at 1 % over all duels of the model, beyond `margin`; `seems_behind` says
    that the centre alone lies beyond the margin, proven or not.
    """

    model: str
    rival: str
    ratio: Estimate
    margin: float
    verdict: Verdict

    @property
    def seems_behind(self) -> bool:
        """Whether the centre puts infer-opt behind by more than the margin."""
        return self.ratio.value < 1 / (1 + self.margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A geometric mean over models, of a speed or of a ratio of two. `counted` is the number of models in which the
    contestant was in the competition: in the others it counts as stock.
    """

    name: str
    estimate: Estimate
    counted: int
    models: int


def faster(log_times: Sequence[float]) -> Estimate:
    """ln(time ratio) by epoch as a speed: the centre (Hodges-Lehmann) and the 95 % interval of the mean."""
    interval = mean_interval(log_times)
    return Estimate(
        value=exp_ratio(-hodges_lehmann(log_times)), low=exp_ratio(-interval.high), high=exp_ratio(-interval.low)
    )


def duels(contest: Contest) -> tuple[Duel, ...]:
    """infer-opt against everybody who agrees, on one model; none where infer-opt itself gave nothing."""
    ours = contest.ours
    if not ours.is_in:
        return ()
    claims = {one.name: differences(ours, one) for one in contest.standings if one.is_in and one.kind is not Kind.OURS}
    looked = last_look(len(contest.clone))
    decisions = decide_all({name: values[:looked] for name, values in claims.items()}, contest.clone[:looked])
    return tuple(
        Duel(
            model=contest.model,
            rival=name,
            ratio=faster(claims[name]),
            margin=contest.margin,
            verdict=decision.verdict,
        )
        for name, decision in decisions.items()
    )


def last_look(epochs: int) -> int:
    """The first epochs of so many that can prove something: the largest number that is a look, or all."""
    return max((look for look in LOOKS if look <= epochs), default=epochs)


def differences(ours: Standing, other: Standing) -> list[float]:
    """ln(our time / the other's), epoch by epoch: both ran in the same ones."""
    return [mine - its for mine, its in zip(ours.epochs, other.epochs, strict=True)]


def names(contests: Iterable[Contest]) -> tuple[str, ...]:
    """Everybody who stood anywhere, infer-opt first, then in the order of their standings."""
    found = [one for contest in contests for one in contest.standings]
    ours = [one.name for one in found if one.kind is Kind.OURS]
    return tuple(dict.fromkeys([*ours, *(one.name for one in found)]))


def speed(contests: Sequence[Contest], name: str) -> Mean:
    """The geometric mean of a contestant's speeds in times of stock's. Whoever is out counts as stock, 1.0."""
    found = [contest.named(name) for contest in contests]
    logs = [list(one.epochs) if one is not None and one.is_in else [] for one in found]
    return Mean(name=name, estimate=geometric(logs), counted=sum(map(bool, logs)), models=len(contests))


def lead(contests: Sequence[Contest], name: str) -> Mean:
    """The geometric mean of infer-opt's speed over a contestant's; whoever is out counts as stock."""
    logs = []
    counted = 0
    for contest in contests:
        ours, other = contest.ours, contest.named(name)
        is_in = other is not None and other.is_in
        counted += is_in
        mine = ours.epochs if ours.is_in else ()
        its = other.epochs if other is not None and is_in else ()
        length = max(len(mine), len(its))
        pairs = zip(mine or (0.0,) * length, its or (0.0,) * length, strict=True)
        logs.append([left - right for left, right in pairs])
    return Mean(name=name, estimate=geometric(logs), counted=counted, models=len(contests))


def geometric(log_times: Sequence[Sequence[float]]) -> Estimate:
    """The geometric mean over models of speeds, each from ln(time ratio) by epoch, none for exactly 1.

    The models are these and no sample of others: the interval, of 95 %, is that of measuring them again.

    Source: Welch 1947 and Satterthwaite 1946 (degrees of freedom of a sum of means with variances of their own).
    """
    if not log_times:
        return Estimate(value=1.0, low=1.0, high=1.0)
    centre = sum(hodges_lehmann(values) for values in log_times if values) / len(log_times)
    variances = [(_variance(values) / len(values), len(values) - 1) for values in log_times if len(values) > 1]
    total = sum(variance for variance, _ in variances)
    if total == 0.0:
        return Estimate(value=exp_ratio(-centre), low=exp_ratio(-centre), high=exp_ratio(-centre))
    degrees = total**2 / sum(variance**2 / free for variance, free in variances)
    reach = student_t(0.975, max(1, math.floor(degrees))) * math.sqrt(total) / len(log_times)
    return Estimate(value=exp_ratio(-centre), low=exp_ratio(-centre - reach), high=exp_ratio(-centre + reach))


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)
