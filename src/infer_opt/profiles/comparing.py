"""Two profiles side by side: which operators account for the difference."""

from dataclasses import dataclass

from infer_opt.results import Estimate, Note


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDifference:
    """What one group of nodes takes a call in either profile, in ns, and the difference (subject - reference).

    `name` is an operator, a module or a node; `subject` or `reference` is None where that side has none of it.
    `difference` has the confidence at which it was judged, which allows for how many groups were looked at: only where
    its interval excludes 0 does the group differ (`is_clear`). `share` is that of the latencies' difference which it
    explains, None where that cannot be told from noise; shares of groups that became slower and faster have unlike
    signs.
    """

    name: str
    subject: Estimate | None
    reference: Estimate | None
    difference: Estimate
    subject_nodes: int
    reference_nodes: int
    share: float | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the difference can be told from noise."""
        return self.difference.low > 0.0 or self.difference.high < 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileDifference:
    """Two profiles by operator, by module and by node, the largest difference first; `total` is that of the latencies a
    call, whose sides are `subject_latency` and `reference_latency`.

    `nodes` are places of the network that both have: nodes of one name and operator, or that do the work of the same
    nodes of the model, fused or not. `outside` is what the nodes do not explain: the
    difference between what the latencies differ by and what all nodes together do. `is_same_machine` is False where the
    two were measured on different machines: times then differ by the machine, too. `paired` says whether both ran in
    turn on one machine in one call. `*_runtime` are the runtimes' versions, `*_machine` the machines in short and
    `*_processes` how many fresh processes stand behind each side. `notes` are reasons to trust it less.
    """

    subject: str
    reference: str
    operators: tuple[OperatorDifference, ...]
    modules: tuple[OperatorDifference, ...]
    total: Estimate
    is_same_machine: bool
    paired: bool
    nodes: tuple[OperatorDifference, ...] = ()
    subject_latency: Estimate | None = None
    reference_latency: Estimate | None = None
    outside: Estimate | None = None
    subject_runtime: str = ""
    reference_runtime: str = ""
    subject_machine: str = ""
    reference_machine: str = ""
    subject_processes: int = 0
    reference_processes: int = 0
    notes: tuple[Note, ...] = ()

    @property
    def is_clear(self) -> bool:
        """Whether the latencies' difference can be told from noise."""
        return self.total.low > 0.0 or self.total.high < 0.0
