"""Series without an event, as readings of a monitor look, and with one whose moment is known: one value a second."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from infer_opt.anomalies.shifts import Watched
from infer_opt.anomalies.watched import WATCHED

DAY = 86_400
Array = NDArray[np.float64]
Made = Callable[[np.random.Generator, int], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A kind of ordinary series: how it is made, and how a reading like it is watched."""

    made: Made
    watched: Watched = field(default_factory=Watched)


def autoregressive(rng: np.random.Generator, count: int, correlation: float) -> Array:
    """Normal values of unit variance, each with this correlation to the one before."""
    fresh = rng.standard_normal(count) * (1.0 - correlation**2) ** 0.5
    fresh[0] /= (1.0 - correlation**2) ** 0.5
    return np.asarray(lfilter([1.0], [1.0, -correlation], fresh))


def with_drop(rng: np.random.Generator, *, spread: float, correlation: float, at: int, count: int, by: float) -> Array:
    """A throughput of 100 with noise of `spread` (a share), which falls by the share `by` at the value `at`."""
    values = 100.0 * (1.0 + spread * autoregressive(rng, count, correlation))
    values[at:] -= 100.0 * by
    return values


def _steady(correlation: float) -> Made:
    return lambda rng, count: 100.0 + 4.0 * autoregressive(rng, count, correlation)


def _heavy(rng: np.random.Generator, count: int) -> Array:
    return np.asarray(100.0 + 4.0 / 3**0.5 * rng.standard_t(3, count))


def _clock(rng: np.random.Generator, count: int) -> Array:
    """Mostly the highest of some steps of 15 MHz: more than half of the values are equal."""
    return np.where(rng.random(count) < 0.93, 1410e6, 1410e6 - 15e6 * rng.integers(-2, 12, count))


def _ticks(rng: np.random.Generator, count: int) -> Array:
    """A utilisation in whole per cent."""
    return np.asarray(np.round(30.0 + 2.0 * autoregressive(rng, count, 0.5)) / 100.0)


def _spikes(rng: np.random.Generator, count: int) -> Array:
    """Every 200 s or so a burst of a second or two, five to twenty-five standard deviations high."""
    values = _steady(0.0)(rng, count)
    for at in rng.integers(0, count, rng.poisson(count / 200)):
        values[at : at + rng.geometric(0.5)] += rng.uniform(20.0, 100.0)
    return values


def _daily(rng: np.random.Generator, count: int) -> Array:
    """A wave of a day, by 30 % up and down."""
    return np.asarray(
        100.0 + 30.0 * np.sin(2.0 * np.pi * np.arange(count) / DAY) + 3.0 * autoregressive(rng, count, 0.3)
    )


def _bursts(on_s: float, off_s: float, height: Callable[[np.random.Generator], float]) -> Made:
    """0 and a height in turn, for exponential times of ten seconds at least."""

    def made(rng: np.random.Generator, count: int) -> Array:
        values, at = np.zeros(count), 0
        while at < count:
            at += int(rng.exponential(off_s)) + 10
            length = int(rng.exponential(on_s)) + 10
            values[at : at + length] = height(rng)
            at += length
        return values

    return made


def _load(on_s: float, off_s: float, height: Callable[[np.random.Generator], float]) -> Made:
    made = _bursts(on_s, off_s, height)
    return lambda rng, count: np.asarray(
        0.10 + 0.75 * made(rng, count) + 0.02 * autoregressive(rng, count, 0.3)
    )  # fmt: skip


def _rare(rng: np.random.Generator, count: int) -> Array:
    """A count that is 0 in 98 of 100 seconds."""
    return np.where(rng.random(count) < 0.02, rng.poisson(20.0, count), 0).astype(np.float64)


def _disk(rng: np.random.Generator, count: int) -> Array:
    """Bytes a second: 0, and every ten minutes a burst of ten seconds or more, of any height."""
    return 1e6 * _bursts(5.0, 600.0, lambda rng: float(rng.exponential(50.0)))(rng, count)


def _full(_: np.random.Generator) -> float:
    return 1.0


NOISES: dict[str, Noise] = {
    "normal": Noise(made=_steady(0.0)),
    "AR(1) 0.3": Noise(made=_steady(0.3)),
    "AR(1) 0.7": Noise(made=_steady(0.7)),
    "AR(1) 0.9": Noise(made=_steady(0.9)),
    "Student t3": Noise(made=_heavy),
    "clock ticks": Noise(made=_clock),
    "whole per cent": Noise(made=_ticks, watched=Watched(least=0.05)),
    "spikes": Noise(made=_spikes),
    "daily wave": Noise(made=_daily),
    "load on and off": Noise(made=_load(45.0, 120.0, _full), watched=Watched(least=0.05)),
    "load, long spells": Noise(made=_load(300.0, 1200.0, _full), watched=Watched(least=0.05)),
    "load of any height": Noise(
        made=_load(45.0, 120.0, lambda rng: float(rng.uniform(0.2, 1.0))), watched=Watched(least=0.05)
    ),
    "mostly zero": Noise(made=_rare, watched=Watched(least=1.0)),
    "disk bursts": Noise(made=_disk, watched=WATCHED["disk", "written_bytes_per_second"]),
}


def made(name: str, seed: int, count: int) -> list[float]:
    """`count` values of that noise; the same for the same seed, and another series for each name."""
    rng = np.random.default_rng([seed, *name.encode()])
    return [float(value) for value in NOISES[name].made(rng, count)]
