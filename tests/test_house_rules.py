"""What no linter knows: help and documentation are whole, imports stay where they belong, names say something."""

import ast
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
import yaml

import infer_opt
from infer_opt import errors
from infer_opt.cli import COMMANDS, cli
from infer_opt.errors import InferOptError
from infer_opt.presets import Preset
from infer_opt.runtimes import RUNTIMES
from infer_opt.workers import process

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "infer_opt"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE = 450
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
HEAVY = ("numpy", "onnx", "onnxruntime", "torch", "scipy", "sqlalchemy", "rich", "textual", "msgspec", "yaml")

# library -> the folders of src/infer_opt that may import it
HOMES = {
    "onnxruntime": ("runtimes", "transforms"),
    "onnxslim": ("transforms",),
    "onnxscript": ("transforms",),
    "onnx_ir": ("transforms",),
    "torch": ("runtimes",),
    "memray": ("surrounding", "workers"),
    "pynvml": ("monitors",),
    "prometheus_client": ("prometheus",),
    "sqlalchemy": ("store",),
    "alembic": ("store",),
    "rich": ("cli", "terminal"),
    "textual": ("terminal",),
    "pyarrow": ("store",),
    "click": ("cli",),
}


def commands() -> list[tuple[str, click.Command]]:
    """Every command by the words that call it, `infer-opt` itself among them."""
    context = click.Context(cli)
    named = ((f"infer-opt {name}", cli.get_command(context, name)) for name in cli.list_commands(context))
    return [("infer-opt", cli), *((words, command) for words, command in named if command is not None)]


def options() -> list[tuple[str, click.Option]]:
    """(command, option) of every option there is."""
    return [
        (words, parameter)
        for words, command in commands()
        for parameter in command.params
        if isinstance(parameter, click.Option)
    ]


def documentation() -> str:
    return "\n".join(path.read_text() for path in DOCUMENTS)


def section(command: str) -> str:
    """What docs/commands.md says of a command, with the options that it shares."""
    text = (ROOT / "docs" / "commands.md").read_text()
    parts: dict[str, str] = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    own = next(part for title, part in parts.items() if title.startswith(f"`{command}"))
    takes_a_model = command not in ("infer-opt doctor", "infer-opt monitor", "infer-opt report")
    return own + (parts["What a model is fed with"] if takes_a_model else "")


# Help and documentation


def test_every_command_says_what_it_does() -> None:
    assert [words for words, command in commands() if not command.help] == []
    assert {f"infer-opt {name}" for name in COMMANDS} == {words for words, _ in commands()[1:]}


def test_every_option_says_what_it_does() -> None:
    assert [(words, option.name) for words, option in options() if not option.help] == []


def test_every_line_of_help_is_a_sentence() -> None:
    texts = [text for _, text in COMMANDS.values()] + [str(option.help) for _, option in options()]

    assert [text for text in texts if not re.search(r"^[A-Z].*[.\]]$", text, re.DOTALL)] == []


@pytest.mark.parametrize("words", [words for words, _ in commands()[1:]])
def test_every_option_of_a_command_is_in_its_documentation_and_no_other(words: str) -> None:
    there = {name for command, option in options() if command == words for name in option.opts}
    documented = set(re.findall(r"^\| `(--[a-z0-9-]+)", section(words), re.MULTILINE))

    assert documented == there


def test_every_exit_code_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}

    assert documented == {0, 130} | {kind.exit_code for kind in error_classes()}


def test_every_key_of_a_preset_is_documented_and_explained_in_the_presets() -> None:
    text = (ROOT / "docs" / "commands.md").read_text().partition("## Presets")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(Preset.__struct_fields__)
    for path in (ROOT / "configs" / "presets").glob("*.yaml"):
        assert msgspec.convert(yaml.safe_load(path.read_text()), Preset)
        assert path.read_text().count("#") >= len(Preset.__struct_fields__) - 1


def test_every_environment_variable_is_documented() -> None:
    read = {name for path in FILES for name in re.findall(r"\bINFER_OPT_[A-Z]+\b", path.read_text())}

    assert {name for name in read - {"INFER_OPT_PADDING"} if name not in documentation()} == set()
    assert {"INFER_OPT_STORE", "INFER_OPT_CACHE"} <= read


def spoken() -> Iterator[tuple[str, list[str]]]:
    """(document, words) of every infer-opt command line in the documents."""
    for path in (*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", ROOT / "Makefile"):
        for line in re.findall(r"infer-opt ((?:[^`\n]|\\\n)*)", path.read_text().replace("\\\n", " ")):
            yield path.name, line.partition("#")[0].split()


def test_every_command_and_option_that_the_documents_speak_of_exists() -> None:
    known: dict[str, set[str]] = {name: set() for name in COMMANDS}
    for words, option in options():
        if words != "infer-opt":
            known[words.removeprefix("infer-opt ")] |= {*option.opts, "--help"}
    lines = [(name, words) for name, words in spoken() if words and words[0] in known]

    assert {words[0] for _, words in lines} == set(known)
    wrong = [
        (name, words[0], word)
        for name, words in lines
        for word in words
        if re.fullmatch(r"--[a-z0-9-]+", word) and word not in known[words[0]]
    ]
    assert wrong == []


def test_the_makefile_has_the_targets_that_the_documents_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        word
        for path in (*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / ".ci" / "run")
        for word in re.findall(r"^(?:    )?make ([a-z-]+)|`make ([a-z-]+)`", path.read_text(), re.MULTILINE)
        for word in word
        if word
    }

    assert {"demo", "test"} <= named
    assert named <= targets


