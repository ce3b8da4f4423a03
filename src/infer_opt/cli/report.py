"""`infer-opt report`."""

from pathlib import Path

import click

FORMS = ("html", "table", "json", "markdown")


@click.command("report")
@click.argument("name", required=False, metavar="[ID]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the report goes. [default: report-ID.html for HTML, standard output otherwise]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    help="Form of the report. [default: html of a result, a table of the list]",
)
@click.option(
    "--most", type=click.IntRange(min=1), default=20, show_default=True, help="How many results the list has."
)
@click.option(
    "--store", "url", metavar="URL", help="Database of results. [default: SQLite in the user's data directory]"
)
def command(name: str | None, out: Path | None, form: str | None, most: int, url: str | None) -> None:
    """Show again what tune, bench or profile found: as a page with charts, or in any other form.

    ID is what the command named at its end; its beginning is enough, and `last` is the newest. Without it, what is kept
    is listed.
    """
    from infer_opt.cli.keeping import require_place
    from infer_opt.cli.writing import write_text
    from infer_opt.reporting import HTML, listing, recall, render
    from infer_opt.store.database import Store

    require_place(out)
    with Store.open(url) as store:
        if name is None:
            text = listing(store, form or "table", most=most)
        else:
            recalled = recall(store, name)
            text = render(recalled, form or HTML)
            if out is None and (form or HTML) == HTML:
                out = Path(f"report-{recalled.line.id}.html")
    if out is None:
        click.echo(text)
        return
    write_text(out, text if text.endswith("\n") else f"{text}\n", option="--out")
    click.echo(f"Report: {out}", err=True)
