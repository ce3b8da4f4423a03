"""What a space of configurations is drawn up from: the model, the machine and what was asked for."""

from dataclasses import dataclass

from infer_opt.config import NATIVE, Objective, Provider, SessionOptions, TrialConfig
from infer_opt.recipes import Buckets, Recipe, Rewriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What decides which configurations make sense.

    `usable_cores` is what quota and affinity leave; `dynamic_operators`, `static_operators` and `weight_operators` are
    those of the model that could be faster with INT8 ranges found on the fly, by calibration, or with fewer bits in
    their weights alone, and `is_convolutional` where convolutions do most of the work; `can_smooth` where activations
    may differ over channels, and inputs say how much; `fusable` the transformer types to try. `rewriters` are
    libraries that rewrite graphs and are installed. `mixed` are recipes between float and INT8 that were found to
    agree with the model, `refuted` those with all of it in INT8 that were found not to; `engines` other runtimes that
    are installed, and run on the CPU; `paddings` the buckets to try, where sizes have a distribution. `suspected` are
    knobs, by the names of their fields, that a profile of stock says are likely to help. `is_native` is a
    PyTorch model: PyTorch runs stock, and `exported` is where ONNX Runtime can run what was exported of it (None:
    wherever the model runs).
    """

    providers: tuple[Provider, ...]
    usable_cores: float
    physical_cores: int
    batches: tuple[int, ...] = (1,)
    objective: Objective = Objective.LATENCY
    has_vnni: bool = False
    has_bf16: bool = False
    has_free_shapes: bool = False
    is_mixture: bool = False
    paddings: tuple[Buckets, ...] = ()
    has_branches: bool = True
    can_calibrate: bool = False
    is_old_graph: bool = False
    dynamic_operators: frozenset[str] = frozenset()
    static_operators: frozenset[str] = frozenset()
    weight_operators: frozenset[str] = frozenset()
    is_convolutional: bool = False
    weight_bytes: int = 0
    can_smooth: bool = False
    fusable: tuple[str, ...] = ()
    rewriters: tuple[Rewriter, ...] = ()
    mixed: tuple[Recipe, ...] = ()
    refuted: tuple[Recipe, ...] = ()
    engines: tuple[str, ...] = ()
    custom_ops: tuple[str, ...] = ()
    suspected: tuple[str, ...] = ()
    is_native: bool = False
    exported: tuple[Provider, ...] | None = None

    def has_onnx(self, provider: Provider) -> bool:
        """Whether ONNX Runtime can run the model there."""
        return self.exported is None or provider in self.exported


def stock(surroundings: Surroundings) -> TrialConfig:
    """The baseline: the model as given, the runtime's stock settings, the first provider and batch."""
    options = SessionOptions(provider=surroundings.providers[0], custom_ops=surroundings.custom_ops)
    runtime = NATIVE if surroundings.is_native else TrialConfig().runtime
    return TrialConfig(options=options, batch=surroundings.batches[0], runtime=runtime)


def thread_counts(surroundings: Surroundings) -> tuple[int, ...]:
    """{1, 2, physical / 2, physical, logical} within the quota; more threads than quota are throttled, not faster."""
    most = max(1, int(surroundings.usable_cores))
    wanted = {1, 2, surroundings.physical_cores // 2, surroundings.physical_cores, most}
    return tuple(sorted(count for count in wanted if 1 <= count <= most))


def concurrencies(surroundings: Surroundings) -> tuple[tuple[int, int], ...]:
    """(instances, threads of each) that share the physical or all hardware threads: 2, 4, 8 ... and one thread each.

    For throughput on the CPU alone: a second session answers nobody sooner. Not of calls of several shapes, which
    several sessions would not share evenly.
    """
    if surroundings.objective is not Objective.THROUGHPUT or Provider.CPU not in surroundings.providers:
        return ()
    if surroundings.is_mixture:
        return ()
    most = max(1, int(surroundings.usable_cores))
    found: dict[tuple[int, int], None] = {}
    for cores in (min(surroundings.physical_cores, most), most):
        doubled = [2**power for power in range(1, cores.bit_length()) if 2**power < cores]
        found |= {(instances, cores // instances): None for instances in (cores, *reversed(doubled)) if instances > 1}
    return tuple(found)
