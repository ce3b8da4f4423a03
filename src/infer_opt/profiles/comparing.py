"""Two profiles side by side: which operators account for the difference."""

from dataclasses import dataclass

from infer_opt.results import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDifference:
    """What one group of nodes takes a call in either profile, in ns, and the difference (subject - reference).

    `name` is an operator, a module or a node; None where one side has none of it.
    """

    name: str
    subject: Estimate | None
    reference: Estimate | None
    difference: Estimate
    subject_nodes: int
    reference_nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDifference:
    """Two profiles by operator, the largest difference first; `total` is that of the latencies a call.

    `is_same_machine` is False where the two were measured on different machines: times then differ by the machine, too.
    `paired` says whether both ran in turn on one machine in one call.
    """

    subject: str
    reference: str
    operators: tuple[OperatorDifference, ...]
    modules: tuple[OperatorDifference, ...]
    total: Estimate
    is_same_machine: bool
    paired: bool
