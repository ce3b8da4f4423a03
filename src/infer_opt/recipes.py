"""What is done to a model file before a runtime opens it. All of it is frozen and hashable."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from infer_opt.errors import ConfigError


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


AS_GIVEN = Recipe()  # nothing is done to the model


def quantisation_from(data: Mapping[str, Any]) -> Quantisation:
    """The quantisation that its fields describe, as plain JSON types."""
    calibration, weight_only = data["calibration"], data.get("weight_only")
    changed = {
        "calibration": None if calibration is None else Calibration(calibration),
        "weight_type": WeightType(data["weight_type"]),
        "floats": tuple(data.get("floats", ())),
        "weight_only": None if weight_only is None else WeightOnly(**weight_only),
    }
    return Quantisation(**{**data, **changed})
