"""Everything that can be varied: what is done to a model, and how a runtime opens it.

All of it is frozen and hashable. `TrialConfig.key` names a configuration across processes and sessions.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from infer_opt.errors import ConfigError
from infer_opt.recipes import AS_GIVEN, Buckets, GraphLevel, Recipe, Rewriter, quantisation_from

NATIVE = "torch"  # the runtime that runs a PyTorch model as it is, and so is stock there


class Provider(StrEnum):
    """Where a runtime executes a graph."""

    CPU = "cpu"
    CUDA = "cuda"


class Objective(StrEnum):
    """What is to be made as little as can be: time a call, time an item, or what a process shows as a whole.

    A cold start is opening the session and its first run; memory is the process's peak (on CUDA the device's);
    energy is joules an item.
    """

    LATENCY = "latency"
    THROUGHPUT = "throughput"
    COLD_START = "cold-start"
    MEMORY = "memory"
    ENERGY = "energy"

    @property
    def better(self) -> str:
        """What a configuration is that beats another: `faster`, as in `faster than stock`."""
        return BETTER[self]

    @property
    def gain(self) -> str:
        """What a ratio of stock's value to a configuration's is: `faster than stock`."""
        return "the throughput of stock" if self is Objective.THROUGHPUT else f"{self.better} than stock"

    @property
    def is_of_a_process(self) -> bool:
        """Whether a process shows it once, so that rounds of it tell nothing more."""
        return self in (Objective.COLD_START, Objective.MEMORY, Objective.ENERGY)


BETTER = {
    Objective.LATENCY: "faster",
    Objective.THROUGHPUT: "faster",
    Objective.COLD_START: "faster to start",
    Objective.MEMORY: "smaller in memory",
    Objective.ENERGY: "thriftier",
}


class Searching(StrEnum):
    """Which strategy chooses what to screen next: a Gaussian process, Optuna's TPE, in order of promise, or any."""

    GP = "gp"
    TPE = "tpe"
    EXHAUSTIVE = "exhaustive"
    RANDOM = "random"


class Spin(StrEnum):
    """When idle threads of a session wait by spinning: faster to wake, but they burn a core each."""

    ALWAYS = "always"
    RUNS = "runs"
    NEVER = "never"


class Compilation(StrEnum):
    """How hard `torch.compile` tries; by PyTorch's names."""

    DEFAULT = "default"
    REDUCE_OVERHEAD = "reduce-overhead"
    MAX_AUTOTUNE = "max-autotune"


