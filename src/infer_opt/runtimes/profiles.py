"""ONNX Runtime's own profile of a session: one JSON event for each node that was executed."""

import json
import statistics
from pathlib import Path

from infer_opt.errors import ModelError

_KERNEL = "_kernel_time"  # what the runtime appends to a node's name; other events of a node are its fences
NS_A_UNIT = 1000  # events are in microseconds


def median_times(path: Path) -> dict[str, int]:
    """Name of each node -> what an execution of it took, in ns: the median over all runs. 0 is below the clock.

    Raises:
        ModelError: the file is not such a profile.
    """
    spent: dict[str, list[int]] = {}
    try:
        for event in json.loads(path.read_text()):
            if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
                spent.setdefault(event["name"].removesuffix(_KERNEL), []).append(int(event["dur"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the runtime's profile {path.name} cannot be read: {error}") from error
    return {name: round(NS_A_UNIT * statistics.median(times)) for name, times in spent.items()}
