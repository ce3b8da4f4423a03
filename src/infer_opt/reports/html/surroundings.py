"""What every page says of the machine and the model, and the reasons to trust a number less."""

import json
from collections.abc import Sequence

from infer_opt.facts import MachineFacts, ModelFacts
from infer_opt.reports import sentences
from infer_opt.reports.html.layout import Section, pairs
from infer_opt.reports.html.markup import element, joined
from infer_opt.reports.quantities import memory, size
from infer_opt.results import Caution, Note

_OPERATORS = 8


def section(machine: MachineFacts, model: ModelFacts | None) -> Section:
    """The machine, and the model where it is known."""
    if model is None:
        return Section(identity="surroundings", title="Machine", parts=(pairs(_machine(machine)),))
    parts = [element("h3", "Machine"), pairs(_machine(machine)), element("h3", "Model"), pairs(_model(model))]
    return Section(identity="surroundings", title="Machine and model", parts=(joined(parts),))


def cautions(notes: Sequence[Note]) -> Section | None:
    """Why to trust the numbers less; None where there is no reason."""
    found = [note for note in notes if note.caution is not Caution.FALLBACK]
    if not found:
        return None
    lines = [element("li", element("strong", note.caution.value), " ", sentences.one_line(note.text)) for note in found]
    return Section(identity="cautions", title="Cautions", parts=(element("ul", *lines, class_="cautions"),))


def setting(value: object) -> str:
    """A setting as JSON, words without their quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _machine(machine: MachineFacts) -> list[tuple[str, object]]:
    cores = f"{machine.physical_cores} physical, {machine.logical_cores} logical, {machine.usable_cores:g} usable"
    found: list[tuple[str, object]] = [
        ("CPU", sentences.one_line(machine.cpu_model)),
        ("cores", cores),
        ("memory", memory(machine.memory_bytes)),
        ("instruction sets", ", ".join(machine.isa) or "not known"),
        ("system", sentences.one_line(machine.system)),
    ]
    for gpu in machine.gpus:
        found.append((f"GPU {gpu.index}", f"{gpu.name}, {memory(gpu.memory_bytes)}, driver {gpu.driver}"))
    found.append(("versions", ", ".join(f"{name} {version}" for name, version in machine.versions) or "not known"))
    return found


def _model(model: ModelFacts) -> list[tuple[str, object]]:
    operators = sorted(model.operators, key=lambda pair: -pair[1])
    named = ", ".join(f"{count:,} {kind}" for kind, count in operators[:_OPERATORS])
    rest = sum(count for _, count in operators[_OPERATORS:])
    return [
        ("file", element("code", model.path)),
        ("size", f"{size(model.size_bytes)}, of which weights {size(model.weight_bytes)}"),
        ("inputs", "; ".join(map(str, model.inputs)) or "none"),
        ("outputs", "; ".join(map(str, model.outputs)) or "none"),
        ("operators", named + f" and {rest:,} others" * bool(rest) or "not known"),
        ("opset", str(model.opset) if model.opset else "n/a"),
        ("hash", element("code", model.content_hash)),
    ]
