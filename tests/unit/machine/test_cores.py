"""Cores for several sessions, on machines that are made up."""

from pathlib import Path

import pytest

from file_tree import write
from infer_opt.machine.cores import Cores, HardwareThread, hardware_threads, lay_out


def machine(*, nodes: int = 1, cores: int = 4, threads: int = 1) -> tuple[HardwareThread, ...]:
    """`cores` on each node, numbered as Linux does: first hardware threads of all cores, then the second ones."""
    total = nodes * cores
    return tuple(
        sorted(
            HardwareThread(node=core // cores, core=core, number=core + turn * total)
            for core in range(total)
            for turn in range(threads)
        )
    )


def without(threads: tuple[HardwareThread, ...], *gone: int) -> tuple[HardwareThread, ...]:
    """Under an affinity mask that leaves some out."""
    return tuple(one for one in threads if one.number not in gone)


@pytest.mark.parametrize(
    ("threads", "instances", "each", "wanted"),
    [
        (machine(cores=2), 2, 1, [(0,), (1,)]),
        (machine(cores=4), 2, 2, [(0, 1), (2, 3)]),
        (machine(cores=4), 1, 4, [(0, 1, 2, 3)]),
        # Two hardware threads a core: cores of their own first ...
        (machine(cores=4, threads=2), 4, 1, [(0,), (1,), (2,), (3,)]),
        (machine(cores=4, threads=2), 2, 2, [(0, 1), (2, 3)]),
        # ... and where threads outnumber cores, both threads of a core go to one instance.
        (machine(cores=4, threads=2), 4, 2, [(0, 4), (1, 5), (2, 6), (3, 7)]),
        (machine(cores=4, threads=2), 2, 4, [(0, 1, 4, 5), (2, 3, 6, 7)]),
        (machine(cores=4, threads=2), 2, 3, [(0, 1, 4), (2, 3, 6)]),
        # More instances than cores share them.
        (machine(cores=2, threads=2), 4, 1, [(0,), (1,), (2,), (3,)]),
        # Two sockets: an instance stays on one, and they spread.
        (machine(nodes=2, cores=4), 2, 4, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        (machine(nodes=2, cores=4), 2, 2, [(0, 1), (4, 5)]),
        (machine(nodes=2, cores=3), 2, 2, [(0, 1), (3, 4)]),
        # Six threads of two nodes with three cores: only two pairs fit into nodes, the third lies across.
        (machine(nodes=2, cores=3), 3, 2, [(0, 1), (3, 4), (2, 5)]),
        # An affinity mask: what is left of each node and core.
        (without(machine(cores=4), 0, 3), 2, 1, [(1,), (2,)]),
        (without(machine(nodes=2, cores=4), 0, 1, 2), 2, 2, [(4, 5), (6, 7)]),
        (without(machine(cores=2, threads=2), 3), 3, 1, [(0,), (1,), (2,)]),
    ],
)
def test_instances_get_cores_of_their_own(
    threads: tuple[HardwareThread, ...], instances: int, each: int, wanted: list[Cores]
) -> None:
    assert list(lay_out(threads, instances=instances, each=each)) == wanted


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("cores", [1, 2, 3, 8])
@pytest.mark.parametrize("smt", [1, 2])
@pytest.mark.parametrize("gone", [(), (0,), (1, 2)])
def test_whatever_fits_is_laid_out_without_sharing_a_hardware_thread(
    nodes: int, cores: int, smt: int, gone: tuple[int, ...]
) -> None:
    threads = without(machine(nodes=nodes, cores=cores, threads=smt), *gone)
    for instances in range(1, len(threads) + 1):
        for each in range(1, len(threads) // instances + 1):
            found = lay_out(threads, instances=instances, each=each)

            assert [len(one) for one in found] == [each] * instances
            taken = [number for one in found for number in one]
            assert len(set(taken)) == len(taken)
            assert set(taken) <= {one.number for one in threads}


def test_nobody_is_laid_out_where_there_are_too_few_cores() -> None:
    assert lay_out(machine(cores=2), instances=3, each=1) == ()
    assert lay_out(machine(cores=2), instances=2, each=2) == ()
    assert lay_out((), instances=1, each=1) == ()
    assert lay_out(machine(cores=2), instances=2, each=0) == ()


def test_the_kernel_says_which_hardware_threads_belong_together(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    siblings = {0: "0,4", 1: "1,5", 2: "2,6", 3: "3,7", 4: "0,4", 5: "1,5", 6: "2,6", 7: "3,7"}
    files = {cpu.format(number): text for number, text in siblings.items()}
    nodes = {"sys/devices/system/node/node0/cpulist": "0-1,4-5\n", "sys/devices/system/node/node1/cpulist": "2-3,6-7\n"}
    root = write(tmp_path, {**files, **nodes})

    found = hardware_threads(root, allowed={0, 2, 3, 4, 7})

    assert [(one.node, one.core, one.number) for one in found] == [
        (0, 0, 0), (0, 0, 4), (1, 2, 2), (1, 3, 3), (1, 3, 7),
    ]  # fmt: skip


def test_where_no_nodes_are_named_a_socket_is_one(tmp_path: Path) -> None:
    package = "sys/devices/system/cpu/cpu{}/topology/physical_package_id"
    root = write(tmp_path, {package.format(0): "0", package.format(1): "1"})

    assert [one.node for one in hardware_threads(root, allowed={0, 1})] == [0, 1]


def test_of_a_machine_that_says_nothing_each_processor_is_a_core(tmp_path: Path) -> None:
    found = hardware_threads(tmp_path, allowed={0, 1})

    assert [(one.node, one.core) for one in found] == [(0, 0), (0, 1)]
