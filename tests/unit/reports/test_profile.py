"""The report of a profile."""

import dataclasses
import json
import math

import pytest

from infer_opt.errors import ConfigError
from infer_opt.profiles.documents import read_document
from infer_opt.profiles.nodes import DeviceActivity, Node, NodeTimes
from infer_opt.reports import By, Format
from infer_opt.reports.node_groups import NO_MODULE, groups
from infer_opt.reports.profile import WIDEST, render, trace_document
from infer_opt.results import Caution, Estimate, Note, Placement
from made_profiles import made_profile, tensor, times


def node(name: str, operator: str, *, module: str = "", origins: tuple[str, ...] = ("one",)) -> Node:
    return Node(
        name=name,
        operator=operator,
        inputs=(tensor("x", 1, 4), None, tensor("w", 4, 4, dtype="int8", is_constant=True)),
        outputs=(tensor("y", 1, 4),),
        module=module,
        origins=origins,
    )


def six_nodes() -> list[NodeTimes]:
    return [
        times(node("a", "MatMul", module="net.one"), 40_000.0, share=0.4),
        times(node("b", "MatMul", module="net.two"), 30_000.0, share=0.3),
        times(node("c", "Attention", module="net.two", origins=("1", "2", "3")), 20_000.0, share=0.2),
        times(node("d", "Relu", module="net.one"), 5_000.0, share=0.05),
        times(node("e", "Cast", origins=()), 3_000.0, share=0.03),
        times(node("f", "Cast", origins=()), 2_000.0, share=0.02),
    ]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (By.OPERATOR, [("MatMul", 70), ("Attention", 20), ("Relu", 5), ("Cast", 5)]),
        (By.MODULE, [("net.two", 50), ("net.one", 45), (NO_MODULE, 5)]),
        (By.BLOCK, [("(one for one)", 75), ("Attention for 3 nodes", 20), ("(put in by the runtime)", 5)]),
        (By.NODE, [("a", 40), ("b", 30), ("c", 20), ("d", 5), ("e", 3), ("f", 2)]),
    ],
)
def test_nodes_are_added_up_as_asked(by: By, expected: list[tuple[str, float]]) -> None:
    found = groups(made_profile(six_nodes()), by)

    assert [group.name for group in found] == [name for name, _ in expected]
    assert [group.time.value for group in found] == [pytest.approx(1000 * value) for _, value in expected]
    assert [group.share for group in found] == [pytest.approx(value / 100) for _, value in expected]


def test_what_nodes_of_a_process_have_in_common_is_not_averaged_away() -> None:
    """All nodes are 10 % slower in one process: so is their sum, and its interval is as wide as theirs."""
    slow = tuple((ns, ns, ns) for ns in (10_000, 10_000, 11_000, 10_000, 10_000))
    nodes = [
        dataclasses.replace(
            times(node(name, "MatMul"), 10_200.0, share=0.1),
            raw_ns=slow,
            time=Estimate(value=10_200, low=9_645, high=10_755),
        )
        for name in "abcdefghij"
    ]  # fmt: skip

    (group,) = groups(made_profile(nodes), By.OPERATOR)

    assert group.time.value == pytest.approx(102_000)
    assert group.time.low == pytest.approx(10 * 9_645, rel=0.01)
    assert group.time.high == pytest.approx(10 * 10_755, rel=0.01)


def test_the_table_says_what_a_call_takes_and_where() -> None:
    text = render(dataclasses.replace(made_profile(), roofline=None), by=By.NODE, width=120)

    assert text.startswith("A call takes 104 µs [103 µs to 105 µs], over 5 fresh processes; the first one 300 µs")
    assert "It executes 3 nodes, which add up to 100 µs" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("/")}
    assert "80.0 µs ± 2.0 %" in lines["/encoder/fc/MatMul"]
    assert "80 %" in lines["/encoder/fc/MatMul"]
    assert "█████████▋" in lines["/encoder/fc/MatMul"]
    assert "1x512 · 512x512 → 1x512" in lines["/encoder/fc/MatMul"]
    assert "Memory: 1.05 MB of weights, and 4.10 kB of activations where it is most." in text
    text = " ".join(text.split())
    assert "h, 2.05 kB (from /encoder/fc/MatMul until /encoder/fc/Add)" in text
    assert "x, 2.05 kB (an input until /encoder/fc/MatMul)" in text


