"""What a `.pt2` archive holds, looked at before PyTorch reads it. Standard library only.

`torch.export.load` takes more than tensors from an archive: pickles (example inputs, odd weights, objects), compiled
libraries, text that sympy evaluates, and any name below `torch` as a function to call. Each of them can run code that
the archive brings along, so an archive is read only where it holds none of it.
"""

import ast
import json
import re
import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infer_opt.errors import ModelError

EXAMPLES = "data/sample_inputs/"
NAMES = "infer_opt_dims.json"  # among the extra files of archives that we wrote
PICKLED_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})
HOW_TO_EXPORT = (
    "export it where it was made, torch.export.save(torch.export.export(module.eval(), inputs), 'model.pt2'), or name "
    "a function of yours that returns module and example inputs: package.module:function"
)

# What reading bytes that are no archive, or JSON that is no program, ends in.
FAULTS = (
    OSError, zipfile.BadZipFile, ValueError, RecursionError, NotImplementedError, AttributeError, TypeError, KeyError,
)  # fmt: skip

_END = struct.Struct("<4s4H2LH")  # the end of a zip's directory; its comment must be empty, so that it is the only one
_MARKS = re.compile(r"archive_(format|version)|byteorder|\.?format_version|\.data/\w+|extra/.*")
_PARTS = re.compile(
    r"models/\w+\.json|data/(weights|constants)/(\w+_config\.json|weight_\d+|tensor_\d+)|data/sample_inputs/\w+\.pt"
)
_NATIVE = re.compile(r"data/aotinductor/")
# Operators of PyTorch itself and of torchvision. `from_file` maps, and makes, any file.
_CALLED = re.compile(
    r"torch\.ops\.(aten|prims|quantized|quantized_decomposed|torchvision)\.(?!from_file\b|_)\w+\.[a-zA-Z]\w*"
    r"|torch\.ops\.aten\._[a-z]\w*\.[a-zA-Z]\w*"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|associative_scan|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|_operator\.(eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|mod|pow|truediv|and_|or_|lshift|rshift|getitem)"
    r"|math\.(trunc|ceil|floor)|torch\.sym_(not|int|float|ite|max|min|sqrt|sum)"
)
# What sizes may be computed with: PyTorch's own functions for sympy, and sympy's.
_OF_SIZES = re.compile(
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural"
    r"|FloatPow|FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt|RoundToInt"
    r"|RoundDecimal|ToFloat|Identity|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Abs|floor|ceiling|Integer|Rational|Float|Pow"
    r"|Add|Mul|Symbol|Equality|Unequality|StrictLessThan|LessThan|StrictGreaterThan|GreaterThan"
)
_ALLOWED = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.Tuple,
    ast.Load, ast.keyword, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


def refuse_pickle(path: Path) -> None:
    """Say why a checkpoint is not opened, by its name: whatever is in it, nothing of it is read.

    Raises:
        ModelError: it is one.
    """
    if path.suffix.lower() in PICKLED_SUFFIXES:
        raise ModelError(
            f"{path} is a checkpoint or pickle, and a pickle is never loaded: it can run any code", hint=HOW_TO_EXPORT
        )


def check_archive(path: Path) -> bool:
    """Whether `path`, which holds one exported program and nothing that runs code, has example inputs beside it.

    Raises:
        ModelError: it is no such archive, or one that holds more; the sentence says what.
    """
    if not path.is_file():
        raise ModelError(f"there is no model at {path}", hint="check the path")
    try:
        with zipfile.ZipFile(path) as archive:
            _check_end(path)
            return _check_parts(path, archive)
    except FAULTS as error:
        raise ModelError(f"{path} is not an exported PyTorch program: {error}", hint=HOW_TO_EXPORT) from error


def without_examples(path: Path, target: Path) -> None:
    """Copy a checked archive to `target`, with nothing where its example inputs, a pickle, were."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copy:
        for entry in archive.infolist():
            if _part(entry.filename).startswith(EXAMPLES):
                copy.writestr(entry.filename, b"")
                continue
            with archive.open(entry) as source, copy.open(entry.filename, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink)


def example_bytes(path: Path) -> bytes:
    """The example inputs as they lie in a checked archive; empty where there are none."""
    with zipfile.ZipFile(path) as archive:
        return next((archive.read(name) for name in archive.namelist() if _part(name).startswith(EXAMPLES)), b"")


def dimension_names(path: Path) -> dict[str, str]:
    """What the user calls free dimensions, by PyTorch's names for them, as a checked archive of ours says."""
    with zipfile.ZipFile(path) as archive:
        found = next((archive.read(name) for name in archive.namelist() if _part(name) == f"extra/{NAMES}"), b"{}")
    names = json.loads(found)
    return {str(symbol): str(name) for symbol, name in names.items()} if isinstance(names, dict) else {}


