"""Memory over a call, from which tensors are alive."""

from infer_opt.models.lifetimes import memory_course
from infer_opt.profiles.nodes import Node
from made_profiles import tensor


def node(name: str, operator: str, reads: list[str], writes: list[str], *, size: int = 4) -> Node:
    """Tensors of `size` floats; those whose names begin with w are weights."""
    return Node(
        name=name,
        operator=operator,
        inputs=tuple(tensor(one, size, is_constant=one.startswith("w")) for one in reads),
        outputs=tuple(tensor(one, size) for one in writes),
    )


def test_a_tensor_is_alive_from_its_writer_to_its_last_reader() -> None:
    nodes = [
        node("a", "MatMul", ["x", "w"], ["h"]),
        node("b", "Relu", ["h"], ["r"]),
        node("c", "Tanh", ["r"], ["t"]),
        node("d", "Add", ["t", "h"], ["y"]),
    ]

    course = memory_course(nodes, inputs=["x"], outputs=["y"], weight_bytes=16)

    assert course.alive_bytes == (32, 32, 48, 48)  # x h · h r · h r t · h t y
    assert (course.peak_index, course.weight_bytes) == (2, 16)
    assert {(one.tensor, one.written_by, one.needed_by) for one in course.holders} == {
        ("h", "a", "d"),
        ("r", "b", "c"),
        ("t", "c", "d"),
    }


def test_outputs_are_held_to_the_end_and_inputs_from_the_beginning() -> None:
    nodes = [
        node("a", "Relu", ["x"], ["early"]),
        node("b", "Relu", ["x"], ["h"]),
        node("c", "Add", ["h", "late"], ["y"]),
    ]

    course = memory_course(nodes, inputs=["x", "late"], outputs=["early", "y"], weight_bytes=0)

    assert course.alive_bytes == (48, 64, 64)  # x late early · x late early h · late early h y
    early = next(one for one in course.holders if one.tensor == "early")
    late = next(one for one in course.holders if one.tensor == "late")
    assert (early.written_by, early.needed_by) == ("a", "")
    assert (late.written_by, late.needed_by) == ("", "c")


def test_a_reshaped_tensor_takes_no_memory_of_its_own() -> None:
    nodes = [
        node("a", "Relu", ["x"], ["h"]),
        node("b", "Reshape", ["h", "w"], ["flat"]),
        node("c", "Squeeze", ["flat"], ["flatter"]),
        node("d", "Tanh", ["flatter"], ["y"]),
    ]

    course = memory_course(nodes, inputs=["x"], outputs=["y"], weight_bytes=0)

    assert course.alive_bytes == (32, 16, 16, 32)


def test_a_reshaped_weight_stays_a_weight() -> None:
    nodes = [node("a", "Reshape", ["w"], ["v"]), node("b", "Mul", ["x", "v"], ["y"])]

    assert memory_course(nodes, inputs=["x"], outputs=["y"], weight_bytes=16).alive_bytes == (16, 32)


def test_what_a_body_is_fed_with_is_there_in_the_body_alone() -> None:
    nodes = [
        node("a", "Relu", ["x"], ["h"]),
        node("loop", "Loop", ["h"], ["y"]),
        node("body", "Tanh", ["state"], ["next"]),
    ]

    course = memory_course(nodes, inputs=["x"], outputs=["y"], weight_bytes=0)

    assert course.alive_bytes == (32, 32, 48)


def test_what_nobody_reads_lives_while_its_writer_runs() -> None:
    nodes = [node("a", "Split", ["x"], ["used", "unused"]), node("b", "Relu", ["used"], ["y"])]

    course = memory_course(nodes, inputs=["x"], outputs=["y"], weight_bytes=0)

    assert course.alive_bytes == (48, 32)


def test_tensors_without_names_are_counted_where_they_are_written() -> None:
    nodes = [
        Node(name="a", operator="Mystery", inputs=(tensor("", 4),), outputs=(tensor("", 4), tensor("", 4))),
        node("b", "Relu", ["x"], ["y"]),
    ]

    assert memory_course(nodes, inputs=["x"], outputs=["y"], weight_bytes=0).alive_bytes == (48, 32)


def test_nothing_executed_holds_nothing() -> None:
    course = memory_course([], inputs=["x"], outputs=["x"], weight_bytes=0)

    assert (course.alive_bytes, course.holders) == ((), ())
