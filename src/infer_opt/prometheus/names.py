"""The names of readings in Prometheus: base units, one meaning a name, and never a whole beside its parts.

A reading without an instance is a whole (all CPUs, all disks), one with an instance is a part of it. The two have
different names, `infer_opt_cpu_busy_ratio` and `infer_opt_core_busy_ratio{core="3"}`, so that a sum over either counts
everything once. docs/prometheus.md has the table for users.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import CATALOGUE, Quantity, Unit, quantity_of, split

PREFIX = "infer_opt"

# family -> (word for the whole, word for a part, label of a part). The labels are those of Prometheus's node exporter
# where it has one for the same thing, so that its series can be joined with these.
FAMILIES = {
    "cpu": ("cpu", "core", "core"),
    "disk": ("disk", "drive", "device"),
    "filesystem": ("filesystems", "filesystem", "mountpoint"),
    "network": ("network", "interface", "device"),
    "process": ("processes", "tree", "tree"),
    "gpu": ("gpus", "gpu", "gpu"),
}
_SLICE = ("mig", "mig")
_MIG = re.compile(r"(?P<gpu>[^.]+)\.mig(?P<mig>.+)\Z")
# What would end in a suffix that Prometheus keeps for histograms, or stutter.
_PROPER = {("process", "count"): ("processes", "tree_processes")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One series: its metric's name (a counter's without `_total`), unit ("" for none) and help, and its labels."""

    name: str
    unit: str
    help: str
    is_counter: bool
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def exposed(self) -> str:
        """The name under which samples appear."""
        return f"{self.name}_total" if self.is_counter else self.name


@lru_cache(maxsize=4096)  # the same keys at every scrape
def metric_of(key: str) -> Metric | None:
    """The series of the reading `key`; None where the catalogue does not know it."""
    try:
        quantity = quantity_of(key)
        _, instance, _ = split(key)
    except ConfigError:
        return None
    whole, part, label = FAMILIES.get(quantity.family, (quantity.family, f"{quantity.family}_part", "part"))
    if instance is None:
        return _metric(quantity, whole, is_part=False)
    mig = _MIG.match(instance) if quantity.family == "gpu" else None
    if mig is not None:
        return _metric(quantity, _SLICE[0], is_part=True, labels=(("gpu", mig["gpu"]), (_SLICE[1], mig["mig"])))
    return _metric(quantity, part, is_part=True, labels=((label, instance),))


def reading_names() -> frozenset[str]:
    """Every name under which a reading of the catalogue can appear."""
    found = set()
    for family, name in CATALOGUE:
        keys = [f"{family}.{name}", f"{family}[0].{name}"] + ([f"gpu[0.mig0].{name}"] if family == "gpu" else [])
        found |= {metric.exposed for key in keys if (metric := metric_of(key)) is not None}
    return frozenset(found)


def _metric(quantity: Quantity, word: str, *, is_part: bool, labels: tuple[tuple[str, str], ...] = ()) -> Metric:
    proper = _PROPER.get((quantity.family, quantity.name))
    name = f"{word}_{quantity.name}" if proper is None else proper[is_part]
    unit = _unit(quantity, name)
    if quantity.unit is Unit.RATIO:
        name = f"{name}_{unit}"
    return Metric(
        name=f"{PREFIX}_{name}",
        unit=unit,
        help=f"{quantity.family}.{quantity.name}: {quantity.definition}",
        is_counter=quantity.is_counter,
        labels=labels,
    )


def _unit(quantity: Quantity, name: str) -> str:
    """The unit as metadata, which OpenMetrics wants to see at the end of the name; counts and bit masks have none."""
    unit = quantity.unit
    return str(unit) if unit is Unit.RATIO or name.endswith(f"_{unit}") else ""
