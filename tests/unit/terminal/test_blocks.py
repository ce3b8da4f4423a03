"""What stands in the frames of CPU, memory, disks, network and GPUs."""

import itertools
from collections.abc import Callable

import pytest

from fake_source import GIB, H100, FakeSource
from infer_opt.readings.samples import Observation, Sample
from infer_opt.terminal.cores import core_meters, draw_cpu
from infer_opt.terminal.flows import draw_disks, draw_flows, draw_network
from infer_opt.terminal.gpus import draw_device, draw_devices, held_back
from infer_opt.terminal.inks import Ink, Line, Room, cells, plain
from infer_opt.terminal.inventory import Device
from infer_opt.terminal.memory import draw_loads, draw_memory
from infer_opt.terminal.seen import Seen

NAMES = {"0": H100}


def watched(source: FakeSource, samples: int = 8) -> Seen:
    seen = Seen()
    for _ in range(samples):
        observation = source.next()
        assert observation is not None
        seen.add(observation)
    return seen


def of(values: dict[str, float | None]) -> Seen:
    seen = Seen()
    seen.add(Observation(sample=Sample(number=0, at_s=0.0, clock_s=0.0, values=values)))
    return seen


def shown(lines: list[Line]) -> str:
    return "\n".join(plain(line) for line in lines)


BLOCKS: dict[str, Callable[[Seen, Room], list[Line]]] = {
    "cpu": draw_cpu,
    "memory": draw_memory,
    "disks": draw_disks,
    "network": draw_network,
    "device": lambda seen, room: draw_device(seen, room, device=Device(instance="0"), names=NAMES),
    "devices": lambda seen, room: draw_devices(seen, room, names=NAMES),
}