def test_what_is_beyond_the_top_is_added_up_in_a_last_line() -> None:
    text = render(made_profile(six_nodes()), by=By.NODE, top=2)

    (rest,) = [line for line in text.splitlines() if line.startswith("4 more")]
    assert "30.0 µs" in rest
    assert "30 %" in rest
    assert "→" not in rest


@pytest.mark.parametrize("width", [20, 60, 80, 120, 400])
@pytest.mark.parametrize("by", list(By))
def test_no_line_is_wider_than_the_terminal(width: int, by: By) -> None:
    long = node("/encoder/" + "layer/" * 20 + "MatMul", "MatMul", module="encoder" + ".layer" * 20)
    profile = made_profile([times(long, 10_000.0, share=0.5), *six_nodes()])

    text = render(profile, by=by, width=width)

    assert max(map(len, text.splitlines())) <= min(max(width, 60), WIDEST)


def test_the_end_of_a_long_name_is_kept() -> None:
    long = node("/encoder/" + "layer/" * 20 + "MatMul", "MatMul")

    text = render(made_profile([times(long, 10_000.0, share=1.0)]), by=By.NODE, width=80)

    assert "/layer/MatMul" in text
    assert "…" in text


def test_an_interval_from_one_process_is_none() -> None:
    profile = made_profile()
    call = dataclasses.replace(profile.call, latency=Estimate(value=1e6, low=0.0, high=math.inf))
    one = dataclasses.replace(profile.nodes[0], time=Estimate(value=8e4, low=0.0, high=math.inf))
    profile = dataclasses.replace(profile, call=call, nodes=(one,), processes=1, roofline=None)

    text = render(profile, by=By.NODE)

    assert "1.00 ms [no interval from one process], over 1 fresh process;" in text
    assert "80.0 µs  " in text
    assert read_document(render(profile, Format.JSON)) == profile


def test_json_is_read_back_as_it_was() -> None:
    profile = made_profile()

    assert read_document(render(profile, Format.JSON)) == profile


def test_a_page_escapes_what_a_table_would_take_for_its_own() -> None:
    text = render(made_profile([times(node("a|b", "MatMul"), 1e4, share=1.0)]), Format.MARKDOWN, by=By.NODE)

    assert "a\\|b" in text
    assert "| 10.0 µs ± 2.0 %" in text


def test_another_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="csv"):
        render(made_profile(), Format.CSV)


def test_a_gpu_other_providers_and_cautions_are_told_of() -> None:
    profile = dataclasses.replace(
        made_profile(),
        device=DeviceActivity(
            launches=12, busy_ns=60_000, gaps_ns=20_000, span_ns=80_000, copies=(("host to device", 2, 4096, 3_000.0),)
        ),
        placement=Placement(nodes=(("CPUExecutionProvider", 2), ("CUDAExecutionProvider", 9))),
        notes=(
            Note(caution=Caution.FALLBACK, text="the CPU was measured instead"),
            Note(caution=Caution.PROVISIONAL, text="3 processes"),
        ),
    )

    text = render(profile)

    assert text.startswith("FALLBACK: the CPU was measured instead\n")
    assert "12 kernels a call, busy for 60.0 µs of 80.0 µs; 20.0 µs lie in gaps" in text
    assert "Copied host to device: 2 times, 4.10 kB, 3.00 µs." in text
    assert "2 on CPUExecutionProvider, 9 on CUDAExecutionProvider" in text
    assert text.endswith("Cautions\n- provisional: 3 processes")


def test_why_the_sum_is_not_the_latency_is_said() -> None:
    profile = made_profile()
    profile = dataclasses.replace(
        profile, call=dataclasses.replace(profile.call, unaccounted="the nodes add up to less")
    )

    assert "The nodes add up to less." in render(profile)


def test_a_trace_is_what_chrome_reads() -> None:
    profile = made_profile()
    event: dict[str, object] = {"name": "/head/Softmax", "ph": "X", "ts": 0, "dur": 8, "pid": 1, "tid": 0, "args": {}}
    document = json.loads(trace_document(dataclasses.replace(profile, trace=(event,))))

    assert document["traceEvents"] == [event | {"args": {"module": "head"}}]
    assert document["otherData"]["model"] == "net.onnx"


def test_the_nodes_farthest_from_what_the_machine_could_do_have_a_table_of_their_own() -> None:
    text = render(made_profile(), width=120)

    assert "The floor on this machine is 71.8 µs; this model is at 1.45x." in text
    assert "Farthest from what the machine could do" in text
    assert "**Farthest" in render(made_profile(), Format.MARKDOWN)
