from pathlib import Path

from file_tree import write
from infer_opt.machine import surroundings as around

CPUS = "sys/devices/system/cpu"


def test_each_governor_is_named_once(tmp_path: Path) -> None:
    names = {0: "powersave", 1: "performance", 2: "powersave"}
    root = write(tmp_path, {f"{CPUS}/cpu{n}/cpufreq/scaling_governor": f"{name}\n" for n, name in names.items()})

    assert around.governors(root) == ("performance", "powersave")


def test_turbo_is_read_the_way_each_driver_says_it(tmp_path: Path) -> None:
    assert around.turbo(write(tmp_path / "intel", {f"{CPUS}/intel_pstate/no_turbo": "1"})) is False
    assert around.turbo(write(tmp_path / "amd", {f"{CPUS}/cpufreq/boost": "1"})) is True
    assert around.turbo(tmp_path / "none") is None


def test_a_mouse_does_not_power_the_machine(tmp_path: Path) -> None:
    supplies = "sys/class/power_supply"
    mouse = {f"{supplies}/mouse/type": "Battery", f"{supplies}/mouse/scope": "Device"}
    mouse[f"{supplies}/mouse/status"] = "Discharging"
    assert around.on_battery(write(tmp_path / "desktop", mouse)) is None

    laptop = {f"{supplies}/BAT0/type": "Battery", f"{supplies}/BAT0/status": "Discharging", **mouse}
    assert around.on_battery(write(tmp_path / "laptop", laptop)) is True

    plugged = {f"{supplies}/BAT0/type": "Battery", f"{supplies}/BAT0/status": "Charging"}
    assert around.on_battery(write(tmp_path / "plugged", plugged)) is False


def test_a_virtual_machine_is_known_by_its_flag(tmp_path: Path) -> None:
    flags = {"proc/cpuinfo": "flags\t: fpu hypervisor avx\n"}
    assert around.hypervisor(write(tmp_path / "bare", {"proc/cpuinfo": "flags\t: fpu avx\n"})) is None
    assert around.hypervisor(write(tmp_path / "unnamed", flags)) == "yes"

    named = {**flags, "sys/class/dmi/id/sys_vendor": "QEMU\n"}
    assert around.hypervisor(write(tmp_path / "named", named)) == "QEMU"


def test_a_container_is_known_by_what_its_engine_leaves(tmp_path: Path) -> None:
    assert around.in_container(write(tmp_path / "docker", {".dockerenv": ""}))
    assert around.in_container(write(tmp_path / "pod", {"proc/self/cgroup": "0::/kubepods/x\n"}))
    assert not around.in_container(write(tmp_path / "host", {"proc/self/cgroup": "0::/user.slice\n"}))


def test_only_variables_that_change_a_runtime_are_told() -> None:
    environment = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "ORT_LOG": "x", "KMP_AFFINITY": "compact", "HOME": "/"}

    found = around.telling_variables(environment)

    assert found == (("KMP_AFFINITY", "compact"), ("OMP_NUM_THREADS", "1"), ("ORT_LOG", "x"))


def test_an_empty_tree_is_not_readable_rather_than_wrong(tmp_path: Path) -> None:
    assert around.surroundings(tmp_path, environment={}) == around.Surroundings()
