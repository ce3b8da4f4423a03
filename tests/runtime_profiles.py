"""Profiles as ONNX Runtime writes them, made by hand: an event a line, each written when it ends."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Event = dict[str, Any]


def tensors(*shapes: Sequence[int], dtype: str = "float") -> list[dict[str, list[int]]]:
    return [{dtype: list(shape)} for shape in shapes]


def node(
    name: str, begin_us: int, duration_us: int, *, operator: str = "MatMul", index: int = 0, thread: int = 7,
    reads: Sequence[dict[str, list[int]]] = (), writes: Sequence[dict[str, list[int]]] = (),
    provider: str = "CPUExecutionProvider",
) -> Event:  # fmt: skip
    """The event of a node that is done."""
    return {
        "cat": "Node", "pid": 1, "tid": thread, "ph": "X", "name": f"{name}_kernel_time",
        "ts": begin_us, "dur": duration_us,
        "args": {
            "op_name": operator, "provider": provider, "node_index": str(index), "parameter_size": "0",
            "input_type_shape": list(reads), "output_type_shape": list(writes),
            "thread_scheduling_stats": {"main_thread": {"block_size": [1], "core": 0}, "sub_threads": {}},
        },
    }  # fmt: skip


def execute(begin_us: int, duration_us: int) -> Event:
    """A graph that is done, that of a Loop's body among them."""
    return _session("SequentialExecutor::Execute", begin_us, duration_us)


def run(begin_us: int, duration_us: int) -> Event:
    """A call that is done."""
    return _session("model_run", begin_us, duration_us)


def kernel(name: str, begin_us: int, duration_us: int, **about: str) -> Event:
    """A kernel or a copy on a GPU, which come when the whole profile ends."""
    return {
        "cat": "Kernel", "pid": -1, "tid": -1, "ph": "X", "name": name, "ts": begin_us, "dur": duration_us,
        "args": {"stream": "7", "grid_x": "1", **about},
    }  # fmt: skip


def write(path: Path, events: Iterable[Event], *, end: str = "]\n") -> Path:
    """The file, as the runtime writes it."""
    path.write_text("[\n" + ",\n".join(json.dumps(event) for event in events) + "\n" + end)
    return path


def _session(name: str, begin_us: int, duration_us: int) -> Event:
    return {
        "cat": "Session", "pid": 1, "tid": 7, "ph": "X", "name": name, "ts": begin_us, "dur": duration_us, "args": {}
    }  # fmt: skip
