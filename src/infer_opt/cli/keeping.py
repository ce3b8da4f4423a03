"""What commands do with what they found, after it was shown: a page of it, and a place in the store."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from infer_opt.errors import ConfigError, InferOptError, StorageError

if TYPE_CHECKING:
    from infer_opt.profiles.comparing import ProfileDifference
    from infer_opt.profiles.profile import Profile
    from infer_opt.reports.html.pages import Reported
    from infer_opt.results import Benchmark

store_option = click.option(
    "--store", "store_url", metavar="URL", help="Database for results. [default: SQLite in the user's data directory]"
)
report_option = click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Write a report with charts as one HTML file that needs no network.",
)


def present(
    text: str, found: "Benchmark | Profile", *, url: str | None, started_ms: int, page: Path | None,
    difference: "ProfileDifference | None" = None,
) -> None:  # fmt: skip
    """Print a result as `text`, keep it in the store, and write its page: in this order, so that it is always seen.

    Raises:
        StorageError: the store that was named cannot be used, or the page cannot be written.
    """
    say(text)
    kept_as = keep(found, url=url, started_ms=started_ms)
    say_kept(kept_as)
    write_page(page, found, measured_ms=started_ms, kept_as=kept_as, difference=difference)


def say(text: str, *, err: bool = False) -> None:
    """Print it; a reader who has seen enough (`| head`) costs neither the page nor the place in the store."""
    try:
        click.echo(text, err=err)
    except BrokenPipeError:
        stream = sys.stderr if err else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def require_place(path: Path | None) -> None:
    """Find out before any work that the page could not be written.

    Raises:
        ConfigError: it is a directory.
        StorageError: its folder does not exist or cannot be written.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"{path} is a directory", hint="name a file, such as --report report.html")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise StorageError(f"the folder {folder} does not exist", hint="make it first, or name another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"{folder} cannot be written", hint="name a file elsewhere")


def write_page(
    path: Path | None, found: "Reported", *, measured_ms: int, kept_as: str | None,
    difference: "ProfileDifference | None" = None,
) -> None:  # fmt: skip
    """The page of a result, if one is wanted; says where it is. `difference` is that of a profile from another.

    Raises:
        StorageError: it cannot be written.
    """
    if path is None:
        return
    from infer_opt.cli.writing import write_text
    from infer_opt.reports.html.pages import render

    page = render(found, measured_ms=measured_ms, identity=kept_as, difference=difference)
    write_text(path, page, option="--report")
    say(f"Report: {path}", err=True)


def say_kept(kept_as: str | None) -> None:
    """How to see it again."""
    if kept_as is not None:
        say(f"Kept as {kept_as}: infer-opt report {kept_as} shows it again", err=True)


def keep(found: "Benchmark | Profile", *, url: str | None, started_ms: int) -> str | None:
    """Keep a result in the store, and give back its id.

    Where the usual store cannot be used, the result has been shown all the same: that is said, and is no failure.

    Raises:
        StorageError: the store that was named cannot be used.
    """
    from infer_opt.reporting import remember
    from infer_opt.store.database import Store

    try:
        with Store.open(url) as store:
            return remember(store, found, started_ms=started_ms)
    except InferOptError as error:
        if url is not None:
            raise
        say(f"Not kept: {error.what}", err=True)
        return None
