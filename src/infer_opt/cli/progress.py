"""Progress for people at a terminal: one line, rewritten, with the time that is left. Silent elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from infer_opt.budget import Budget
from infer_opt.results import Progress

TITLES = {
    "inspect": "Inspecting",
    "stock": "Measuring stock",
    "precision": "Trying layers",
    "screen": "Screening",
    "race": "Racing",
    "confirm": "Confirming",
    "look": "Looking at nodes",
    "ceilings": "Machine ceilings",
    "profile": "Timing nodes",
    "bundle": "Writing the bundle",
}


@contextmanager
def shown(budget: Budget) -> Iterator[Callable[[Progress], None]]:
    """A function that shows progress on standard error, when that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda progress: None
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.fields[stage]:<16}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[clock]}"),
        TextColumn("[dim]{task.fields[detail]}"),
    )
    # Refreshed by events alone: a thread that redraws would wake a core while a worker is being timed.
    with Bar(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", stage="", clock="", detail="", total=budget.total_s)

        def show(progress: Progress) -> None:
            count = f" {progress.done + 1}/{progress.total}" if progress.total else ""
            stage = TITLES.get(progress.stage, progress.stage) + count
            clock = f"{budget.elapsed_s:.0f} s, at most {max(0.0, budget.total_s - budget.elapsed_s):.0f} s left"
            bar.update(task, completed=budget.elapsed_s, stage=stage, clock=clock, detail=progress.detail, refresh=True)

        yield show
