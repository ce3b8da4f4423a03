"""One call as events that chrome://tracing and Perfetto draw.

Source: "Trace Event Format", the JSON that Chrome's tracing reads: complete events, times in microseconds.
"""

from infer_opt.profiles.executed import RuntimeProfile, SeenCall

HOST, DEVICE = 1, 2  # process ids: tracks of their own


def chrome_events(profile: RuntimeProfile, call: SeenCall) -> tuple[dict[str, object], ...]:
    """The nodes of the call by thread, kernels and copies below; the call begins at 0."""
    threads: dict[int, int] = {}
    events: list[dict[str, object]] = [
        {"name": "process_name", "ph": "M", "pid": HOST, "args": {"name": "runtime"}},
        _complete("call", "Call", HOST, 0, 0, call.run_us, {}),
    ]
    for execution in call.executions:
        node = profile.seen[execution.node]
        thread = threads.setdefault(execution.thread, len(threads))
        about: dict[str, object] = {
            "operator": node.operator,
            "provider": node.provider,
            "inputs": [_text(*tensor) for tensor in node.inputs],
            "outputs": [_text(*tensor) for tensor in node.outputs],
        }
        begin = execution.begin_us - call.begin_us
        events.append(_complete(node.name or node.operator, "Node", HOST, thread, begin, execution.duration_us, about))
    if call.device:
        events.append({"name": "process_name", "ph": "M", "pid": DEVICE, "args": {"name": "GPU"}})
    for event in call.device:
        category = "Memcpy" if event.is_copy else "Kernel"
        begin = event.begin_us - call.begin_us
        events.append(_complete(event.name, category, DEVICE, int(event.is_copy), begin, event.duration_us, {}))
    return tuple(events)


def _complete(
    name: str, category: str, process: int, thread: int, begin_us: int, duration_us: int, about: dict[str, object]
) -> dict[str, object]:
    return {
        "name": name, "cat": category, "ph": "X", "pid": process, "tid": thread, "ts": begin_us, "dur": duration_us,
        "args": about,
    }  # fmt: skip


def _text(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype}[{', '.join(map(str, shape))}]"