@pytest.mark.parametrize("draw", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize("cores", [0, 1, 2, 64, 256])
def test_a_block_has_exactly_its_room_whatever_the_machine(
    draw: Callable[[Seen, Room], list[Line]], cores: int
) -> None:
    seen = watched(FakeSource(cores=cores, gpus=2, mig=1), 3) if cores else of({})
    for width, height in itertools.product((8, 20, 30, 40, 61, 100, 200), (2, 3, 4, 7, 14)):
        lines = draw(seen, Room(width=width, height=height))
        assert len(lines) <= height
        if lines and plain(lines[0]).startswith("╭"):
            assert [cells(line) for line in lines] == [width] * height


def test_the_cpus_frame_says_how_busy_and_with_what() -> None:
    text = shown(draw_cpu(watched(FakeSource(cores=2)), Room(width=70, height=6)))

    assert text.splitlines()[0].startswith("╭─ CPU · 2 cores ─")
    assert "2.45 GHz" in text
    assert "user " in text and "system " in text and "waiting 0.4 %" in text and "steal 0.1 %" in text
    assert text.count("━") > 3


def test_before_the_second_sample_the_cpu_is_not_known_and_not_idle() -> None:
    text = shown(draw_cpu(watched(FakeSource(cores=2), 1), Room(width=70, height=6)))

    assert "n/a" in text.splitlines()[0]
    assert "0.0 %" not in text


@pytest.mark.parametrize(("cores", "rows"), [(2, 4), (8, 4), (16, 7)])
def test_few_cores_have_a_meter_each_in_columns(cores: int, rows: int) -> None:
    lines, width = core_meters([0.5] * cores, rows=rows, width=90)

    assert len(lines) <= rows
    assert sum(plain(line).count("50 %") for line in lines) == cores
    assert all(cells(line) <= width <= 54 for line in lines)
    assert max(cells(line) for line in lines) == width


def test_cores_are_counted_down_the_columns() -> None:
    lines, _ = core_meters([number / 10 for number in range(6)], rows=3, width=80)

    assert [plain(line).split()[0] for line in lines] == ["0", "1", "2"]
    assert [plain(line).split("%")[1].split()[0] for line in lines] == ["3", "4", "5"]


@pytest.mark.parametrize(("cores", "rows", "width"), [(64, 5, 80), (256, 5, 84), (256, 3, 42), (128, 1, 40)])
def test_many_cores_have_a_character_each_or_several_share_one(cores: int, rows: int, width: int) -> None:
    lines, across = core_meters([1.0] * cores, rows=rows, width=width)
    marks = sum(plain(line).count("▇") for line in lines)

    assert 0 < len(lines) <= rows
    assert across <= width
    assert all(cells(line) <= across for line in lines)
    assert marks == cores or marks * -(-cores // marks) >= cores


def test_the_busiest_of_several_cores_is_what_their_character_shows() -> None:
    busy: list[float | None] = [0.0] * 256
    busy[200] = 1.0
    lines, _ = core_meters(busy, rows=2, width=30)

    assert sum(plain(line).count("▇") for line in lines) == 1


def test_memory_is_metered_in_its_own_units() -> None:
    text = shown(draw_memory(watched(FakeSource()), Room(width=40, height=8)))

    assert "Memory · 24.0 GiB" in text
    assert "cached" in text and "5.50 GiB" in text
    assert "swap      none" in text


def test_the_limit_of_a_control_group_is_shown_where_there_is_one() -> None:
    seen = of(
        {
            "memory.total_bytes": 24.0 * GIB,
            "memory.used_bytes": 6.0 * GIB,
            "cgroup.memory_bytes": 3.0 * GIB,
            "cgroup.memory_limit_bytes": 4.0 * GIB,
        }
    )

    assert "group" in shown(draw_memory(seen, Room(width=60, height=8)))
    assert "3.00 of 4.00 GiB" in shown(draw_memory(seen, Room(width=60, height=8)))
    assert "group" not in shown(draw_memory(watched(FakeSource()), Room(width=60, height=8)))


def test_loads_are_cut_between_things_and_not_within() -> None:
    seen = watched(FakeSource(chosen=frozenset({1001})))
    wide = shown(draw_loads(seen, Room(width=200, height=2)))
    narrow = shown(draw_loads(seen, Room(width=60, height=1)))

    assert "chosen 1 process cores 1.50 memory 2.00 GiB threads 17" in wide
    assert "pressure cpu" in wide and "monitor 1.2 % 48.0 MiB" in wide
    assert narrow.endswith("threads 17")


def test_a_quota_and_what_it_costs_come_early() -> None:
    seen = of({"cgroup.quota_cores": 2.0, "cgroup.cpu_cores": 1.83, "cgroup.throttled": 0.12, "cpu.load_1m": 1.0})
    (line,) = draw_loads(seen, Room(width=60, height=1))

    assert plain(line).strip().startswith("quota 1.83 of 2 cores throttled 12 %   load 1.00")
    assert ("12 %", Ink.CRITICAL) in line


def test_disks_and_network_show_rates_and_only_the_trouble_that_there_is() -> None:
    seen = watched(FakeSource())

    disks = shown(draw_disks(seen, Room(width=70, height=5)))
    network = shown(draw_network(seen, Room(width=70, height=4)))

    assert "vda" in disks and "MB/s" in disks and "busy 12 %" in disks
    assert "/ 37.0 GiB free of 100 GiB" in disks
    assert "eth0" in network and "kB/s" in network
    assert "errors" not in network
    troubled = of({"network[eth0].sent_bytes_per_second": 1.0, "network.errors_per_second": 3.0})
    assert "errors 3/s" in shown(draw_network(troubled, Room(width=70, height=4)))


def test_of_many_disks_the_sum_and_the_busiest_are_shown() -> None:
    values: dict[str, float | None] = {"disk.read_bytes_per_second": 7e6, "disk.written_bytes_per_second": 0.0}
    for number in range(12):
        values[f"disk[sd{number}].read_bytes_per_second"] = 7e6 if number == 9 else 0.0
        values[f"disk[sd{number}].written_bytes_per_second"] = 0.0
    lines = [plain(line).split()[1] for line in draw_disks(of(values), Room(width=70, height=5))[1:-1]]

    assert lines == ["all", "sd9", "sd0"]


def test_one_line_holds_the_sums_of_disks_and_network() -> None:
    (line,) = draw_flows(watched(FakeSource()), Room(width=80, height=1))

    assert cells(line) <= 81
    assert plain(line).count("B/s") == 4


def test_a_devices_frame_has_its_name_and_everything_that_is_known() -> None:
    seen = watched(FakeSource(gpus=1))
    text = shown(draw_device(seen, Room(width=100, height=7), device=seen.inventory.gpus[0], names=NAMES))

    assert "GPU 0 · NVIDIA H100 80GB HBM3" in text
    for words in (
        "busy",
        "memory",
        "of 79.6 GiB",
        "of 700 W",
        "64 °C mem 71 °C",
        "1.75 of 1.98 GHz",
        "SM ",
        "PCIe ↓ 1.20 GB/s",
    ):
        assert words in text, words


def test_a_lost_device_says_so_and_shows_no_zeros() -> None:
    source = FakeSource(gpus=1, lost={0})
    seen = watched(source)
    block = shown(draw_device(seen, Room(width=80, height=7), device=seen.inventory.gpus[0], names=NAMES))
    row = shown(draw_devices(seen, Room(width=80, height=3), names=NAMES))

    for text in (block, row):
        assert "does not answer" in text
        assert "0 %" not in text


def test_under_mig_the_activity_of_the_engines_takes_the_place_of_utilisation() -> None:
    seen = watched(FakeSource(gpus=1, mig=2))
    text = shown(draw_device(seen, Room(width=100, height=9), device=seen.inventory.gpus[0], names=NAMES))

    assert "active" in text
    assert "mig1" in text and "mig2" in text and "2.00 of 9.75 GiB" in text


def test_why_a_clock_is_held_back_is_said_in_words() -> None:
    hot = of(
        {
            "gpu[0].throttle_reasons": float(0x40 | 0x4),
            "gpu[0].throttled_by_heat": 1.0,
            "gpu[0].throttled_by_power": 1.0,
        }
    )
    idle = of({"gpu[0].throttle_reasons": 1.0})
    broken = of({"gpu[0].throttled_by_heat": 1.0, "gpu[0].uncorrected_errors": 3.0})

    assert plain(held_back(hot, "0")) == "power cap, heat"
    assert held_back(idle, "0") == ()
    assert plain(held_back(broken, "0")) == "heat, 3 memory errors"


def test_many_devices_have_a_line_each_and_what_does_not_fit_is_counted() -> None:
    seen = watched(FakeSource(gpus=8))
    text = shown(draw_devices(seen, Room(width=130, height=10), names=NAMES))
    cut = shown(draw_devices(seen, Room(width=80, height=6), names=NAMES))

    assert text.count("GiB") == 8
    assert text.count("NVIDIA H100") == 1  # the only one whose name is known here
    assert "and 5 more" in cut


@pytest.mark.parametrize("width", range(36, 160, 7))
def test_lines_of_devices_are_in_columns(width: int) -> None:
    seen = watched(FakeSource(gpus=3))
    seen.sample.values["gpu[1].power_watts"] = 99.0  # type: ignore[index,union-attr]
    lines = [plain(line) for line in draw_devices(seen, Room(width=width, height=5), names={})][1:-1]

    assert len({line.find("GiB") for line in lines}) == 1
    assert len({line.find(" °C") for line in lines}) == 1
