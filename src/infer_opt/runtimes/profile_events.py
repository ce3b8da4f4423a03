"""ONNX Runtime's profile of a session, event by event: calls, the nodes executed in each, kernels and copies.

The runtime writes one JSON event a line when it ends, in which microseconds are whole and rounded down. A node's event
is written when the node is done, so what ran inside of a Loop comes before the Loop, and a call comes
after its nodes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from infer_opt.errors import EvidenceError, ModelError
from infer_opt.profiles.executed import DeviceEvent, Execution, Key, RuntimeProfile, SeenCall, SeenNode, TensorSeen

MOST_EVENTS = 1_000_000  # the runtime keeps no more, and drops the rest without a word in the file
LONGEST_LINE = 1 << 20
HALF_US = 0.5  # durations are rounded down
_KERNEL = "_kernel_time"  # what the runtime appends to a node's name; other events of a node are its fences
_RUN, _EXECUTE = "model_run", "::Execute"
# Operators that run graphs of their own: what starts after them and ends before them ran inside of them.
CONTAINERS = frozenset(
    {"Loop", "If", "Scan", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"}
)
_DTYPES = {"float": "float32", "double": "float64", "string": "str", "std::string": "str"}
_COPIES = ("Memcpy", "memcpy", "[CUDA memcpy")


class _Args(msgspec.Struct):
    op_name: str = ""
    provider: str = ""
    node_index: str = "-1"
    size: str | int | None = None
    bytes: str | int | None = None
    # Decoded for the first execution alone: a profile repeats them in every call.
    input_type_shape: msgspec.Raw = msgspec.Raw(b"[]")
    output_type_shape: msgspec.Raw = msgspec.Raw(b"[]")


class _Event(msgspec.Struct):
    cat: str
    name: str
    ts: int
    dur: int = 0
    tid: int = 0
    args: _Args = field(default_factory=_Args)


_SHAPES = msgspec.json.Decoder(list[dict[str, list[int]]])


def read_profile(path: Path) -> RuntimeProfile:
    """The calls in a profile of which all events are there.

    Raises:
        ModelError: the file is not such a profile, or ends in the middle.
        EvidenceError: there were more events than the runtime keeps.
    """
    reader = _Reader()
    count = 0
    for event in _events(path):
        count += 1
        reader.take(event)
    if count >= MOST_EVENTS:
        raise EvidenceError(
            f"the runtime stops its profile at {MOST_EVENTS:,} events, which this one reached",
            hint="profile fewer items a call, or shorter sequences: --batch, --dim",
        )
    return reader.profile()


def _events(path: Path) -> Iterator[_Event]:
    decoder = msgspec.json.Decoder(_Event)
    ended = False
    try:
        with path.open("rb") as file:
            if file.readline(LONGEST_LINE).strip() != b"[":
                raise ModelError(f"{path.name} is not a profile of the runtime: it does not begin with a list")
            while line := file.readline(LONGEST_LINE):
                text = line.strip().removesuffix(b",")
                if text == b"]":
                    ended = True
                elif text:
                    yield decoder.decode(text)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the runtime's profile {path.name} cannot be read: {error}",
            hint="names of nodes with quotes or backslashes in them spoil it: rename them",
        ) from error
    if not ended:
        raise ModelError(f"the runtime's profile {path.name} is cut off: its list does not end")


@dataclass(slots=True)
class _Reader:
    """Takes events in the order in which they ended. Mutable: it is what is known of the call under way."""

    seen: dict[Key, SeenNode] = field(default_factory=dict)
    positions: dict[Key, int] = field(default_factory=dict)
    calls: list[SeenCall] = field(default_factory=list)
    device: list[DeviceEvent] = field(default_factory=list)
    pending: list["_Pending"] = field(default_factory=list)
    graph_us: int = 0

    def take(self, event: _Event) -> None:
        if event.cat == "Node" and event.name.endswith(_KERNEL):
            self._node(event)
        elif event.cat in ("Kernel", "Memcpy"):
            self.device.append(_device_event(event))
        elif event.cat == "Session" and event.name.endswith(_EXECUTE):
            self.graph_us = event.dur  # that of a body comes before that of the graph
        elif event.cat == "Session" and event.name == _RUN:
            self._call(event)

    def _node(self, event: _Event) -> None:
        inside: list[_Pending] = []
        if event.args.op_name in CONTAINERS:
            while self.pending and _is_inside(self.pending[-1].event, event):
                inside.append(self.pending.pop())
        self.pending.append(_Pending(event=event, inside=inside[::-1]))

    def _call(self, event: _Event) -> None:
        executions: list[Execution] = []
        for one in self.pending:
            self._executed(one, (), executions)
        executions.sort(key=lambda execution: execution.begin_us)
        self.calls.append(
            SeenCall(
                begin_us=event.ts,
                run_us=event.dur,
                graph_us=self.graph_us,
                executions=tuple(executions),
                device=tuple(sorted(self.device, key=lambda found: found.begin_us)),
            )
        )
        self.pending, self.device, self.graph_us = [], [], 0

    def _executed(self, one: "_Pending", outer: Key, executions: list[Execution]) -> None:
        event = one.event
        key = (*outer, f"{event.args.op_name}:{event.name.removesuffix(_KERNEL)}:{event.args.node_index}")
        if key not in self.seen:
            self.positions[key] = len(self.seen)
            self.seen[key] = _seen(key, event)
        executions.append(
            Execution(
                node=self.positions[key],
                begin_us=event.ts,
                duration_us=event.dur,
                own_us=max(0.0, event.dur + HALF_US - sum(inner.event.dur + HALF_US for inner in one.inside)),
                thread=event.tid,
            )
        )
        for inner in one.inside:
            self._executed(inner, key, executions)

    def profile(self) -> RuntimeProfile:
        # A GPU's events stand after the nodes that they are of, where the runtime knows them, and on a clock of their
        # own perhaps. What comes after the last call belongs to one by time.
        device = sorted(self.device, key=lambda found: found.begin_us)
        calls, at = [], 0
        for call in self.calls:
            end = call.begin_us + call.run_us
            while at < len(device) and device[at].begin_us < call.begin_us:
                at += 1
            first = at
            while at < len(device) and device[at].begin_us <= end:
                at += 1
            calls.append(replace(call, device=(*call.device, *device[first:at])) if at > first else call)
        return RuntimeProfile(seen=tuple(self.seen.values()), calls=tuple(calls))


@dataclass(frozen=True, slots=True)
class _Pending:
    """A node that is done, and what ran inside of it."""

    event: _Event
    inside: "list[_Pending]"


def _is_inside(inner: _Event, outer: _Event) -> bool:
    """Both ended already, the inner one first: it is inside unless it began earlier.

    It may begin in the same microsecond as the outer one. A neighbour cannot: the profiler takes longer between two.
    """
    return inner.tid == outer.tid and inner.ts >= outer.ts


def _seen(key: Key, event: _Event) -> SeenNode:
    args = event.args
    return SeenNode(
        key=key,
        name=event.name.removesuffix(_KERNEL).strip(),
        operator=args.op_name,
        provider=args.provider,
        index=int(args.node_index) if args.node_index.isdecimal() else -1,
        inputs=_tensors(args.input_type_shape),
        outputs=_tensors(args.output_type_shape),
    )


def _tensors(raw: msgspec.Raw) -> tuple[TensorSeen, ...]:
    return tuple(
        (_DTYPES.get(kind, kind), tuple(shape)) for found in _SHAPES.decode(raw) for kind, shape in found.items()
    )


def _device_event(event: _Event) -> DeviceEvent:
    size = event.args.bytes if event.args.bytes is not None else event.args.size
    is_copy = event.cat == "Memcpy" or event.name.startswith(_COPIES)
    return DeviceEvent(
        name=event.name,
        begin_us=event.ts,
        duration_us=event.dur,
        is_copy=is_copy,
        bytes=int(size) if is_copy and size is not None and str(size).isdecimal() else None,
    )
