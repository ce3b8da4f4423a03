import dataclasses
import subprocess
import sys
from pathlib import Path

from infer_opt.facts import Gpu, MachineFacts
from infer_opt.machine.describe import describe, fingerprint

GIB = 1 << 30
GPU = Gpu(index=0, name="NVIDIA Fake", memory_bytes=80 * GIB, driver="570.10", compute_capability="9.0")
FACTS = MachineFacts(
    fingerprint="",
    system="Linux x86_64",
    cpu_model="Fake",
    physical_cores=2,
    logical_cores=4,
    usable_cores=4.0,
    isa=("avx2", "fma"),
    memory_bytes=16 * GIB,
    gpus=(GPU,),
)


def test_whatever_decides_speed_changes_the_fingerprint() -> None:
    changes = [
        {"cpu_model": "Other"},
        {"physical_cores": 4},
        {"usable_cores": 1.5},
        {"isa": ("avx2", "fma", "avx_vnni")},
        {"memory_bytes": 8 * GIB},
        {"gpus": ()},
        {"gpus": (dataclasses.replace(GPU, driver="580.00"),)},
    ]

    prints = [fingerprint(dataclasses.replace(FACTS, **change)) for change in changes]  # type: ignore[arg-type]

    assert len({*prints, fingerprint(FACTS)}) == len(changes) + 1


def test_a_few_megabytes_or_a_newer_library_are_the_same_machine() -> None:
    same = dataclasses.replace(FACTS, memory_bytes=16 * GIB - 90_000_000, versions=(("onnx", "9"),))

    assert fingerprint(same) == fingerprint(FACTS)
    assert len(fingerprint(FACTS)) == 16


def test_a_container_without_proc_and_sys_can_be_described(tmp_path: Path) -> None:
    facts = describe(gpus=[GPU], versions={"b": "2", "a": "1"}, root=tmp_path)

    assert facts.fingerprint == fingerprint(facts)
    assert facts.logical_cores >= facts.physical_cores >= 1
    assert facts.versions == (("a", "1"), ("b", "2"))
    assert facts.gpus == (GPU,)


def test_describing_twice_gives_the_same_fingerprint() -> None:
    assert describe().fingerprint == describe().fingerprint


def test_a_bundle_can_ask_for_the_instruction_sets_with_the_standard_library_alone() -> None:
    program = (
        "import sys, infer_opt.machine.cpu as cpu; cpu.isa(); "
        "print([name for name in ('numpy', 'psutil', 'pynvml', 'onnxruntime') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
