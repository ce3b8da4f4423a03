"""Made profiles whose nodes take what a test says, with the noise of processes and of calls."""

import numpy as np

from infer_opt.config import TrialConfig
from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.profiles.nodes import CallTimes, MemoryCourse, Node, NodeTimes
from infer_opt.profiles.profile import Profile
from infer_opt.stats.intervals import median_interval

Made = tuple[str, str, str, float]  # name, operator, module, microseconds

MACHINE = MachineFacts(
    fingerprint="here", system="Linux", cpu_model="AMD EPYC", physical_cores=1, logical_cores=2, usable_cores=2.0,
    isa=("avx2",), memory_bytes=1 << 33,
)  # fmt: skip
MODEL = ModelFacts(
    path="net.onnx", content_hash="0" * 64, size_bytes=1000, weight_bytes=900, ir_version=10, opset=21, inputs=(),
    outputs=(), operators=(("MatMul", 2),),
)  # fmt: skip
NODES: tuple[Made, ...] = (
    ("mm1", "MatMul", "encoder.0", 400.0),
    ("mm2", "MatMul", "encoder.1", 380.0),
    ("soft1", "Softmax", "encoder.0", 60.0),
    ("soft2", "Softmax", "encoder.1", 55.0),
    ("add1", "Add", "encoder.0", 8.0),
    ("add2", "Add", "encoder.1", 8.5),
    ("gelu", "com.microsoft.Gelu", "head", 70.0),
)


def profile(
    *,
    seed: int = 0,
    nodes: tuple[Made, ...] = NODES,
    processes: int = 6,
    calls: int = 30,
    drift: tuple[float, ...] | None = None,
    subject: str = "net.onnx",
    machine: MachineFacts = MACHINE,
    runtime: str = "1.32.0",
    step_ns: int = 1,
) -> Profile:
    """A profile of `nodes`; each process has a luck of its own of 1 %, each call one of 4 %, and 5 % of calls a burst.

    `drift` multiplies whole processes: what a machine does to all that runs at the time.
    """
    random = np.random.default_rng(seed)
    speed = np.ones(processes) if drift is None else np.asarray(drift)
    raw = {}
    for name, _, _, us in nodes:
        luck = speed * random.normal(1.0, 0.01, processes)
        times = us * 1000 * luck[:, None] * random.normal(1.0, 0.04, (processes, calls))
        times = np.where(random.random(times.shape) < 0.05, times * 3.0, times)
        raw[name] = tuple(tuple(int(value) // step_ns * step_ns for value in row) for row in times)
    around = 25_000 * speed[:, None] * random.normal(1.0, 0.05, (processes, calls))
    latency = tuple(
        tuple(int(sum(raw[name][process][call] for name in raw) + around[process, call]) for call in range(calls))
        for process in range(processes)
    )
    middle = median_interval([float(np.log(np.median(row))) for row in latency])
    total = sum(us for _, _, _, us in nodes) * 1000
    return Profile(
        subject=subject,
        config=TrialConfig(),
        runtime_version=runtime,
        model=MODEL,
        machine=machine,
        call=CallTimes(
            latency=middle, profiled=middle, nodes_ns=total, open_ns=1e6, first_ns=1e6, latency_raw_ns=latency
        ),
        nodes=tuple(
            NodeTimes(
                node=Node(name=name, operator=kind.rpartition(".")[2], domain=kind.rpartition(".")[0], module=module),
                time=median_interval([float(np.log(np.median(row))) for row in raw[name]]),
                share=us * 1000 / total,
                executions=1.0,
                first_ns=None,
                raw_ns=raw[name],
            )
            for name, kind, module, us in nodes
        ),
        memory=MemoryCourse(alive_bytes=(), peak_index=0, holders=(), weight_bytes=0),
        processes=processes,
    )


def slowed(name: str, times: float) -> tuple[Made, ...]:
    """NODES with one of them slower by a factor."""
    return tuple((node, kind, module, us * (times if node == name else 1.0)) for node, kind, module, us in NODES)
