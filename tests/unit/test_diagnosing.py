import dataclasses

import pytest

from infer_opt import diagnosing
from infer_opt.diagnosing import Load, Seen, judge
from infer_opt.facts import Gpu, MachineFacts
from infer_opt.machine.cgroup import Throttling
from infer_opt.machine.providers import RuntimeReport
from infer_opt.machine.surroundings import Surroundings
from infer_opt.results import Finding, Severity

GIB = 1 << 30
GPU = Gpu(index=0, name="NVIDIA Fake", memory_bytes=80 * GIB, driver="550.10")
MACHINE = MachineFacts(
    fingerprint="f",
    system="Linux x86_64",
    cpu_model="Fake",
    physical_cores=4,
    logical_cores=4,
    usable_cores=4.0,
    isa=("avx2", "avx_vnni"),
    memory_bytes=16 * GIB,
)
# A machine on which nothing is wrong.
QUIET = Seen(
    machine=MACHINE,
    load=Load(steal=0.0, others_cores=0.01),
    allowed_cores=4,
    surroundings=Surroundings(governors=("performance",), clock_source="tsc"),
    packages=(("onnxruntime", "1.32.0"),),
    runtime=RuntimeReport(version="1.32.0", providers=("CPUExecutionProvider",)),
    available_bytes=12 * GIB,
    swap_used_bytes=0,
    nvml_problem="the NVIDIA driver does not answer: NVML Shared Library Not Found",
)
ON_GPU = dataclasses.replace(
    QUIET,
    machine=dataclasses.replace(MACHINE, gpus=(GPU,)),
    packages=(("onnxruntime-gpu", "1.31.1"),),
    runtime=RuntimeReport(
        version="1.31.1", providers=("CUDAExecutionProvider", "CPUExecutionProvider"), cuda_version="12.8"
    ),
    gpu_processes=0,
    driver_cuda=(12, 4),
    nvml_problem=None,
)


def found(name: str, seen: Seen) -> Finding:
    return {finding.name: finding for finding in judge(seen)}[name]


def spoilt(seen: Seen = QUIET, **changes: object) -> Seen:
    return dataclasses.replace(seen, **changes)  # type: ignore[arg-type]