def test_every_test_that_needs_a_gpu_is_run_where_there_is_one() -> None:
    marked = {path for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.gpu\n" in path.read_text()}
    named = re.search(r"^GPU_TESTS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    session = (ROOT / "scripts" / "gpu_session.md").read_text()

    assert named is not None
    assert {ROOT / name for name in named[1].split()} == marked
    assert all(name in session for name in named[1].split())


def test_links_between_the_documents_lead_somewhere() -> None:
    broken = [
        (path.name, target)
        for path in (*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", ROOT / "models" / "README.md")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
        if not (path.parent / target).exists()
    ]

    assert broken == []


# Imports


def test_help_loads_nothing_heavy() -> None:
    script = f"""
import sys
from infer_opt.cli import cli
cli.main(["--help"], standalone_mode=False)
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "Commands:" in done.stdout
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("words", [[], ["--version"], ["tune", "--help"], ["bench", "--help"], ["doctor", "--help"]])
def test_help_of_a_command_loads_no_runtime(words: list[str]) -> None:
    script = f"""
import sys
from infer_opt.cli import main
sys.argv = ["infer-opt", *{words!r}]
try:
    main()
except SystemExit:
    pass
print("LOADED", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "LOADED []" in done.stderr


def test_loading_a_bundle_needs_numpy_and_the_runtime_alone() -> None:
    # The rest of the dependencies cannot be imported, as where they are not installed.
    missing = ("alembic", "click", "msgspec", "onnx", "platformdirs", "psutil", "pynvml", "rich", "scipy", "sqlalchemy",
               "tabulate", "yaml", "sympy", "torch")  # fmt: skip
    script = f"""
import sys
sys.modules.update(dict.fromkeys({missing!r}))
import infer_opt
from infer_opt.errors import ModelError
from infer_opt.runtimes import open_runtime
open_runtime("onnx").version()
try:
    infer_opt.load("nowhere")
except ModelError as error:
    print(error.what)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "nowhere is not a bundle: it has no bundle.json"


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_its_own_folder_alone(library: str) -> None:
    users = {path.relative_to(SOURCE).parts[0] for path in FILES if library in imported(path)}

    assert users == set(HOMES[library])


def test_packages_import_nothing_when_they_are_imported_but_what_is_light() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, infer_opt, infer_opt.runtimes, infer_opt.monitors;"
         "import infer_opt.store, infer_opt.terminal;"
         f"print([name for name in {HEAVY!r} if name in sys.modules])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.strip() == "[]"


# The code


def test_no_exception_is_caught_whatever_it_is_but_where_one_must_not_harm_the_others() -> None:
    """One trial of a tuning, and one request of a batch."""
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            kinds = [] if not isinstance(node, ast.ExceptHandler) else ast.walk(node.type) if node.type else [None]
            if any(kind is None or (isinstance(kind, ast.Name) and kind.id == "Exception") for kind in kinds):
                found.add(path.relative_to(SOURCE).as_posix())

    assert found == {"trials.py", "batching.py"}


def test_what_catches_everything_lets_it_go_on() -> None:
    """`except BaseException` cleans up and raises again; it never swallows a Ctrl-C."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ExceptHandler)
                and node.type is not None
                and "BaseException" in ast.unparse(node.type)
            ):
                last = node.body[-1]
                assert isinstance(last, ast.Raise) and last.exc is None, f"{path.name}:{node.lineno}"


def test_files_stay_readable() -> None:
    lengths = {path.relative_to(SOURCE).as_posix(): len(path.read_text().splitlines()) for path in FILES}

    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_modules_have_names_that_say_something() -> None:
    meaningless = {"utils", "util", "helpers", "helper", "common", "base", "manager", "factory", "misc"}
    names = {part for path in FILES for part in path.relative_to(SOURCE).with_suffix("").parts}

    assert names & meaningless == set()


def test_input_is_not_checked_by_assertions() -> None:
    """Python leaves them out under -O."""
    found = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]

    assert found == []


def error_classes() -> list[type[InferOptError]]:
    found = [
        member
        for module in (errors, process)
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, InferOptError)
    ]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("kind", error_classes())
def test_errors_cross_processes(kind: type[InferOptError]) -> None:
    back = pickle.loads(pickle.dumps(kind("it broke", hint="mend it")))

    assert (type(back), back.what, back.hint) == (kind, "it broke", "mend it")


def test_every_error_class_is_covered_by_the_ones_above() -> None:
    """A subclass of InferOptError anywhere else must be added to `error_classes`."""
    defined = {
        node.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(parent).endswith("Error") for parent in node.bases)
    }

    assert defined <= {kind.__name__ for kind in error_classes()}


def test_runtimes_are_where_the_table_says() -> None:
    for module, name in RUNTIMES.values():
        path = SOURCE / Path(*module.split(".")[1:]).with_suffix(".py")
        assert f"class {name}" in path.read_text()


def test_the_version_is_the_packages() -> None:
    assert f'version = "{infer_opt.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_the_bundles_documentation_names_every_field() -> None:
    text = (ROOT / "docs" / "bundle.md").read_text().partition("## `bundle.json`")[2].partition("\n## ")[0]
    source = (SOURCE / "bundle.py").read_text()
    written = set(
        re.findall(r'^        "(\w+)": ', source.partition("manifest = {")[2].partition("}\n")[0], re.MULTILINE)
    )

    assert written >= {"schema_version", "files", "config", "record"}
    assert {name for name in written if f"`{name}`" not in text} == set()


def test_models_and_their_manifest_go_together() -> None:
    manifest = json.loads((ROOT / "models" / "manifest.json").read_text())

    assert {f"{name}.onnx" for name in manifest} == {path.name for path in (ROOT / "models").glob("*.onnx")}
