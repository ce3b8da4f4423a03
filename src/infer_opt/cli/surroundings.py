"""`infer-opt profile --command` and `--function`: the options, and one run of a program."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from infer_opt.errors import ConfigError
from infer_opt.reports import Format

Function = TypeVar("Function", bound=Callable[..., Any])

ENDING = "\nEnding the program; what was seen of it follows. Once more to end at once.\n"
OWN = ("started", "function", "length", "rate", "memory", "flame", "out")  # what a program takes
SHARED = ("form", "force")  # and what it shares with a model


def process_options(function: Function) -> Function:
    """The options that profile a program in the place of a model."""
    options = (
        click.option(
            "--command", "started", metavar="COMMAND",
            help="In place of MODEL: start a command (no shell), sample it and its children, end with its exit code.",
        ),
        click.option(
            "--function", metavar="MODULE:FUNCTION",
            help="In place of MODEL: call a function of yours, package.module:function or file.py:function.",
        ),
        click.option(
            "--for", "length", metavar="TIME",
            help="End a --command after this time, such as 30s; call a --function again and again for as long.",
        ),
        click.option(
            "--rate", type=click.IntRange(1, 1000), default=50, show_default=True,
            help="Samples a second of a --command or --function.",
        ),
        click.option(
            "--memory", is_flag=True, help="Record who allocates the memory of a --command or --function; slows it."
        ),
        click.option(
            "--flame", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.html",
            help="Write a flame graph of a --command or --function.",
        ),
        click.option(
            "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help="Write the report of a --command or --function there; standard output is the program's own.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def is_process(context: click.Context) -> bool:
    """Whether a program is to be profiled, and not a model.

    Raises:
        ConfigError: both or neither are named, or an option that belongs to the other.
    """
    given = [
        parameter
        for parameter in context.command.params
        if parameter.name is not None and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    names = {parameter.name for parameter in given}
    subjects = [word for name, word in (("model", "MODEL"), ("started", "--command"), ("function", "--function"))
                if name in names]  # fmt: skip
    if len(subjects) != 1:
        what = f"{' and '.join(subjects)} are both given" if subjects else "there is nothing to profile"
        raise ConfigError(what, hint="name a MODEL, a --command or a --function, one of them")
    is_program = subjects != ["MODEL"]
    for parameter in given:
        is_of_programs = parameter.name in OWN
        if parameter.name not in (*SHARED, "model") and is_of_programs is not is_program:
            owner = "a --command or --function" if is_of_programs else "a MODEL"
            raise ConfigError(f"{parameter.opts[0]} goes with {owner}, not with {subjects[0]}", hint="leave it out")
    return is_program


def run(values: dict[str, Any]) -> None:
    """Sample the program, report on standard error or in a file, and leave with the program's exit code."""
    from infer_opt.cli.options import interruptible
    from infer_opt.cli.writing import require_room, write_text
    from infer_opt.presets import parse_duration
    from infer_opt.reports.surroundings import render
    from infer_opt.sampling import Sampling, SamplingRequest, exit_code

    flame, out, length = values["flame"], values["out"], values["length"]
    request = SamplingRequest(
        command=values["started"],
        function=values["function"],
        for_s=None if length is None else parse_duration(length),
        rate_hz=values["rate"],
        memory=values["memory"],
    )
    for path, option in ((flame, "--flame"), (out, "--out")):
        if path is not None:
            require_room(path, force=values["force"], option=option)
    sampling = Sampling(request)
    with interruptible(sampling.interrupt, saying=ENDING):
        found = sampling.profile()
    if flame is not None:
        from infer_opt.reports.flame import page

        write_text(flame, page(found), option="--flame")
    width = 120 if out is not None else shutil.get_terminal_size((120, 24)).columns
    text = render(found, Format(values["form"]), width=width)
    if out is not None:
        write_text(out, text + "\n", option="--out")
    else:
        click.echo(("" if values["form"] == Format.JSON else "\n") + text, err=True)
    if flame is not None:
        click.echo(f"Flame graph: {flame}", err=True)
    sys.exit(exit_code(found, request))
