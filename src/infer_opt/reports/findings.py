"""What `doctor` found: the machine, and what would spoil a measurement on it."""

from collections.abc import Sequence

from infer_opt.errors import ConfigError
from infer_opt.facts import MachineFacts
from infer_opt.reports import Format, sentences
from infer_opt.reports.documents import findings_document, to_json
from infer_opt.reports.quantities import memory
from infer_opt.results import Finding, Severity

WIDTH = 120
_MARKS = {Severity.PROBLEM: "PROBLEM", Severity.CAUTION: "caution", Severity.OK: "ok"}


def render(
    findings: Sequence[Finding],
    machine: MachineFacts,
    format: Format | str = Format.TABLE,  # noqa: A002 (the word on the command line)
) -> str:
    """The findings as a table, the worst first, or as JSON, without a line break at the end.

    Raises:
        ConfigError: another format.
    """
    if format == Format.JSON:
        return to_json(findings_document(findings, machine))
    if format != Format.TABLE:
        raise ConfigError(f"findings cannot be written as {format}", hint="--format table or json")
    worst_first = sorted(findings, key=lambda finding: list(_MARKS).index(finding.severity))
    return "\n\n".join(["\n".join(_machine(machine)), "\n".join(_lines(worst_first)), _summary(findings)])


def _machine(machine: MachineFacts) -> list[str]:
    gpus = [
        f"{sentences.one_line(gpu.name)}, {memory(gpu.memory_bytes)}, driver {gpu.driver}, "
        f"compute capability {gpu.compute_capability or 'n/a'}"
        for gpu in machine.gpus
    ]
    lines = {
        "system": machine.system,
        "CPU": sentences.one_line(machine.cpu_model),
        "cores": f"{machine.usable_cores:g} usable, {machine.physical_cores} physical, {machine.logical_cores} logical",
        "kernels": " ".join(machine.isa) or "n/a",
        "memory": memory(machine.memory_bytes),
        "GPU": "; ".join(gpus) or "none found",
        "versions": ", ".join(f"{name} {version}" for name, version in machine.versions) or "n/a",
    }
    return [
        piece
        for name, value in lines.items()
        for piece in sentences.wrapped(f"{name:9} {value}", WIDTH, indent=" " * 10)
    ]


def _lines(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        first = f"{_MARKS[finding.severity]:8} {finding.name}: {sentences.one_line(finding.what)}"
        lines += sentences.wrapped(first, WIDTH, indent=" " * 9)
        if finding.action is not None:
            lines += sentences.wrapped(f"{'':8} -> {sentences.one_line(finding.action)}", WIDTH, indent=" " * 12)
    return lines


def _summary(findings: Sequence[Finding]) -> str:
    problems, cautions = (
        sum(finding.severity is severity for finding in findings) for severity in (Severity.PROBLEM, Severity.CAUTION)
    )
    if not problems and not cautions:
        return "Nothing here would spoil a measurement."
    return f"{_counted(problems, 'problem')}, {_counted(cautions, 'caution')}."


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
