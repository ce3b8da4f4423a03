import os
from pathlib import Path

from file_tree import write
from infer_opt.machine import cpu

X86 = """processor\t: {number}
model name\t: Fake  Xeon(R) @ 2.0GHz
physical id\t: 0
core id\t\t: {core}
flags\t\t: fpu sse4_2 avx avx2 fma f16c {more}

"""
ARM = "processor\t: {number}\nFeatures\t: fp asimd asimddp i8mm sve\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n"


def test_only_sets_that_kernels_are_picked_by_are_kept(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/cpuinfo": X86.format(number=0, core=0, more="avx512_vnni rdrand")})

    assert cpu.isa(root) == ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512_vnni")


def test_a_set_that_one_core_lacks_is_not_counted(tmp_path: Path) -> None:
    cores = X86.format(number=0, core=0, more="avx_vnni") + X86.format(number=1, core=1, more="")
    root = write(tmp_path, {"proc/cpuinfo": cores})

    assert not cpu.has_vnni(cpu.isa(root))


def test_arm_features_and_part_numbers_are_read(tmp_path: Path) -> None:
    big, little = ARM.format(number=0, part="0xd40"), ARM.format(number=1, part="0xd05")
    root = write(tmp_path, {"proc/cpuinfo": big + little})

    assert cpu.isa(root) == ("asimd", "asimddp", "i8mm", "sve")
    assert cpu.cpu_model(root) == "Arm implementer 0x41 part 0xd05+0xd40"
    assert cpu.has_vnni(cpu.isa(root))


def test_a_mac_says_the_same_in_other_words() -> None:
    listing = "hw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 0\nhw.optional.floatingpoint: 1\n"

    assert cpu.isa_of_mac(listing) == ("asimd", "asimddp")
    assert cpu.isa_of_mac("hw.optional.avx2_0: 1\nhw.optional.avx512f: 0\n") == ("avx2",)


def test_avx2_alone_has_no_dot_product() -> None:
    assert not cpu.has_vnni(("avx", "avx2", "fma"))
    assert cpu.has_vnni(("avx2", "avx_vnni"))
    assert cpu.has_vnni(("avx512f", "avx512_vnni"))


def test_spaces_in_the_model_name_are_evened_out(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/cpuinfo": X86.format(number=0, core=0, more="")})

    assert cpu.cpu_model(root) == "Fake Xeon(R) @ 2.0GHz"


def test_hardware_threads_of_one_core_are_one_physical_core(tmp_path: Path) -> None:
    siblings = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    files = {f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": text for n, text in siblings.items()}
    root = write(tmp_path, {**files, "sys/devices/system/cpu/online": "0-3\n"})

    assert cpu.logical_cores(root) == 4
    assert cpu.physical_cores(root) == 2


def test_cores_are_counted_from_cpuinfo_where_sys_is_missing(tmp_path: Path) -> None:
    lines = "".join(X86.format(number=number, core=number // 2, more="") for number in range(6))
    root = write(tmp_path, {"proc/cpuinfo": lines})

    assert cpu.logical_cores(root) == 6
    assert cpu.physical_cores(root) == 3


def test_online_cores_may_have_gaps(tmp_path: Path) -> None:
    root = write(tmp_path, {"sys/devices/system/cpu/online": "0-1,4,6-7"})

    assert cpu.logical_cores(root) == 5


def test_an_empty_tree_still_gives_an_answer(tmp_path: Path) -> None:
    assert cpu.logical_cores(tmp_path) == os.cpu_count()
    assert cpu.physical_cores(tmp_path) == os.cpu_count()
    assert cpu.cpu_model(tmp_path)
    assert cpu.usable_cores(tmp_path, affinity=3) == 3.0


def test_a_quota_below_the_mask_decides(tmp_path: Path) -> None:
    root = write(tmp_path, {"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "150000 100000\n"})

    assert cpu.usable_cores(root, affinity=8) == 1.5
    assert cpu.usable_cores(root, affinity=1) == 1.0
