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


class GraphLevel(StrEnum):
    """How far the runtime's own graph optimiser goes."""

    NONE = "none"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


class Calibration(StrEnum):
    """How static quantisation picks the range of an activation."""

    MINMAX = "minmax"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


class WeightType(StrEnum):
    """The integer type that quantised weights are stored in."""

    INT8 = "int8"
    UINT8 = "uint8"


class Rewriter(StrEnum):
    """A library that rewrites graphs, called as its distribution is."""

    ONNXSLIM = "onnxslim"
    ONNXSCRIPT = "onnxscript"


class Spin(StrEnum):
    """When idle threads of a session wait by spinning: faster to wake, but they burn a core each."""

    ALWAYS = "always"
    RUNS = "runs"
    NEVER = "never"


BLOCK_SIZES = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOnly:
    """Weights of matrix products in `bits` bits, in blocks of `block` that have a scale each; activations in float.

    Without `symmetric`, each block has a zero point too.
    """

    bits: int = 4
    block: int = 32
    symmetric: bool = True

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise ConfigError(f"weights have 4 or 8 bits, got {self.bits}")
        if self.block not in BLOCK_SIZES:
            raise ConfigError(f"blocks have {', '.join(map(str, BLOCK_SIZES))} weights, got {self.block}")

    @property
    def label(self) -> str:
        """For people: `int4-weights block-32`."""
        return f"int{self.bits}-weights block-{self.block}" + " asymmetric" * (not self.symmetric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """INT8 weights and activations. Without a calibration, activations are quantised on the fly (dynamic).

    `floats` are the names of nodes, of the model as the quantiser is given it, that stay in float. `smooth` is how much
    of the spread of activations over channels is moved into the weights first, 0 to 1 (SmoothQuant's alpha). With
    `weight_only`, none of the others applies but `floats`.
    """

    calibration: Calibration | None = None
    per_channel: bool = False
    reduce_range: bool = False
    weight_type: WeightType = WeightType.INT8
    floats: tuple[str, ...] = ()
    smooth: float | None = None
    weight_only: WeightOnly | None = None

    def __post_init__(self) -> None:
        if self.smooth is not None and not 0.0 < self.smooth < 1.0:
            raise ConfigError(f"smooth must lie between 0 and 1, got {self.smooth:g}")
        others = (self.calibration, self.smooth, self.per_channel, self.reduce_range, self.weight_type)
        if self.weight_only is not None and others != (None, None, False, False, WeightType.INT8):
            raise ConfigError("settings of INT8 activations do not apply where weights alone are quantised")

    @property
    def is_static(self) -> bool:
        """Whether activation ranges come from calibration inputs (QDQ) rather than from each call."""
        return self.calibration is not None

    @property
    def kind(self) -> str:
        """`dynamic`, `static` or `weights`."""
        if self.weight_only is not None:
            return "weights"
        return "static" if self.is_static else "dynamic"

    @property
    def needs_inputs(self) -> bool:
        """Whether real inputs decide what becomes of the model."""
        return self.is_static or self.smooth is not None

    @property
    def may_saturate(self) -> bool:
        """Whether integer sums may overflow on a CPU without an 8-bit dot product. Products of 4 bits stay below."""
        return not self.reduce_range and (self.weight_only is None or self.weight_only.bits > 4)

    @property
    def label(self) -> str:
        """For people: `int8-static minmax per-channel`."""
        if self.weight_only is not None:
            words = [self.weight_only.label]
        else:
            words = [f"int8-static {self.calibration}" if self.is_static else "int8-dynamic"]
        words += ["per-channel"] * self.per_channel + ["7-bit"] * self.reduce_range
        words += ["u8-weights"] * (self.weight_type is WeightType.UINT8)
        words += [f"smooth-{self.smooth}"] * (self.smooth is not None)
        words += [f"({len(self.floats)} in float)"] * bool(self.floats)
        return " ".join(words)


Buckets = tuple[tuple[str, tuple[int, ...]], ...]  # dynamic dimension -> the sizes that inputs are filled up to


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is done to a model file before a runtime opens it. The default does nothing.

    The steps are applied in the order of the fields. `buckets` are no step: they leave the file as it is, and fill up
    the inputs of each call.
    """

    normalise: bool = False
    fixed_shapes: bool = False
    rewrite: Rewriter | None = None
    fuse: str | None = None
    quantise: Quantisation | None = None
    fp16: bool = False
    saved_level: GraphLevel | None = None
    buckets: Buckets = ()

    def __post_init__(self) -> None:
        if self.fp16 and self.quantise is not None:
            raise ConfigError("a recipe is either fp16 or quantised, not both")
        for name, sizes in self.buckets:
            if not sizes or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
                raise ConfigError(f"the buckets of {name} must be sizes above 0 that ascend, got {list(sizes)}")

    @property
    def is_stock(self) -> bool:
        """Whether nothing is done to the model."""
        return self == Recipe()

    @property
    def keeps_file(self) -> bool:
        """Whether the artefact is the model as given: of buckets the file knows nothing."""
        return dataclasses.replace(self, buckets=()) == Recipe()

    @property
    def label(self) -> str:
        """For people: `as given`, `fixed-shapes + int8-dynamic`."""
        words = ["normalised"] * self.normalise + ["fixed-shapes"] * self.fixed_shapes
        words += [str(self.rewrite)] * (self.rewrite is not None)
        words += [f"fused-{self.fuse}"] * (self.fuse is not None)
        words += [self.quantise.label] if self.quantise is not None else []
        words += ["fp16"] * self.fp16
        words += [f"saved-{self.saved_level}"] * (self.saved_level is not None)
        words += [f"padded {name} to {'/'.join(map(str, sizes))}" for name, sizes in self.buckets]
        return " + ".join(words) or "as given"


SPIN_LABELS = {Spin.ALWAYS: "spin", Spin.RUNS: "spin in runs only", Spin.NEVER: "no spin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How a runtime opens an artefact. Zero or None leaves the runtime's stock setting."""

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
    cudnn_search: str | None = None
    tf32: bool | None = None
    nhwc: bool | None = None

    def __post_init__(self) -> None:
        for name in ("intra_threads", "inter_threads"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.provider is not Provider.CUDA and (
            self.cuda_graph or self.cudnn_search is not None or self.tf32 is not None or self.nhwc is not None
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
        words += ["cuda-graph"] * self.cuda_graph
        words += [f"cudnn-{self.cudnn_search}"] * (self.cudnn_search is not None)
        words += {None: [], True: ["tf32"], False: ["no tf32"]}[self.tf32]
        words += {None: [], True: ["nhwc"], False: ["nchw"]}[self.nhwc]
        return ", ".join(words) or "stock settings"


Route = tuple[str, Recipe]  # an engine and what is done to the file before it


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfig:
    """One point of the space: a recipe, opened by a runtime with these options, called with `batch` items.

    `instances` are that many such sessions in one process, called at the same time, each with threads of its own.
    """

    recipe: Recipe = Recipe()
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

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; `from_dict` gives the same configuration back."""
        data = dataclasses.asdict(self)
        recipe, options = data["recipe"], data["options"]
        for fields, names in (
            (recipe, ("rewrite", "buckets")),
            (recipe["quantise"] or {}, ("floats", "smooth", "weight_only")),
            (options, ("bf16",)),
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
            recipe["quantise"] = None if recipe["quantise"] is None else _quantisation(recipe["quantise"])
            recipe["rewrite"] = None if recipe.get("rewrite") is None else Rewriter(recipe["rewrite"])
            recipe["buckets"] = tuple((name, tuple(sizes)) for name, sizes in recipe.get("buckets", ()))
            for fields, name in ((recipe, "saved_level"), (options, "graph_level")):
                fields[name] = None if fields[name] is None else GraphLevel(fields[name])
            options["provider"] = Provider(options["provider"])
            options["spin"] = None if options["spin"] is None else Spin(options["spin"])
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


def _quantisation(data: Mapping[str, Any]) -> Quantisation:
    calibration, weight_only = data["calibration"], data.get("weight_only")
    changed = {
        "calibration": None if calibration is None else Calibration(calibration),
        "weight_type": WeightType(data["weight_type"]),
        "floats": tuple(data.get("floats", ())),
        "weight_only": None if weight_only is None else WeightOnly(**weight_only),
    }
    return Quantisation(**{**data, **changed})


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
