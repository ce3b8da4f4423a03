"""Which things a sample speaks of: cores, disks, interfaces, devices, in the order in which they are drawn."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from infer_opt.errors import ConfigError
from infer_opt.readings.catalogue import split

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU by its instance (`0`), and the instances of the parts that it is split into (`0.mig1`)."""

    instance: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Instances by family, numbers in numeric order. Empty is "there is none", and then nothing is drawn for it."""

    cores: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    filesystems: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    gpus: tuple[Device, ...] = ()


def take_inventory(keys: Iterable[str]) -> Inventory:
    """What the keys of a sample speak of. What is not written as a key is left out."""
    instances: dict[str, set[str]] = {}
    for key in keys:
        try:
            family, instance, _ = split(key)
        except ConfigError:
            continue
        if instance is not None:
            instances.setdefault(family, set()).add(instance)
    gpus = instances.get("gpu", set())
    whole = {instance.partition(".")[0] for instance in gpus}
    return Inventory(
        cores=in_order(instances.get("cpu", ())),
        disks=in_order(instances.get("disk", ())),
        filesystems=in_order(instances.get("filesystem", ())),
        interfaces=in_order(instances.get("network", ())),
        gpus=tuple(
            Device(instance=name, parts=in_order(part for part in gpus if part.startswith(f"{name}.")))
            for name in in_order(whole)
        ),
    )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names sorted as people count: `cpu2` before `cpu10`."""
    return tuple(sorted(names, key=_as_people_count))


def _as_people_count(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _DIGITS.split(name)]
