import itertools

import pytest

from infer_opt.terminal.arranging import LEAST_ROWS, Place, View, arrange
from infer_opt.terminal.inventory import Device, Inventory

SIZES = ((60, 20), (80, 24), (100, 30), (140, 45), (200, 60), (300, 90), (40, 10), (20, 5))
PLAIN = Inventory(cores=("0", "1"), disks=("vda",), interfaces=("eth0",))


def machine(*, cores: int = 2, gpus: int = 0, mig: int = 0, disks: int = 1) -> Inventory:
    return Inventory(
        cores=tuple(map(str, range(cores))),
        disks=tuple(f"sd{number}" for number in range(disks)),
        interfaces=("eth0",),
        gpus=tuple(
            Device(instance=str(gpu), parts=tuple(f"{gpu}.mig{part}" for part in range(mig))) for gpu in range(gpus)
        ),
    )


def named(places: tuple[Place, ...]) -> dict[str, Place]:
    return {place.name: place for place in places}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", View)
def test_places_lie_within_the_terminal_and_not_on_each_other(size: tuple[int, int], view: View) -> None:
    width, height = size
    for gpus, findings in itertools.product((0, 1, 8), (0, 1, 5)):
        inventory = machine(cores=64, gpus=gpus, disks=4)
        lie_apart_within(arrange(width, height, view=view, inventory=inventory, findings=findings), width, height)


def lie_apart_within(places: tuple[Place, ...], width: int, height: int) -> None:
    for place in places:
        assert place.x >= 0 and place.y >= 0 and place.width > 0 and place.height > 0
        assert place.x + place.width <= width and place.y + place.height <= height
    for one, other in itertools.combinations(places, 2):
        apart_across = one.x + one.width <= other.x or other.x + other.width <= one.x
        apart_down = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert apart_across or apart_down, (one, other)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("view", View)
@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_every_cell_of_the_terminal_is_used(size: tuple[int, int], view: View, gpus: int) -> None:
    width, height = size
    places = arrange(width, height, view=view, inventory=machine(gpus=gpus), findings=2)
    blocks = sum(place.width * place.height for place in places)

    # An odd device may leave the end of its row free.
    assert width * height - blocks <= width * (8 if gpus > 1 else 0)


@pytest.mark.parametrize("size", [size for size in SIZES if size[1] >= 20])
@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_processes_always_have_room(size: tuple[int, int], gpus: int) -> None:
    places = named(arrange(*size, view=View.OVERVIEW, inventory=machine(gpus=gpus, mig=2), findings=5))

    assert places["processes"].height >= max(LEAST_ROWS, (size[1] - 2) // 3)


@pytest.mark.parametrize("size", [size for size in SIZES if size[1] >= 20])
def test_the_essentials_are_shown_on_every_usable_terminal(size: tuple[int, int]) -> None:
    places = named(arrange(*size, view=View.OVERVIEW, inventory=machine(gpus=1), findings=1))

    assert {"header", "cpu", "memory", "processes", "findings", "footer"} <= set(places)
    assert {"gpus", "gpu-0"} & set(places)


def test_without_a_gpu_or_a_finding_nothing_is_shown_of_them() -> None:
    for size in SIZES:
        names = set(named(arrange(*size, view=View.OVERVIEW, inventory=PLAIN, findings=0)))
        assert not {name for name in names if name.startswith(("gpu", "findings"))}


def test_a_large_terminal_has_a_block_for_each_device_and_a_small_one_a_line() -> None:
    large = named(arrange(200, 60, view=View.OVERVIEW, inventory=machine(gpus=8), findings=0))
    small = named(arrange(140, 45, view=View.OVERVIEW, inventory=machine(gpus=8), findings=0))

    assert {f"gpu-{gpu}" for gpu in range(8)} <= set(large)
    assert "gpus" in small
    assert small["gpus"].height == 10


def test_a_large_terminal_gives_disks_and_network_frames() -> None:
    large = named(arrange(140, 45, view=View.OVERVIEW, inventory=PLAIN, findings=0))
    small = named(arrange(80, 24, view=View.OVERVIEW, inventory=PLAIN, findings=0))

    assert {"disks", "network"} <= set(large)
    assert "flows" in small
    assert "disks" not in small


def test_the_other_views_give_their_room_to_what_they_are_for() -> None:
    processes = named(arrange(140, 45, view=View.PROCESSES, inventory=PLAIN, findings=3))
    findings = named(arrange(140, 45, view=View.FINDINGS, inventory=PLAIN, findings=3))

    assert processes["processes"].height >= 30
    assert "findings" not in processes
    assert findings["findings"].height + findings["details"].height >= 30
    assert "processes" not in findings


def test_many_cores_have_the_larger_part() -> None:
    few = named(arrange(140, 45, view=View.OVERVIEW, inventory=machine(cores=2), findings=0))
    many = named(arrange(140, 45, view=View.OVERVIEW, inventory=machine(cores=64), findings=0))

    assert few["cpu"].width < many["cpu"].width
