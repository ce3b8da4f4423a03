"""`infer-opt doctor`."""

import click

from infer_opt.reports import Format


@click.command("doctor")
@click.option(
    "--format",
    "form",
    type=click.Choice([Format.TABLE.value, Format.JSON.value]),
    default=Format.TABLE.value,
    show_default=True,
    help="Form of the report.",
)
def command(form: str) -> None:
    """Say what this machine is and what would spoil a measurement, each with what to do about it."""
    from infer_opt.diagnosing import diagnose
    from infer_opt.machine.describe import describe
    from infer_opt.monitors.nvml import gpus
    from infer_opt.reports.findings import render
    from infer_opt.request import versions

    findings = diagnose()
    click.echo(render(findings, describe(gpus=gpus(), versions=versions()), form))
