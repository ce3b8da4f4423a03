"""The command line. This file is the error boundary: the one place where an error becomes a message and an exit code.

Commands are loaded when they are called, so that `infer-opt --help` imports click and nothing else.
"""

import importlib
import sys

import click

from infer_opt import __version__
from infer_opt.errors import InferOptError

# name -> (module, one line for `--help`). The module has a click command called `command`.
COMMANDS = {
    "tune": ("infer_opt.cli.tune", "Find the fastest configuration of a model that is proven and agrees with it."),
    "bench": ("infer_opt.cli.bench", "Measure a model or bundle, alone or paired against another."),
    "profile": ("infer_opt.cli.profile", "Say where a model's time and memory go: by operator, by module, by node."),
    "report": ("infer_opt.cli.report", "Show again what an earlier command found, as a page with charts."),
    "monitor": (
        "infer_opt.cli.monitor",
        "Watch CPU, memory, disks, network, GPUs and processes, with alerts and anomalies.",
    ),
    "doctor": ("infer_opt.cli.doctor", "Say what this machine is and what would spoil a measurement."),
}
INTERRUPTED = 130


class Commands(click.Group):
    """The commands of COMMANDS, each imported on first use."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Their names, in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of that name, or None."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name][0]).command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="infer-opt", help="Print the version and leave.")
def cli() -> None:
    """Finds the fastest way to run a neural network on this machine, proves it, and hands back something to deploy."""


def main() -> None:
    """Run a command and leave with its exit code: 0, or that of the error's class (see infer_opt.errors)."""
    try:
        cli.main(standalone_mode=False)
    except InferOptError as error:
        _say(error.what, error.hint)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        place = "infer-opt" if context is None else context.command_path
        _say(error.format_message().rstrip("."), f"{place} --help says what it takes")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted", "finished trials are kept; add --resume to go on")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`).
        sys.stderr.close()
        sys.exit(1)


def _say(what: str, hint: str | None) -> None:
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {what}", err=True)
    if hint is not None:
        click.echo(f"{click.style('Hint:', fg='yellow', bold=True)}  {hint}", err=True)
