"""What the screen is fed with: the seam to the verb that takes samples."""

from collections.abc import Mapping
from typing import Protocol

from infer_opt.readings.samples import Observation


class Source(Protocol):
    """A monitor that is asked for one sample after the other.

    `interval_s` is how often it is asked; the screen sets it when the user presses + or -.
    """

    interval_s: float

    @property
    def title(self) -> str:
        """The machine, in a few words: `epyc, 2 cores, 24 GiB`."""

    @property
    def recording(self) -> str | None:
        """Where samples are kept while the screen runs; None where they are not."""

    @property
    def gpu_names(self) -> Mapping[str, str]:
        """The name of a device by its instance: `{"0": "NVIDIA H100 80GB HBM3"}`; devices may be missing."""

    def next(self) -> Observation | None:
        """Take a sample now; None when it is over (the replay ended, the time is up, the command ended).

        It is called from a thread, one call at a time.
        """

    def stop(self, pid: int) -> str:
        """Send SIGTERM to a process of the table, and say in one sentence what came of it."""
