"""`infer-opt profile`."""

import shutil
from pathlib import Path

import click

from infer_opt.cli.keeping import report_option, store_option
from infer_opt.cli.options import (
    choice,
    feeding_options,
    interruptible,
    parse_batches,
    parse_dims,
    parse_providers,
    provider_option,
)
from infer_opt.cli.surroundings import is_process, process_options, run
from infer_opt.errors import ConfigError
from infer_opt.reports import By, Format


@click.command("profile")
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL|BUNDLE", required=False)
@feeding_options
@provider_option
@click.option(
    "--budget", default="60s", show_default=True, metavar="TIME", help="Wall time of the whole call, such as 30s or 5m."
)
@click.option(
    "--by",
    type=choice(By),
    default=By.OPERATOR.value,
    show_default=True,
    help="What the table adds nodes up by; block: what several nodes of the model were fused into.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL|BUNDLE|PROFILE.json",
    help="Compare with another model, measured in turn, or with a profile that --format json wrote.",
)
@click.option(
    "--runtime-env",
    type=click.Path(path_type=Path),
    metavar="ENVIRONMENT",
    help="Compare with the ONNX Runtime of another Python environment: MODEL, or that of --against, is run there.",
)
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="How many lines the table has.")
@click.option(
    "--format",
    "form",
    type=click.Choice([Format.TABLE.value, Format.JSON.value, Format.MARKDOWN.value]),
    default=Format.TABLE.value,
    show_default=True,
    help="Form of the report; JSON has every node.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write one call as a trace that chrome://tracing and Perfetto open.",
)
@click.option("--force", is_flag=True, help="Replace the files of --trace, --flame and --out where they exist.")
@report_option
@store_option
@process_options
@click.pass_context
def command(
    context: click.Context, /, model: Path, inputs: Path | None, dims: tuple[str, ...], batch: str, seed: int,
    custom_ops: tuple[str, ...], provider: str, budget: str, by: str, top: int, form: str, trace: Path | None,
    force: bool, report: Path | None, store_url: str | None, against: Path | None, runtime_env: Path | None,
    **process: object,
) -> None:  # fmt: skip
    """Say where a model's time and memory go: by operator, by module of the network, or node by node.

    A model is opened with stock settings, a bundle as it is deployed. Times are those of fresh processes, in which
    calls with the runtime's profiler alternate with calls without it.

    With --command or --function, say where the time and memory of the program around a model go: by what they are
    spent on and by function, and what is spent waiting for Python's lock.
    """
    if is_process(context):
        run({**process, "form": form, "force": force})
        return
    import time as clock

    from infer_opt.budget import Budget
    from infer_opt.cli.keeping import present, require_place
    from infer_opt.cli.progress import shown
    from infer_opt.cli.writing import require_room, write_text
    from infer_opt.comparing import profile_against
    from infer_opt.presets import parse_duration
    from infer_opt.profiling import profile
    from infer_opt.reports.differences import render as render_difference
    from infer_opt.reports.profile import render, trace_document
    from infer_opt.request import Request

    require_place(report)
    started_ms = clock.time_ns() // 1_000_000
    time = Budget(total_s=parse_duration(budget))
    sizes, distributions = parse_dims(dims)
    request = Request(
        model=model,
        inputs=inputs,
        dims=sizes,
        distributions=distributions,
        batches=parse_batches(batch),
        providers=parse_providers(provider),
        custom_ops=custom_ops,
        seed=seed,
    )
    compares = against is not None or runtime_env is not None
    if compares and by == By.BLOCK:
        raise ConfigError("profiles are not compared by block", hint="--by operator, module or node")
    if trace is not None:
        require_room(trace, force=force, option="--trace")
    width = shutil.get_terminal_size((120, 24)).columns
    difference = None
    with interruptible(time.interrupt), shown(time) as show:
        if compares:
            found, _, difference = profile_against(
                request, against=against, runtime_env=runtime_env, budget=time, show=show
            )
        else:
            found = profile(request, budget=time, show=show)
    if trace is not None:
        write_text(trace, trace_document(found), option="--trace")
    if difference is not None:
        text = render_difference(difference, form, by=By(by), top=top, width=width)
    else:
        text = render(found, form, by=By(by), top=top, width=width)
    present(text, found, url=store_url, started_ms=started_ms, page=report, difference=difference)