def _part(name: str) -> str:
    """A name in the archive without the folder that all of them lie in."""
    return name.partition("/")[2]


def _check_end(path: Path) -> None:
    """Two readers may disagree about a zip with several directories; this one has one, at its very end."""
    with path.open("rb") as file:
        file.seek(-_END.size, 2)
        mark, *_, comment_bytes = _END.unpack(file.read(_END.size))
    if mark != b"PK\x05\x06" or comment_bytes:
        raise ValueError("something lies behind the end of the archive")


def _check_parts(path: Path, archive: zipfile.ZipFile) -> bool:
    names = archive.namelist()
    parts = [_part(name) for name in names]
    if "data.pkl" in parts or "data.pkl" in names:
        raise _refusal(path, "it is a checkpoint or TorchScript, which is a pickle")
    if len(set(names)) < len(names) or len({name.partition("/")[0] for name in names}) != 1:
        raise ValueError("its parts do not have one name each, in one folder")
    if not any(part.startswith("models/") for part in parts):
        raise ValueError("it holds no models/*.json, as torch.export.save of this decade writes it")
    for name, part in zip(names, parts, strict=True):
        if _NATIVE.match(part):
            raise _refusal(path, "it holds a compiled library, which is code")
        if not _MARKS.fullmatch(part) and not _PARTS.fullmatch(part):
            raise _refusal(path, f"it holds {part}, which may be a pickle")
        if part.startswith("models/"):
            _check_program(path, json.loads(archive.read(name)))
        elif part.endswith("_config.json"):
            _check_payload(path, json.loads(archive.read(name)))
    if sum(part.startswith("models/") for part in parts) > 1:
        raise ModelError(f"{path} holds several programs", hint="save the one to be tuned into a file of its own")
    return any(archive.getinfo(name).file_size for name in names if _part(name).startswith(EXAMPLES))


def _check_payload(path: Path, config: dict[str, Any]) -> None:
    """Tensors as bytes, and nothing else: what `torch.export.load` would unpickle is marked, or named as an object."""
    for name, entry in config.get("config", {}).items():
        if entry.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))):
            raise _refusal(path, f"its {name} is stored as a pickle")


def _check_program(path: Path, program: object) -> None:
    for key, value in _texts(program):
        if key in ("target", "as_operator") and not _CALLED.fullmatch(value):
            raise _refusal(path, f"it calls {value[:80]!r}, which is no operator of PyTorch's own")
        if key == "expr_str" and not _is_arithmetic(value):
            raise _refusal(path, f"it computes a size with {value[:80]!r}")
        # PyTorch writes a function out of these names, and compiles it.
        if key.endswith("name") and not re.fullmatch(r"[\w.-]*" if "_name" in key else r"\w*", value):
            raise _refusal(path, f"{value[:80]!r} is no name")
        if key in ("in_spec", "out_spec"):
            _check_structure(path, json.loads(value))


def _check_structure(path: Path, node: object) -> None:
    """How inputs and outputs are nested: JSON with JSON in its texts, of types and names that are words."""
    for text in [text for _, text in _texts(node)] + list(_keys(node)):
        if text[:1] in ("[", "{", '"'):
            _check_structure(path, json.loads(text))
        elif not re.fullmatch(r"[\w.-]*", text) or text in ("default_factory_module", "__enum__"):
            raise _refusal(path, f"its inputs or outputs are of a type, {text[:80]!r}, that is looked up by name")


def _keys(node: object) -> Iterator[str]:
    for name, value in node.items() if isinstance(node, dict) else ():
        yield name
        yield from _keys(value)
    for value in node if isinstance(node, list) else ():
        yield from _keys(value)


def _texts(node: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a tree of JSON, with the key that it stands under."""
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _texts(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value, key)


def _is_arithmetic(text: str) -> bool:
    """Whether `text` is sums and comparisons of names and numbers, and calls no function but those of sizes."""
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        return False
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return (
        all(isinstance(node, _ALLOWED) for node in ast.walk(tree))
        and all(isinstance(called, ast.Name) and _OF_SIZES.fullmatch(called.id) for called in calls)
        and all(_is_harmless(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant))
    )


def _is_harmless(value: object) -> bool:
    """sympy evaluates texts again wherever it finds them: the names of symbols and the digits of numbers may be."""
    return isinstance(value, int | float) or (isinstance(value, str) and bool(re.fullmatch(r"\w+|\d+\.\d+", value)))


def _refusal(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is not loaded: {why}, and what can run code of its own never is", hint=HOW_TO_EXPORT)
