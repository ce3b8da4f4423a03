"""Profiles made by hand: a small network whose times, work and floors are known."""

from collections.abc import Sequence

from infer_opt.config import TrialConfig
from infer_opt.facts import MachineFacts, ModelFacts, TensorSpec
from infer_opt.profiles.diagnoses import Cause, Diagnosis
from infer_opt.profiles.nodes import CallTimes, Holder, MemoryCourse, Node, NodeTimes, Tensor
from infer_opt.profiles.profile import Profile
from infer_opt.profiles.roofline import Bandwidth, Bound, Ceilings, NodeFloor, Roofline, Work
from infer_opt.results import Estimate

PROCESSES = 5
MACHINE = MachineFacts(
    fingerprint="f00d",
    system="Linux",
    cpu_model="A CPU",
    physical_cores=2,
    logical_cores=2,
    usable_cores=2.0,
    isa=("avx2", "fma"),
    memory_bytes=8 << 30,
    versions=(("onnxruntime", "1.30.0"),),
)
MODEL = ModelFacts(
    path="net.onnx",
    content_hash="c0ffee",
    size_bytes=1_100_000,
    weight_bytes=1_048_576,
    ir_version=8,
    opset=17,
    inputs=(TensorSpec(name="x", dtype="float32", shape=("N", 512)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("N", 512)),),
    operators=(("MatMul", 1), ("Softmax", 1)),
    batch_dim="N",
)


def around(value: float, *, spread: float = 0.02) -> Estimate:
    """An interval of ± spread."""
    return Estimate(value=value, low=value * (1 - spread), high=value * (1 + spread))


def tensor(name: str, *shape: int, dtype: str = "float32", is_constant: bool = False) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=shape, is_constant=is_constant)


def times(node: Node, time_ns: float, *, share: float) -> NodeTimes:
    return NodeTimes(
        node=node,
        time=around(time_ns),
        share=share,
        executions=1.0,
        first_ns=3 * time_ns,
        raw_ns=tuple(tuple(round(time_ns * (1 + 0.01 * call)) for call in range(-1, 2)) for _ in range(PROCESSES)),
    )


def made_nodes() -> tuple[NodeTimes, ...]:
    """A matrix product of 80 µs, an addition of 5 µs and a softmax of 15 µs."""
    matmul = Node(
        name="/encoder/fc/MatMul",
        operator="MatMul",
        inputs=(tensor("x", 1, 512), tensor("w", 512, 512, is_constant=True)),
        outputs=(tensor("h", 1, 512),),
        module="encoder.fc",
        origins=("/encoder/fc/MatMul",),
    )
    add = Node(
        name="/encoder/fc/Add",
        operator="Add",
        inputs=(tensor("h", 1, 512), tensor("b", 512, is_constant=True)),
        outputs=(tensor("s", 1, 512),),
        module="encoder.fc",
        origins=("/encoder/fc/Add",),
    )
    softmax = Node(
        name="/head/Softmax",
        operator="Softmax",
        inputs=(tensor("s", 1, 512),),
        outputs=(tensor("y", 1, 512),),
        attributes=(("axis", -1), ("sizes", (1, 2))),
        module="head",
        origins=("/head/Softmax",),
    )
    return times(matmul, 80_000.0, share=0.8), times(add, 5_000.0, share=0.05), times(softmax, 15_000.0, share=0.15)


def made_roofline() -> Roofline:
    ceilings = Ceilings(
        fingerprint=MACHINE.fingerprint,
        provider="cpu",
        threads=2,
        operations_per_s=(("float32", around(1e11)), ("int8", around(4e11))),
        bandwidths=(
            Bandwidth(level="L2", capacity_bytes=2 << 20, bytes_per_s=around(8e10)),
            Bandwidth(level="memory", capacity_bytes=None, bytes_per_s=around(1.5e10)),
        ),
        launch=around(800.0),
        measured_ms=1_790_000_000_000,
    )
    product = Work(
        operations=524_288, read_bytes=1_050_624, written_bytes=2_048, weight_bytes=1_048_576, precision="float32"
    )
    softmax = Work(
        operations=2_560, read_bytes=2_048, written_bytes=2_048, weight_bytes=0, precision="float32", is_exact=False
    )
    floors = (
        NodeFloor(name="/encoder/fc/MatMul", work=product, floor_ns=70_178.0, bound=Bound.MEMORY),
        NodeFloor(name="/encoder/fc/Add", work=None, floor_ns=800.0, bound=Bound.LAUNCH),
        NodeFloor(name="/head/Softmax", work=softmax, floor_ns=800.0, bound=Bound.LAUNCH),
    )
    return Roofline(ceilings=ceilings, nodes=floors, floor_ns=71_778.0, counted_share=0.95)


def made_profile(nodes: Sequence[NodeTimes] | None = None, *, subject: str = "net.onnx") -> Profile:
    """A profile of `nodes`, or of `made_nodes`, with a call that takes 4 µs more than they do."""
    found = made_nodes() if nodes is None else tuple(nodes)
    total = sum(one.time.value for one in found)
    return Profile(
        subject=subject,
        config=TrialConfig(),
        runtime_version="1.30.0",
        model=MODEL,
        machine=MACHINE,
        call=CallTimes(
            latency=around(total + 4_000.0, spread=0.01),
            profiled=around(total + 9_000.0, spread=0.01),
            nodes_ns=total,
            open_ns=9e6,
            first_ns=3 * total,
            latency_raw_ns=tuple(
                tuple(round(total + 4_000 + 100 * call) for call in range(4)) for _ in range(PROCESSES)
            ),
        ),
        nodes=found,
        memory=MemoryCourse(
            alive_bytes=(4_096, 4_096, 4_096),
            peak_index=0,
            holders=(
                Holder(tensor="x", bytes=2_048, written_by="", needed_by="/encoder/fc/MatMul"),
                Holder(tensor="h", bytes=2_048, written_by="/encoder/fc/MatMul", needed_by="/encoder/fc/Add"),
            ),
            weight_bytes=1_050_624,
            rss_before_bytes=60 << 20,
            rss_opened_bytes=70 << 20,
            rss_peak_bytes=72 << 20,
        ),
        processes=PROCESSES,
        roofline=made_roofline() if nodes is None else None,
        diagnoses=(
            Diagnosis(
                cause=Cause.MEMORY_BOUND,
                what="Weights are read from memory once a call, and that is most of the time.",
                evidence=("1.0 MB of weights for 0.5 million operations", "70 of 80 µs are its floor"),
                action="Quantise the weights, or ask for more items a call (--batch).",
                gain_ns=52_000.0,
                nodes=("/encoder/fc/MatMul",),
                knobs=("quantise",),
            ),
        ),
        trace=({"name": "MatMul", "ph": "X", "ts": 0, "dur": 80, "pid": 1, "tid": 1},),
    )