def around(**changes: object) -> Seen:
    return spoilt(surroundings=dataclasses.replace(QUIET.surroundings, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("seen", [QUIET, ON_GPU])
def test_a_quiet_machine_has_only_good_findings(seen: Seen) -> None:
    assert {finding.severity for finding in judge(seen)} == {Severity.OK}
    assert all(finding.what for finding in judge(seen))


def test_every_check_reports_under_a_name_of_its_own() -> None:
    names = [finding.name for finding in judge(QUIET)]

    assert len(set(names)) == len(names) == len(diagnosing.CHECKS)


def test_nothing_readable_is_no_trouble() -> None:
    blind = spoilt(
        load=Load(),
        surroundings=Surroundings(),
        available_bytes=None,
        swap_used_bytes=None,
        machine=dataclasses.replace(MACHINE, isa=(), memory_bytes=0),
    )

    assert {finding.severity for finding in judge(blind)} == {Severity.OK}


CASES = [
    ("int8", spoilt(machine=dataclasses.replace(MACHINE, isa=("avx2",))), Severity.CAUTION, "no VNNI"),
    ("steal", spoilt(load=Load(steal=0.03)), Severity.CAUTION, "3.0%"),
    ("steal", spoilt(load=Load(steal=0.2)), Severity.PROBLEM, "20.0%"),
    ("background load", spoilt(load=Load(others_cores=0.2)), Severity.CAUTION, "0.20 of 4"),
    ("background load", spoilt(load=Load(others_cores=1.5)), Severity.PROBLEM, "1.50 of 4"),
    ("CPU quota", spoilt(quota=1.5), Severity.CAUTION, "1.5 cores of 4; the fraction"),
    ("CPU quota", spoilt(quota=2.0), Severity.CAUTION, "2 cores of 4"),
    ("affinity", spoilt(allowed_cores=2), Severity.CAUTION, "2 of 4"),
    ("frequency governor", around(governors=("powersave",)), Severity.CAUTION, "powersave"),
    ("power", around(on_battery=True), Severity.PROBLEM, "on battery"),
    ("virtual machine", around(hypervisor="QEMU"), Severity.CAUTION, "(QEMU)"),
    ("clock", around(clock_source="hpet"), Severity.CAUTION, "hpet"),
    ("clock", spoilt(clock_step_s=1e-5), Severity.CAUTION, "10000 ns"),
    ("memory", spoilt(available_bytes=GIB), Severity.CAUTION, "1.0 GiB"),
    ("memory", spoilt(available_bytes=GIB // 10), Severity.PROBLEM, "0.1 GiB"),
    ("swap", spoilt(swap_used_bytes=GIB), Severity.CAUTION, "1.00 GiB"),
    ("freezing", spoilt(can_freeze=False), Severity.CAUTION, "no SIGSTOP"),
    ("environment", around(variables=(("OMP_NUM_THREADS", "1"),)), Severity.CAUTION, "OMP_NUM_THREADS=1"),
    ("GPU sharing", spoilt(ON_GPU, gpu_processes=2), Severity.PROBLEM, "2 other processes"),
    ("CUDA provider", spoilt(ON_GPU, runtime=QUIET.runtime), Severity.CAUTION, "cannot use it"),
    ("NVIDIA driver", spoilt(ON_GPU, driver_cuda=(11, 8)), Severity.PROBLEM, "up to 11.8"),
]


@pytest.mark.parametrize(("name", "seen", "severity", "part"), CASES, ids=[f"{c[0]}-{c[2]}-{c[3]}" for c in CASES])
def test_what_spoils_a_measurement_is_told_with_what_to_do(
    name: str, seen: Seen, severity: Severity, part: str
) -> None:
    finding = found(name, seen)

    assert finding.severity is severity
    assert part in finding.what
    assert finding.action


def test_a_quota_that_bites_is_a_problem() -> None:
    throttling = Throttling(periods=100, throttled_periods=40, throttled_ns=9)

    finding = found("CPU quota", spoilt(quota=2.0, throttling=throttling))

    assert finding.severity is Severity.PROBLEM
    assert "throttled in 40 of 100 periods" in finding.what


def test_a_quota_of_every_core_is_no_limit() -> None:
    assert found("CPU quota", spoilt(quota=4.0)).severity is Severity.OK


def test_a_bare_install_names_the_extra() -> None:
    finding = found("ONNX Runtime", spoilt(packages=(), runtime=RuntimeReport()))

    assert finding.severity is Severity.PROBLEM
    assert "pip install 'infer-opt[cpu]'" in (finding.action or "")


def test_two_onnx_runtimes_are_to_be_uninstalled() -> None:
    both = (("onnxruntime", "1.32.0"), ("onnxruntime-gpu", "1.31.1"))

    finding = found("ONNX Runtime", spoilt(packages=both))

    assert finding.severity is Severity.PROBLEM
    assert "overwrite each other" in finding.what
    assert "pip uninstall onnxruntime onnxruntime-gpu" in (finding.action or "")


def test_a_runtime_that_does_not_import_is_a_problem() -> None:
    finding = found("ONNX Runtime", spoilt(runtime=RuntimeReport(error="ImportError: libstdc++.so.6")))

    assert finding.severity is Severity.PROBLEM
    assert "libstdc++" in finding.what


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("libcublasLt.so.12", "cuBLAS"),
        ("libcudnn.so.9", "cuDNN"),
        ("libcuda.so.1", "install the NVIDIA driver"),
        ("libcufft.so.11", "brings the CUDA libraries"),
    ],
)
def test_a_cuda_provider_that_does_not_load_says_where_the_library_comes_from(missing: str, advice: str) -> None:
    error = f"OSError: {missing}: cannot open shared object file: No such file or directory"
    seen = spoilt(ON_GPU, runtime=dataclasses.replace(ON_GPU.runtime, error=error))

    finding = found("CUDA provider", seen)

    assert finding.severity is Severity.PROBLEM
    assert missing in finding.what
    assert advice in (finding.action or "")


def test_a_gpu_build_without_a_driver_is_a_problem_and_a_cpu_build_is_not() -> None:
    gpu_build = spoilt(packages=ON_GPU.packages, runtime=ON_GPU.runtime)

    assert found("NVIDIA driver", gpu_build).severity is Severity.PROBLEM
    assert found("NVIDIA driver", QUIET).severity is Severity.OK


def test_an_older_driver_of_the_same_major_cuda_is_fine() -> None:
    assert found("NVIDIA driver", spoilt(ON_GPU, driver_cuda=(12, 1))).severity is Severity.OK


def test_arm_has_no_saturating_kernels_to_warn_of() -> None:
    arm = spoilt(machine=dataclasses.replace(MACHINE, isa=("asimd",)))

    assert found("int8", arm).severity is Severity.OK


def test_the_load_is_sampled_without_our_own_share() -> None:
    waits: list[float] = []

    load = diagnosing.sample_load(0.5, pass_time=waits.append)

    assert waits == [0.5]
    assert load.others_cores is None or load.others_cores >= 0


def test_this_machine_can_be_diagnosed() -> None:
    findings = diagnosing.diagnose(sample_s=0.01)

    assert len(findings) == len(diagnosing.CHECKS)
    assert {finding.name: finding.severity for finding in findings}["ONNX Runtime"] is Severity.OK
