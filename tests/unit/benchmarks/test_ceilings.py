"""What the comparison of ceilings makes of its rounds, and its C program in miniature."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.ceilings import SOURCE, Way, compare, compiled, openvino_model, turn, ways

from infer_opt.machine.cpu import isa
from infer_opt.stats.sustained import sustained

OURS = Way(quantity="float32", name="infer-opt", command=("a",), is_ours=True)
SLOW = Way(quantity="float32", name="C, product of 384", command=("b",))
FAST = Way(quantity="float32", name="OpenVINO", command=("c",))
PEAK = Way(quantity="float32", name="C, FMA in registers", command=("d",), stands_beside=True)
ALONE = Way(quantity="L2", name="infer-opt", command=("e",), is_ours=True)
ASKED = (OURS, SLOW, FAST, PEAK, ALONE)


def seen(**values: list[float]) -> dict[tuple[str, str], list[float]]:
    by_name = {"ours": OURS, "slow": SLOW, "fast": FAST, "peak": PEAK, "alone": ALONE}
    return {(way.quantity, way.name): values.get(name, []) for name, way in by_name.items()}


def test_the_best_round_of_the_best_way_is_what_ours_is_held_to() -> None:
    found = compare(seen(ours=[80.0, 90.0], slow=[50.0, 60.0], fast=[70.0, 100.0], peak=[120.0]), ASKED)

    assert found["float32"]["ratio"] == pytest.approx(0.9)
    assert found["float32"]["by"] == "OpenVINO"
    assert found["float32"]["beside"] == {"C, FMA in registers": 120.0}


def test_what_registers_do_alone_is_no_product_to_be_held_to() -> None:
    assert compare(seen(ours=[80.0], peak=[120.0]), ASKED)["float32"]["ratio"] is None


def test_without_anything_to_compare_with_there_is_no_ratio() -> None:
    assert compare(seen(alone=[5.0]), ASKED)["L2"] == {
        "ours": 5.0, "theirs": None, "by": None, "ratio": None, "others": {}, "beside": {},
    }  # fmt: skip


def test_an_instruction_that_is_not_there_is_left_out_and_a_failure_is_not() -> None:
    def ending(code: int) -> Way:
        return Way(quantity="int8", name="amx", command=(sys.executable, "-c", f"raise SystemExit({code})"))

    assert turn(ending(3)) is None
    with pytest.raises(SystemExit, match="ended with 1"):
        turn(ending(1))


def test_every_quantity_of_ours_is_held_to_something() -> None:
    asked = ways(Path("program"), threads=2, seconds=1.0)

    for quantity in {way.quantity for way in asked}:
        assert [way.is_ours for way in asked if way.quantity == quantity].count(True) == 1
        assert any(not way.is_ours and not way.stands_beside for way in asked if way.quantity == quantity)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_models_of_the_other_library_are_models(precision: str) -> None:
    import onnx

    onnx.checker.check_model(onnx.load_from_string(openvino_model(precision, 32)))


@pytest.mark.skipif("fma" not in isa(), reason="the C program needs AVX2 with FMA, or AVX-512")
def test_the_c_program_multiplies_rightly_and_moves_what_it_says(tmp_path: Path) -> None:
    program = compiled(tmp_path)
    if program is None:
        pytest.skip("there is no C compiler")
    for words in (["sgemm", "2", "0.01", "96"], ["dot", "2", "0.01", "65536"], ["fma", "1", "0.01"]):
        done = subprocess.run([program, *words], capture_output=True, text=True, check=True)  # checks its own product
        assert sustained([float(line) for line in done.stdout.split()]).value > 1e6
    assert subprocess.run([program, "sgemm", "1", "0.01", "97"], check=False).returncode == 2
    assert SOURCE.is_file()
