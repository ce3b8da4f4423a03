"""Read by Olive in its environment: calibration inputs from an npz whose keys are `<index>/<input name>`.

Olive asks for a dataset, whose items are pairs of inputs and a label, and for a loader of it.
"""

from typing import Any

import numpy as np
from olive.data.registry import Registry


class Feeds:
    """The feeds of an npz, one call's at a time; none has a label."""

    def __init__(self, path: str) -> None:
        found: dict[int, dict[str, Any]] = {}
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                index, _, name = key.partition("/")
                found.setdefault(int(index), {})[name] = archive[key]
        self._feeds = [found[index] for index in sorted(found)]

    def __len__(self) -> int:
        return len(self._feeds)

    def __getitem__(self, index: int) -> tuple[dict[str, Any], None]:
        return self._feeds[index], None


@Registry.register_dataset()  # type: ignore[untyped-decorator]  # Olive's, which ships no types
def npz_feeds(path: str, **_: Any) -> Feeds:
    """The dataset."""
    return Feeds(path)


@Registry.register_dataloader()  # type: ignore[untyped-decorator]
def as_they_are(dataset: Feeds, **_: Any) -> list[tuple[dict[str, Any], None]]:
    """Batched already: as they come."""
    return [dataset[index] for index in range(len(dataset))]
