"""`infer-opt tune`."""

from pathlib import Path

import click

from infer_opt.cli.keeping import report_option, store_option
from infer_opt.cli.options import (
    choice,
    interruptible,
    parse_batches,
    parse_dims,
    parse_latency,
    parse_providers,
    parse_size,
    workload_options,
)
from infer_opt.config import Objective, Provider, Searching
from infer_opt.reports import Format


@click.command("tune")
@click.argument("model", type=click.Path(path_type=Path))
@workload_options
@click.option("--max-p99", metavar="TIME", help="Largest p99 latency allowed, such as 20ms; a bare number is in ms.")
@click.option("--max-memory", metavar="SIZE", help="Largest peak memory allowed, such as 512M.")
@click.option(
    "--min-parity",
    type=click.FloatRange(0, 1),
    help="Smallest agreement with stock's outputs (cosine). [default: 0.99, or none with --eval]",
)
@click.option(
    "--eval",
    "evaluation",
    metavar="MODULE:FUNCTION",
    help="Task metric: called with run(feeds), higher is better. It is your code, run as it is.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=0.01,
    show_default=True,
    help="Largest drop of the metric allowed.",
)
@click.option(
    "--provider",
    default="auto",
    show_default=True,
    metavar="auto|cpu,cuda",
    help="Where to run; auto is everything that works here.",
)
@click.option("--fallback", type=choice(Provider), help="Measure this instead of a named provider that does not work.")
@click.option(
    "--budget", metavar="TIME", help="Wall time of the whole call, such as 90s or 5m. [default: the preset's]"
)
@click.option(
    "--preset", default="default", show_default=True, metavar="quick|default|thorough|FILE", help="How much to try."
)
@click.option(
    "--search",
    type=choice(Searching),
    help="How the space is searched. [default: the preset's]",
)
@click.option("--ignore-earlier", is_flag=True, help="Let no earlier tuning of this model guide the search.")
@click.option("--out", type=click.Path(path_type=Path), help="Directory of the bundle. [default: MODEL-tuned]")
@click.option("--force", is_flag=True, help="Replace a bundle that is there already.")
@click.option("--resume", is_flag=True, help="Go on with the same tuning where it was cut off.")
@store_option
@click.option(
    "--format", "form", type=choice(Format), default=Format.TABLE.value, show_default=True, help="Form of the report."
)
@report_option
@click.option(
    "--keep-default",
    is_flag=True,
    help="Put the model as given into the bundle too, so that its claim can be measured anywhere.",
)
def command(
    model: Path,
    inputs: Path | None,
    dims: tuple[str, ...],
    batch: str,
    objective: str,
    seed: int,
    custom_ops: tuple[str, ...],
    max_p99: str | None,
    max_memory: str | None,
    min_parity: float | None,
    evaluation: str | None,
    max_drop: float,
    provider: str,
    fallback: str | None,
    budget: str | None,
    preset: str,
    search: str | None,
    ignore_earlier: bool,
    out: Path | None,
    force: bool,
    resume: bool,
    store_url: str | None,
    form: str,
    report: Path | None,
    keep_default: bool,
) -> None:
    """Find the fastest configuration of MODEL that is proven faster than stock and agrees with it.

    MODEL is an ONNX file; or a PyTorch model: a program that torch.export.save wrote (.pt2), or a function of yours,
    package.module:function or file.py:function, that returns a module and example inputs. The function is called: its
    code, and that of its file, is run as it is. A pickle (.pt, .pth) is never loaded.

    The answer is a bundle: a directory that infer_opt.load opens exactly as it was measured. Where nothing is proven
    faster, the bundle holds the stock configuration, and the report says why.
    """
    import time as clock

    from infer_opt.budget import Budget
    from infer_opt.cli.keeping import require_place, say, say_kept, write_page
    from infer_opt.cli.progress import shown
    from infer_opt.facts import model_name
    from infer_opt.presets import load_preset, parse_duration
    from infer_opt.reports.tuning import render
    from infer_opt.request import Request
    from infer_opt.rig import Limits
    from infer_opt.tuning import Errand, tune

    require_place(report)
    started_ms = clock.time_ns() // 1_000_000
    chosen = load_preset(preset)
    time = Budget(total_s=parse_duration(budget or chosen.budget))
    sizes, distributions = parse_dims(dims)
    request = Request(
        model=model,
        inputs=inputs,
        dims=sizes,
        distributions=distributions,
        batches=parse_batches(batch),
        objective=Objective(objective),
        limits=Limits(
            min_parity=min_parity,
            max_p99_ns=None if max_p99 is None else parse_latency(max_p99),
            max_memory_bytes=None if max_memory is None else parse_size(max_memory),
            evaluation=evaluation,
            max_drop=max_drop,
        ),
        providers=parse_providers(provider),
        fallback=None if fallback is None else Provider(fallback),
        custom_ops=custom_ops,
        seed=seed,
    )
    errand = Errand(
        request=request,
        preset=chosen,
        out=out or Path(f"{model_name(str(model))}-tuned"),
        force=force,
        resume=resume,
        keep_default=keep_default,
        store_url=store_url,
        search=search,
        ignore_earlier=ignore_earlier,
    )
    with interruptible(time.interrupt), shown(time) as show:
        tuning = tune(errand, budget=time, show=show)
    say(render(tuning, form))
    say_kept(tuning.kept_as)
    write_page(report, tuning, measured_ms=started_ms, kept_as=tuning.kept_as)
