"""Shares that were counted in a simulation, and how far off chance can put them."""

from dataclasses import dataclass

FLAKE = 1e-3  # how often a test over seeds may fail although the target is just met


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`hits` of `trials`. `low` and `high` are the 95 % Clopper-Pearson interval of the share."""

    hits: int
    trials: int

    @property
    def share(self) -> float:
        """Hits over trials."""
        return self.hits / self.trials

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        from scipy.special import betaincinv

        return float(betaincinv(self.hits, self.trials - self.hits + 1, 0.025)) if self.hits else 0.0

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        from scipy.special import betaincinv

        missed = self.trials - self.hits
        return float(betaincinv(self.hits + 1, missed, 0.975)) if missed else 1.0

    def __add__(self, other: "Rate") -> "Rate":
        return Rate(hits=self.hits + other.hits, trials=self.trials + other.trials)

    def to_dict(self) -> dict[str, float]:
        """As plain JSON types, shares to five digits."""
        return {
            "hits": self.hits,
            "trials": self.trials,
            "share": round(self.share, 5),
            "low": round(self.low, 5),
            "high": round(self.high, 5),
        }


def most_hits(trials: int, share: float) -> int:
    """The most hits that a true `share` gives in `trials`, but for one time in 1,000 (binomial)."""
    from scipy.stats import binom

    return int(binom.ppf(1.0 - FLAKE, trials, share))


def fewest_hits(trials: int, share: float) -> int:
    """The fewest hits that a true `share` gives in `trials`, but for one time in 1,000 (binomial)."""
    from scipy.stats import binom

    return int(binom.ppf(FLAKE, trials, share))


def is_at_most(rate: Rate, share: float) -> bool:
    """Whether a true rate of `share` explains this many hits."""
    return rate.hits <= most_hits(rate.trials, share)


def is_at_least(rate: Rate, share: float) -> bool:
    """Whether a true rate of `share` explains this few hits."""
    return rate.hits >= fewest_hits(rate.trials, share)
