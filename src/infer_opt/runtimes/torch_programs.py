"""Exported PyTorch programs: read safely, described as tensors by name, and called without ceremony."""

import contextlib
import re
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from infer_opt.errors import ModelError, UnavailableError
from infer_opt.facts import Dim, TensorSpec
from infer_opt.runtimes.pt2 import check_archive, dimension_names, refuse_pickle, without_examples

EXTRA = "pip install 'infer-opt[torch]'"
# What PyTorch raises about a program or an input. It has no common base for them.
FAULTS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip

SYMBOL = re.compile(r"\b[su]\d+\b")  # what PyTorch calls a free dimension
_OPERATOR = re.compile(r"torch\.ops\.\w+\.\w+\.\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A `torch.export.ExportedProgram` and what it takes and gives.

    `arguments` are all placeholders in order: the name of an input, or None with the constant that it was exported
    with. `kept` are the positions of tensors among what it returns.
    """

    exported: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    arguments: tuple[tuple[str | None, object], ...]
    kept: tuple[int, ...]


def library() -> ModuleType:
    """PyTorch.

    Raises:
        UnavailableError: it is not installed, or does not load.
    """
    try:
        return import_module("torch")
    except (ImportError, OSError) as error:
        raise UnavailableError(f"PyTorch is not installed or does not load ({error})", hint=EXTRA) from error


def load_program(path: Path) -> Program:
    """The program in a `.pt2` archive. Nothing in it is unpickled, and nothing in it can run code while it is read.

    Raises:
        ModelError: it is no such archive, or PyTorch cannot read it; or what it does cannot be called again and again.
    """
    refuse_pickle(path)
    with _safe(path) as safe, safe.open("rb") as file:
        try:
            exported = import_module("torch.export").load(file)
        except FAULTS as error:
            raise ModelError(
                f"PyTorch {library().__version__} cannot read {path}: {one_line(error)}",
                hint="export it again with this version",
            ) from error
    return describe(exported, str(path), dimension_names(path))


@contextlib.contextmanager
def _safe(path: Path) -> Iterator[Path]:
    """`path`, or a copy without its example inputs: `torch.export.load` would unpickle those."""
    if not check_archive(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.pt2"
        without_examples(path, copy)
        yield copy


def describe(exported: Any, name: str, dims: Mapping[str, str] | None = None) -> Program:
    """`exported` with the names, types and shapes of what it takes and gives. `name` is for messages.

    `dims` are what the user calls free dimensions, by PyTorch's names for them.

    Raises:
        ModelError: it changes its own state at each call, or takes or gives what is no tensor of numpy's.
    """
    signature = exported.graph_signature
    changed = _changed(exported)
    if changed is not None:
        raise ModelError(
            f"{name} changes {changed} at every call: answers would depend on the calls before",
            hint="call module.eval() before it is exported, and return state instead of keeping it",
        )
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    arguments = tuple(_argument(spec.arg, name) for spec in signature.input_specs if spec.kind.name == "USER_INPUT")

    def spec(node: str, called: str) -> TensorSpec:
        return _spec(values[node], called, dims or {}, name)

    inputs = tuple(spec(called, called) for called, _ in arguments if called is not None)
    if not inputs:
        raise ModelError(f"{name} takes no tensor: it computes the same outputs every time")
    given = [spec.arg for spec in signature.output_specs if spec.kind.name == "USER_OUTPUT"]
    kept = tuple(index for index, one in enumerate(given) if type(one).__name__ == "TensorArgument")
    names = _output_names(exported.call_spec.out_spec, taken=[spec.name for spec in inputs])
    outputs = tuple(spec(given[index].name, names[index]) for index in kept)
    return Program(exported=exported, inputs=inputs, outputs=outputs, arguments=arguments, kept=kept)


def _changed(exported: Any) -> str | None:
    """A weight, buffer or input that the program writes into, directly or through a view of it; None without any."""
    signature = exported.graph_signature
    for name in (*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()):
        return str(name)
    given = {spec.arg.name: spec.target or spec.arg.name for spec in signature.input_specs if hasattr(spec.arg, "name")}
    roots: dict[Any, str] = {node: given[node.name] for node in exported.graph.nodes if node.name in given}
    for node in exported.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for index, argument in enumerate(schema.arguments if schema is not None else ()):
            value = node.args[index] if index < len(node.args) else node.kwargs.get(argument.name)
            held = [one for one in (value if isinstance(value, list | tuple) else [value]) if _is_in(one, roots)]
            if argument.alias_info is not None and held:
                if argument.alias_info.is_write:
                    return roots[held[0]]
                roots[node] = roots[held[0]]
    return None


def _is_in(value: object, roots: Mapping[Any, str]) -> bool:
    return isinstance(value, Hashable) and value in roots


def _argument(argument: Any, name: str) -> tuple[str | None, object]:
    kind = type(argument).__name__
    if kind == "TensorArgument":
        return str(argument.name), None
    if kind == "ConstantArgument":
        return None, argument.value
    raise ModelError(
        f"{name} takes {argument.name}, which is no tensor", hint="export it with that fixed, or make it a tensor"
    )


def _spec(value: Any, name: str, dims: Mapping[str, str], program: str) -> TensorSpec:
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in ("bool", "complex64", "complex128") and not re.fullmatch(r"u?int\d+|float(16|32|64)", dtype):
        raise ModelError(f"{program} has {name} in {dtype}, which numpy does not know", hint="cast it in the module")
    shape: tuple[Dim, ...] = tuple(size if isinstance(size, int) else renamed(str(size), dims) for size in value.shape)
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """`text` with the user's names for free dimensions."""
    return SYMBOL.sub(lambda found: names.get(found[0], found[0]), text)


def _output_names(structure: Any, *, taken: Sequence[str]) -> list[str]:
    """A name for each leaf: the keys on the way to it, or `output` with its numbers where there are none."""
    trees = import_module("torch.utils._pytree")
    leaves, _ = trees.tree_flatten_with_path(trees.tree_unflatten(list(range(structure.num_leaves)), structure))
    names: list[str] = []
    for path, _ in leaves:
        words = [str(getattr(step, "key", getattr(step, "idx", getattr(step, "name", step)))) for step in path]
        if not words or words[0].isdecimal():
            words.insert(0, "output")
        name = re.sub(r"\W", "_", "_".join(words))
        while name in taken or name in names:  # as in ONNX, where a name stands for one tensor
            name += "_out"
        names.append(name)
    return names


def rename_outputs(program: Program) -> None:
    """Make the program return its tensors as one mapping by name, whatever type of its own it returned them in."""
    trees = import_module("torch.utils._pytree")
    leaves = program.exported.call_spec.out_spec.num_leaves
    names = {index: spec.name for index, spec in zip(program.kept, program.outputs, strict=True)}
    whole = {names.get(index, f"nothing_{index}"): 0 for index in range(leaves)}
    program.exported.module_call_graph[0].signature.out_spec = trees.tree_structure(whole)


def callable_of(program: Program) -> Any:
    """A module that takes all arguments in order and returns all results in order, unchecked.

    The module that a program gives by itself checks and nests its inputs anew in each call, which takes ten times what
    a small network does.
    """
    module = program.exported.module(check_guards=False)
    # They check how inputs are nested, which they no longer are.
    module._forward_pre_hooks.clear()
    module._forward_pre_hooks_with_kwargs.clear()
    module.graph.set_codegen(import_module("torch.fx.graph").CodeGen())
    module.recompile()
    return module


def eager(module: Any) -> Callable[..., Any]:
    """`module.forward` with its operators looked up once and not in each call, as code written by hand does."""
    code = module.graph.python_code("self")
    names: dict[str, Any] = dict(code.globals)
    ours: dict[str, str] = {}

    def hoisted(found: "re.Match[str]") -> str:
        return ours.setdefault(found[0], f"_operator_{len(ours)}")

    source = _OPERATOR.sub(hoisted, code.src)
    for path, name in ours.items():
        operator: Any = library()
        for step in path.split(".")[1:]:
            operator = getattr(operator, step)
        names[name] = getattr(operator, "_op", operator)  # what calling an overload calls
    exec(compile(source, "exported program", "exec"), names)  # noqa: S102  (as torch.fx itself does with this text)
    return names["forward"].__get__(module)  # type: ignore[no-any-return]


def one_line(error: BaseException) -> str:
    """What an error says, in one line and no more than that: PyTorch's go on for pages."""
    return " ".join(str(error).split())[:300] or type(error).__name__
