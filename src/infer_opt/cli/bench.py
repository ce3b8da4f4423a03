"""`infer-opt bench`."""

from pathlib import Path

import click

from infer_opt.cli.keeping import report_option, store_option
from infer_opt.cli.options import (
    interruptible,
    parse_batches,
    parse_dims,
    parse_providers,
    provider_option,
    workload_options,
)
from infer_opt.config import Objective
from infer_opt.reports import Format


@click.command("bench")
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL|BUNDLE")
@workload_options
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="MODEL|BUNDLE",
    help="What to compare with, in fresh paired processes.",
)
@provider_option
@click.option(
    "--budget", default="2m", show_default=True, metavar="TIME", help="Wall time of the whole call, such as 90s or 5m."
)
@click.option(
    "--format",
    "form",
    type=click.Choice([Format.TABLE.value, Format.JSON.value, Format.MARKDOWN.value]),
    default=Format.TABLE.value,
    show_default=True,
    help="Form of the report.",
)
@report_option
@store_option
def command(
    model: Path, inputs: Path | None, dims: tuple[str, ...], batch: str, objective: str, seed: int,
    custom_ops: tuple[str, ...], against: Path | None, provider: str, budget: str, form: str,
    report: Path | None, store_url: str | None,
) -> None:  # fmt: skip
    """Measure a model with stock settings, or a bundle as it is deployed.

    With --against, both run in fresh paired processes and the verdict is faster, slower, equivalent, inconclusive or
    too-noisy. A bundle alone is compared with its own stock model, and the report says whether its claim holds.
    """
    import time as clock

    from infer_opt.benchmarking import bench
    from infer_opt.budget import Budget
    from infer_opt.cli.keeping import present, require_place
    from infer_opt.cli.progress import shown
    from infer_opt.presets import parse_duration
    from infer_opt.reports.benchmark import render
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
        objective=Objective(objective),
        providers=parse_providers(provider),
        custom_ops=custom_ops,
        seed=seed,
    )
    with interruptible(time.interrupt), shown(time) as show:
        result = bench(request, against, budget=time, show=show)
    present(render(result, form), result, url=store_url, started_ms=started_ms, page=report)