SPIN_LABELS = {Spin.ALWAYS: "spin", Spin.RUNS: "spin in runs only", Spin.NEVER: "no spin"}
COMPILED_LABELS = {
    Compilation.DEFAULT: "compiled",
    Compilation.REDUCE_OVERHEAD: "compiled reduce-overhead",
    Compilation.MAX_AUTOTUNE: "compiled max-autotune",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a runtime opens an artefact. Zero or None leaves the runtime's stock setting.

    On CUDA, `arena_bytes` is what the session's arena may take of the device's memory at the most, and an
    `exact_arena` grows by what is asked for, where it doubles otherwise.
    """

    provider: Provider = Provider.CPU
    intra_threads: int = 0
    inter_threads: int = 0
    spin: Spin | None = None
    parallel: bool = False
    memory_pattern: bool = True
    arena: bool = True
    io_binding: bool = False
    graph_level: GraphLevel | None = None
    flush_denormals: bool = False
    custom_ops: tuple[str, ...] = ()
    cuda_graph: bool = False
    bf16: bool = False
    compiled: Compilation | None = None
    cudnn_search: str | None = None
    tf32: bool | None = None
    nhwc: bool | None = None
    arena_bytes: int = 0
    exact_arena: bool = False

    def __post_init__(self) -> None:
        for name in ("intra_threads", "inter_threads", "arena_bytes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        on_cuda = (self.cuda_graph, self.arena_bytes, self.exact_arena)
        if self.provider is not Provider.CUDA and (
            any(on_cuda) or any(value is not None for value in (self.cudnn_search, self.tf32, self.nhwc))
        ):
            raise ConfigError(f"CUDA settings do not apply to the provider {self.provider}")

    @property
    def label(self) -> str:
        """For people: only what differs from stock, such as `1 thread, no spin`."""
        words = [str(self.provider)] * (self.provider is not Provider.CPU)
        if self.intra_threads:
            words.append(f"{self.intra_threads} thread{'s' * (self.intra_threads > 1)}")
        words += [f"{self.inter_threads} inter-op"] * bool(self.inter_threads)
        words += [] if self.spin is None else [SPIN_LABELS[self.spin]]
        words += ["parallel"] * self.parallel
        words += ["no memory pattern"] * (not self.memory_pattern) + ["no arena"] * (not self.arena)
        words += ["io-binding"] * self.io_binding
        words += [f"graph-{self.graph_level}"] * (self.graph_level is not None)
        words += ["flush denormals"] * self.flush_denormals
        words += ["bf16"] * self.bf16
        words += [] if self.compiled is None else [COMPILED_LABELS[self.compiled]]
        words += ["cuda-graph"] * self.cuda_graph
        words += [f"cudnn-{self.cudnn_search}"] * (self.cudnn_search is not None)
        words += {None: [], True: ["tf32"], False: ["no tf32"]}[self.tf32]
        words += {None: [], True: ["nhwc"], False: ["nchw"]}[self.nhwc]
        words += [f"arena of {self.arena_bytes / 1e6:g} MB"] * bool(self.arena_bytes)
        words += ["exact arena"] * self.exact_arena
        return ", ".join(words) or "stock settings"


Route = tuple[str, Recipe]  # an engine and what is done to the file before it


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfig:
    """One point of the space: a recipe, opened by a runtime with these options, called with `batch` items.

    `instances` are that many such sessions in one process, called at the same time, each with threads of its own.
    """

    recipe: Recipe = AS_GIVEN
    options: SessionOptions = SessionOptions()
    batch: int = 1
    runtime: str = "onnx"
    instances: int = 1

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"batch must be 1 or more, got {self.batch}")
        if self.instances < 1:
            raise ConfigError(f"instances must be 1 or more, got {self.instances}")
        if self.instances > 1 and not self.options.intra_threads:
            raise ConfigError(f"{self.instances} instances need to be told how many threads each of them has")

    @property
    def route(self) -> Route:
        """What decides whether it can be built, opened and be right at all: the runtime and the recipe."""
        return self.runtime, self.recipe

    @property
    def key(self) -> str:
        """16 hex digits, equal for equal configurations in every process and release."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """For people: recipe, then options, then batch when it is not 1."""
        parts = [part for part in (self.recipe.label, self.options.label) if part not in ("as given", "stock settings")]
        parts += [f"{self.instances} instances"] * (self.instances > 1)
        parts += [f"batch {self.batch}"] * (self.batch > 1)
        parts += [self.runtime] * (self.runtime != "onnx")
        return " · ".join(parts) or "stock"

    def label_beside(self, stock: "TrialConfig") -> str:
        """`label` where `stock` is the baseline: beside PyTorch, what ONNX Runtime runs is called by its name too."""
        if self == stock:
            return "stock"
        if stock.runtime == TrialConfig().runtime or self.runtime != TrialConfig().runtime:
            return self.label
        return " · ".join([self.label] * (self.label != "stock") + [self.runtime])

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; `from_dict` gives the same configuration back."""
        data = dataclasses.asdict(self)
        recipe, options = data["recipe"], data["options"]
        for fields, names in (
            (recipe, ("rewrite", "buckets")),
            (recipe["quantise"] or {}, ("floats", "smooth", "weight_only")),
            (options, ("bf16", "compiled", "arena_bytes", "exact_arena")),
        ):
            for name in names:
                if not fields.get(name, True):
                    del fields[name]  # as before there was such a choice: keys stay what they were
        if data["instances"] == 1:
            del data["instances"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_dict` described.

        Raises:
            ConfigError: an unknown field or value.
        """
        try:
            recipe, options = dict(data["recipe"]), dict(data["options"])
            recipe["quantise"] = None if recipe["quantise"] is None else quantisation_from(recipe["quantise"])
            recipe["rewrite"] = None if recipe.get("rewrite") is None else Rewriter(recipe["rewrite"])
            recipe["buckets"] = tuple((name, tuple(sizes)) for name, sizes in recipe.get("buckets", ()))
            for fields, name in ((recipe, "saved_level"), (options, "graph_level")):
                fields[name] = None if fields[name] is None else GraphLevel(fields[name])
            options["provider"] = Provider(options["provider"])
            options["spin"] = None if options["spin"] is None else Spin(options["spin"])
            compiled = options.get("compiled")
            options["compiled"] = None if compiled is None else Compilation(compiled)
            options["custom_ops"] = tuple(options["custom_ops"])
            return cls(
                recipe=Recipe(**recipe),
                options=SessionOptions(**options),
                batch=data["batch"],
                runtime=data["runtime"],
                instances=data.get("instances", 1),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"not a configuration of this release: {error}", hint="it was written by another release of infer-opt"
            ) from error


Distribution = tuple[tuple[int, float], ...]  # size of a dimension -> share of the calls; the shares add up to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One of several shapes that a model is called with: the sizes that tell it from the others, and its share."""

    dims: tuple[tuple[str, int], ...]
    weight: float

    @property
    def label(self) -> str:
        """For people: `seq=16`."""
        return ", ".join(f"{name}={size}" for name, size in self.dims)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The shapes a model is called with: a size for each named dynamic dimension besides the batch.

    With `distributions` it is called with several `shapes`, every combination of their sizes; `dims` are the sizes that
    all of them have in common then.
    """

    dims: tuple[tuple[str, int], ...] = ()
    distributions: tuple[tuple[str, Distribution], ...] = ()
    shapes: tuple[Shape, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Dimension name -> size, of those with one size."""
        return dict(self.dims)

    @property
    def weights(self) -> tuple[float, ...]:
        """The shapes' shares of the calls; none where there is but one shape."""
        return tuple(shape.weight for shape in self.shapes)

    def filled_up(self, buckets: Buckets) -> Self:
        """With one size for each dimension that has one bucket."""
        sizes = tuple((name, found[0]) for name, found in buckets if len(found) == 1)
        return dataclasses.replace(self, dims=self.dims + sizes)
