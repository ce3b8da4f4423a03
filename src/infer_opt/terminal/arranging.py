"""What stands where: from the size of the terminal and what there is to show, to places on the screen.

A pure function, asked again only when one of these changed, so that a sample never moves anything.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from infer_opt.terminal.inventory import Inventory

LEAST_ROWS = 6  # of the table of processes, its headings included
DEVICE_HEIGHT = 7  # a block of one device: five lines in a frame
DEVICE_WIDTH = 62
_WIDE = 100  # from here on a plan may be generous


class View(StrEnum):
    """The three views of the screen."""

    OVERVIEW = "overview"
    PROCESSES = "processes"
    FINDINGS = "findings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A part of the screen by its name, in cells from the upper left corner."""

    name: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Heights: of CPU and memory, of loads, of disks and network (1 is a line without a frame), of findings.

    `devices`: "blocks" is a frame for each device, a number is a list of at most so many lines.
    """

    top: int
    loads: int = 0
    flows: int = 0
    devices: int | str = 0
    findings: int = 0


def device_name(instance: str) -> str:
    """The name of the place of one device."""
    return f"gpu-{instance}"


def arrange(width: int, height: int, *, view: View, inventory: Inventory, findings: int) -> tuple[Place, ...]:
    """Places of all that is shown, from the top to the bottom; what has no place is not shown.

    `findings` is how many findings and alerts there are to speak of. The header is the first line and the footer the
    last one. The most generous plan that leaves the processes their share is taken.
    """
    room = max(0, height - 2)
    body = list(_body(width, room, view=view, inventory=inventory, findings=findings))
    header = Place(name="header", x=0, y=0, width=width, height=1)
    footer = Place(name="footer", x=0, y=height - 1, width=width, height=1)
    return (header, *body, *((footer,) if height > 1 else ()))


def _body(width: int, room: int, *, view: View, inventory: Inventory, findings: int) -> Iterator[Place]:
    plans = _plans(width, room, view)
    # An overview on a high terminal shares with the table; the other views are there for what fills them.
    least = max(LEAST_ROWS, room // 3 if view is View.OVERVIEW else room // 2)
    fits = (plan for plan in plans if _height(plan, width, inventory, findings) + least <= room)
    plan = next(fits, _Plan(top=0))
    y = 1
    for place in _upper(plan, y, width, inventory):
        yield place
        y = max(y, place.y + place.height)
    left = 1 + room - y
    if view is View.FINDINGS:
        details = min(14, left // 2) if left >= 12 else 0
        yield Place(name="findings", x=0, y=y, width=width, height=left - details)
        if details:
            yield Place(name="details", x=0, y=y + left - details, width=width, height=details)
        return
    listed = _findings_height(plan, findings) if view is View.OVERVIEW else 0
    if listed:
        yield Place(name="findings", x=0, y=y, width=width, height=listed)
    if left - listed > 0:
        yield Place(name="processes", x=0, y=y + listed, width=width, height=left - listed)


def _plans(width: int, room: int, view: View) -> tuple[_Plan, ...]:
    """From the most generous to the barest."""
    if view is not View.OVERVIEW:
        return (_Plan(top=6, loads=1, devices=8), _Plan(top=4, devices=2), _Plan(top=4), _Plan(top=0))
    high = min(14, room // 4)
    generous = (
        _Plan(top=high, loads=2, flows=6, devices="blocks", findings=5),
        _Plan(top=max(8, high - 2), loads=2, flows=5, devices="blocks", findings=4),
        _Plan(top=8, loads=2, flows=4, devices="blocks", findings=3),
        _Plan(top=7, loads=1, flows=4, devices="blocks", findings=2),
        _Plan(top=8, loads=2, flows=4, devices=16, findings=3),
    )
    modest = (
        _Plan(top=7, loads=1, flows=1, devices="blocks", findings=2),
        _Plan(top=7, loads=1, flows=1, devices=8, findings=2),
        _Plan(top=6, loads=1, flows=1, devices=8, findings=1),
        _Plan(top=5, loads=1, flows=1, devices=4, findings=1),
        _Plan(top=4, loads=1, flows=0, devices=4, findings=1),
        _Plan(top=4, loads=0, flows=0, devices=2, findings=1),
        _Plan(top=4),
    )
    return (*generous, *modest) if width >= _WIDE and room >= 28 else modest


def _upper(plan: _Plan, y: int, width: int, inventory: Inventory) -> Iterator[Place]:
    if plan.top:
        left = _cpu_width(width, inventory)
        yield Place(name="cpu", x=0, y=y, width=left, height=plan.top)
        yield Place(name="memory", x=left, y=y, width=width - left, height=plan.top)
        y += plan.top
    if plan.loads:
        yield Place(name="loads", x=0, y=y, width=width, height=plan.loads)
        y += plan.loads
    for place in _flows(plan, y, width, inventory):
        yield place
        y = place.y + place.height
    yield from _devices(plan, y, width, inventory)


def _cpu_width(width: int, inventory: Inventory) -> int:
    """Cores are many and memory is one: the more of them, the larger their part."""
    return round(width * (0.5 if len(inventory.cores) <= 4 or width < _WIDE else 0.62))


def _flows(plan: _Plan, y: int, width: int, inventory: Inventory) -> Iterator[Place]:
    kinds = [name for name, there in (("disks", inventory.disks), ("network", inventory.interfaces)) if there]
    height = _flows_height(plan, inventory)
    if not height:
        return
    if height == 1:
        yield Place(name="flows", x=0, y=y, width=width, height=1)
        return
    x = 0
    for number, name in enumerate(kinds, 1):
        end = width * number // len(kinds)
        yield Place(name=name, x=x, y=y, width=end - x, height=height)
        x = end


def _devices(plan: _Plan, y: int, width: int, inventory: Inventory) -> Iterator[Place]:
    if not inventory.gpus or not plan.devices:
        return
    if isinstance(plan.devices, int):
        height = _list_height(plan.devices, inventory)
        yield Place(name="gpus", x=0, y=y, width=width, height=height)
        return
    columns, height = _device_columns(width, inventory), _block_height(inventory)
    for number, device in enumerate(inventory.gpus):
        row, column = divmod(number, columns)
        x, end = width * column // columns, width * (column + 1) // columns
        yield Place(name=device_name(device.instance), x=x, y=y + row * height, width=end - x, height=height)


def _height(plan: _Plan, width: int, inventory: Inventory, findings: int) -> int:
    if not inventory.gpus or not plan.devices:
        devices = 0
    elif isinstance(plan.devices, int):
        devices = _list_height(plan.devices, inventory)
    else:
        devices = _block_height(inventory) * math.ceil(len(inventory.gpus) / _device_columns(width, inventory))
    flows = _flows_height(plan, inventory)
    return plan.top + plan.loads + flows + devices + _findings_height(plan, findings)


def _flows_height(plan: _Plan, inventory: Inventory) -> int:
    """As high as the longer list: a frame with nothing in it helps nobody."""
    longest = max(len(inventory.disks), len(inventory.interfaces))
    if not longest or not plan.flows:
        return 0
    return 1 if plan.flows == 1 else min(plan.flows, longest + 2 if longest == 1 else longest + 3)


def _findings_height(plan: _Plan, findings: int) -> int:
    if not findings or not plan.findings:
        return 0
    lines = min(findings, plan.findings)
    return lines if plan.findings == 1 else lines + 2


def _list_height(most: int, inventory: Inventory) -> int:
    lines = min(most, sum(1 + len(device.parts) for device in inventory.gpus))
    return lines if most <= 2 else lines + 2


def _device_columns(width: int, inventory: Inventory) -> int:
    return min(len(inventory.gpus), max(1, width // DEVICE_WIDTH))


def _block_height(inventory: Inventory) -> int:
    return DEVICE_HEIGHT + max((len(device.parts) for device in inventory.gpus), default=0)
