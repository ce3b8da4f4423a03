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

NATIVE = "torch"  # the runtime that runs a PyTorch model as it is, and so is stock there


class Provider(StrEnum):
    """Where a runtime executes a graph."""

    CPU = "cpu"
    CUDA = "cuda"


class Objective(StrEnum):
    """What "faster" means: time per call, or items per second."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """INT8 weights and activations. Without a calibration, activations are quantised on the fly (dynamic).

    `floats` are the names of nodes, of the model as the quantiser is given it, that stay in float.
    """

    calibration: Calibration | None = None
    per_channel: bool = False
    reduce_range: bool = False
    weight_type: WeightType = WeightType.INT8
    floats: tuple[str, ...] = ()

    @property
    def is_static(self) -> bool:
        """Whether activation ranges come from calibration inputs (QDQ) rather than from each call."""
        return self.calibration is not None

    @property
    def label(self) -> str:
        """For people: `int8-static minmax per-channel`."""
        words = [f"int8-static {self.calibration}" if self.is_static else "int8-dynamic"]
        words += ["per-channel"] * self.per_channel + ["7-bit"] * self.reduce_range
        words += ["u8-weights"] * (self.weight_type is WeightType.UINT8)
        words += [f"({len(self.floats)} in float)"] * bool(self.floats)
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is done to a model file before a runtime opens it. The default does nothing.

    The steps are applied in the order of the fields.
    """

    normalise: bool = False
    fixed_shapes: bool = False
    fuse: str | None = None
    quantise: Quantisation | None = None
    fp16: bool = False
    saved_level: GraphLevel | None = None

    def __post_init__(self) -> None:
        if self.fp16 and self.quantise is not None:
            raise ConfigError("a recipe is either fp16 or quantised, not both")

    @property
    def is_stock(self) -> bool:
        """Whether the artefact is the model as given."""
        return self == Recipe()

    @property
    def label(self) -> str:
        """For people: `as given`, `fixed-shapes + int8-dynamic`."""
        words = ["normalised"] * self.normalise + ["fixed-shapes"] * self.fixed_shapes
        words += [f"fused-{self.fuse}"] * (self.fuse is not None)
        words += [self.quantise.label] if self.quantise is not None else []
        words += ["fp16"] * self.fp16
        words += [f"saved-{self.saved_level}"] * (self.saved_level is not None)
        return " + ".join(words) or "as given"


SPIN_LABELS = {Spin.ALWAYS: "spin", Spin.RUNS: "spin in runs only", Spin.NEVER: "no spin"}
COMPILED_LABELS = {
    Compilation.DEFAULT: "compiled",
    Compilation.REDUCE_OVERHEAD: "compiled reduce-overhead",
    Compilation.MAX_AUTOTUNE: "compiled max-autotune",
}


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
    compiled: Compilation | None = None
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
        words += [] if self.compiled is None else [COMPILED_LABELS[self.compiled]]
        words += ["cuda-graph"] * self.cuda_graph
        words += [f"cudnn-{self.cudnn_search}"] * (self.cudnn_search is not None)
        words += {None: [], True: ["tf32"], False: ["no tf32"]}[self.tf32]
        words += {None: [], True: ["nhwc"], False: ["nchw"]}[self.nhwc]
        return ", ".join(words) or "stock settings"


Route = tuple[str, Recipe]  # an engine and what is done to the file before it


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfig:
    """One point of the space: a recipe, opened by a runtime with these options, called with `batch` items."""

    recipe: Recipe = Recipe()
    options: SessionOptions = SessionOptions()
    batch: int = 1
    runtime: str = "onnx"

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"batch must be 1 or more, got {self.batch}")

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
        quantise = data["recipe"]["quantise"]
        if quantise is not None and not quantise["floats"]:
            del quantise["floats"]  # as before there was such a choice: keys stay what they were
        if not data["options"]["bf16"]:
            del data["options"]["bf16"]
        if data["options"]["compiled"] is None:
            del data["options"]["compiled"]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The configuration that `to_dict` described.

        Raises:
            ConfigError: an unknown field or value.
        """
        try:
            recipe, options = dict(data["recipe"]), dict(data["options"])
            if recipe["quantise"] is not None:
                quantise = dict(recipe["quantise"])
                calibration = quantise.pop("calibration")
                recipe["quantise"] = Quantisation(
                    **{
                        **quantise,
                        "weight_type": WeightType(quantise["weight_type"]),
                        "floats": tuple(quantise.get("floats", ())),
                    },
                    calibration=None if calibration is None else Calibration(calibration),
                )
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
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"not a configuration of this release: {error}", hint="it was written by another release of infer-opt"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The shapes a model is called with: a size for each named dynamic dimension besides the batch."""

    dims: tuple[tuple[str, int], ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Dimension name -> size."""
        return dict(self.dims)
