"""The seams: how infer-opt meets the outside world, and where other libraries and methods plug in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.facts import TensorSpec
from infer_opt.results import Placement, Trial, TrialResult

# Arrays are numpy's; the alias keeps numpy out of `infer-opt --help`.
Array = Any
Feeds = Mapping[str, Array]


class Session(Protocol):
    """An artefact, opened. What `run` does here is exactly what a deployed bundle does."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What must be fed, in the model's order."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What comes back, in the model's order."""

    @property
    def placement(self) -> Placement | None:
        """Where the nodes went; None where the runtime keeps no record."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Host arrays in, host arrays out; returns only when every output is ready.

        Raises:
            ModelError: the runtime refused the inputs or failed on them.
        """

    def close(self) -> None:
        """Give back what the session holds. Safe to call twice."""


class Runtime(Protocol):
    """A library that can execute models."""

    @property
    def name(self) -> str:
        """Its key in RUNTIMES."""

    def version(self) -> str:
        """The installed library's version.

        Raises:
            UnavailableError: the library is not installed; the hint names the extra.
        """

    def providers(self) -> frozenset[Provider]:
        """Where this runtime can run on this machine, now."""

    def why_not(self, provider: Provider) -> str | None:
        """One sentence that says why `provider` does not work here; None when it does."""

    def open(self, artefact: Path, options: SessionOptions) -> Session:
        """Load `artefact` as `options` say, or not at all.

        Raises:
            UnavailableError: the provider is missing, or took none of the graph. Never another one instead.
            ModelError: the file is not a model that this runtime can execute.
        """


class Monitor(Protocol):
    """One kind of device, read from outside the worker."""

    @property
    def name(self) -> str:
        """Its key in MONITORS."""

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        """Reading name -> value now, for the device and the given processes. None where it is not available."""

    def close(self) -> None:
        """Give back handles. Safe to call twice."""


class Strategy(Protocol):
    """Which configurations to screen next. The seam for model-guided search.

    It is asked after every trial, with all trials so far, failed ones among them and in the order they were measured:
    a search that was cut off goes on by being asked again with what was kept.
    """

    def next(self, done: Sequence[Trial]) -> tuple[TrialConfig, ...]:
        """What is left of the batch that is under way, or the next batch; empty when the search is over.

        The first of it is measured next.
        """

    def promising(self, done: Sequence[Trial], *, most: int) -> tuple[TrialResult, ...]:
        """Who of `done` should race: those that may be faster than stock, the most promising first."""

    @property
    def chance_left(self) -> float | None:
        """The probability, as the strategy's model sees it, that an unmeasured one is > 1 % faster than the best.

        None where it has no model, or was not asked yet.
        """
