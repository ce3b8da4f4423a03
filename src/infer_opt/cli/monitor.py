"""`infer-opt monitor`."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from infer_opt.cli.writing import require_free
from infer_opt.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from infer_opt.monitoring import MonitorRequest
    from infer_opt.readings.samples import Observation
    from infer_opt.reports.monitor import Session

SCREEN, LINES, JSONL, CSV, NONE = "screen", "lines", "jsonl", "csv", "none"
ENDING = "\nEnding with a summary; once more to end at once.\n"


@click.command("monitor")
@click.option("--interval", default="1s", show_default=True, metavar="TIME", help="Between two samples: 0.05s to 1h.")
@click.option("--for", "length", metavar="TIME", help="End after this time, such as 60s or 2h.")
@click.option(
    "--pid", "pids", type=int, multiple=True, metavar="PID", help="Watch a process and its children; repeatable."
)
@click.option(
    "--command", "started", metavar="COMMAND",
    help="Start a command (no shell), watch it and its children, end with its exit code and a summary.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice([SCREEN, LINES, JSONL, CSV, NONE]),
    help="What is shown: by default the screen in a terminal, lines elsewhere, nothing beside a --command.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write lines, jsonl or csv there."
)
@click.option(
    "--alerts", "rules", type=click.Path(path_type=Path), metavar="FILE", help="Rules in YAML; see configs/alerts.yaml."
)
@click.option("--prometheus", type=click.IntRange(0, 65535), metavar="PORT", help="Serve the readings; 0 picks a port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address that --prometheus listens on.")
@click.option("--record", is_flag=True, help="Keep the session in the store, to be replayed and exported.")
@click.option("--recordings", "listed", is_flag=True, help="List the recorded sessions and leave.")
@click.option("--replay", metavar="ID", help="Show a recorded session instead of this machine.")
@click.option(
    "--speed", default=10.0, show_default=True, help="How much faster than it was a replay runs on the screen."
)
@click.option(
    "--export", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="With --replay: write the session to FILE.parquet, .csv or .csv.gz and leave.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE of --export, --out and --picture where it exists.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg",
    help="Draw the session at its end.",
)
@click.option(
    "--store", metavar="URL", help="The database of recordings; SQLite in the user's data directory unless given."
)
def command(
    interval: str, length: str | None, pids: tuple[int, ...], started: str | None, form: str | None, out: Path | None,
    rules: Path | None, prometheus: int | None, host: str, record: bool, listed: bool, replay: str | None, speed: float,
    export: Path | None, force: bool, picture: Path | None, store: str | None,
) -> None:  # fmt: skip
    """Watch this machine: CPU, memory, disks, network, GPUs and chosen processes, with alerts, anomalies and trends.

    In a terminal it is a screen (? lists the keys); elsewhere lines, one a sample. Ctrl-C ends it with a summary.
    """
    from infer_opt.monitoring import MonitorRequest
    from infer_opt.presets import parse_duration

    _refuse_contradictions(replay=replay, export=export, listed=listed, started=started, pids=pids, record=record)
    for target in (out, picture, export):
        require_free(target, force=force)
    if listed:
        click.echo(_listing(store))
        return
    chosen = form or _usual(started, out)
    if replay is not None:
        _replay(replay, url=store, form=chosen, out=out, export=export, force=force, speed=speed, picture=picture)
        return
    request = MonitorRequest(
        interval_s=parse_duration(interval),
        for_s=None if length is None else parse_duration(length),
        pids=pids,
        command=started,
        everything=chosen == SCREEN,
        rules=rules,
        record=record,
        store=store,
        prometheus=prometheus,
        host=host,
    )
    sys.exit(_watch(request, form=chosen, out=out, picture=picture))


def _watch(request: "MonitorRequest", *, form: str, out: Path | None, picture: Path | None) -> int:
    """A session on this machine; the exit code to leave with."""
    from infer_opt.cli.options import interruptible
    from infer_opt.monitoring import Monitoring

    with Monitoring(request) as monitoring, interruptible(monitoring.interrupt, saying=ENDING):
        if monitoring.url is not None:
            click.echo(f"Serving {monitoring.url}", err=True)
        if form == SCREEN:
            from infer_opt.terminal.app import show

            show(monitoring)
        else:
            with _target(out) as file:
                _write(monitoring.observations(), form=form, file=file)
        session = monitoring.finish()
    _sum_up(session, form=form, picture=picture)
    if monitoring.ending is not None:
        click.echo(f"{monitoring.ending.what}", err=True)
    return monitoring.exit_code(session)


def _write(observations: Iterable["Observation"], *, form: str, file: TextIO) -> None:
    from infer_opt.reports.samples import Csv, JsonLines, Lines

    writer = {LINES: Lines, JSONL: JsonLines, CSV: Csv}.get(form)
    shaped = writer() if writer is not None else None
    for observation in observations:
        if shaped is not None:
            file.writelines(f"{text}\n" for text in shaped.texts(observation))
            file.flush()


def _sum_up(session: "Session", *, form: str, picture: Path | None) -> None:
    """The summary, on standard error where standard output belongs to a program's data or to the watched command."""
    from infer_opt.reports.monitor import short, shown, summary

    click.echo(("" if form == SCREEN else "\n") + summary(session), err=form in (JSONL, CSV, NONE))
    if picture is not None:
        from infer_opt.reports.courses import picture as drawn

        title = short(session.command or "infer-opt monitor")
        _store(picture, drawn(shown(session.courses), title=title))
        click.echo(f"Picture: {picture}", err=True)


def _usual(started: str | None, out: Path | None) -> str:
    if out is not None:
        return LINES
    if started is not None:
        return NONE
    return SCREEN if sys.stdout.isatty() and sys.stdin.isatty() else LINES


@contextmanager
def _target(out: Path | None) -> Iterator[TextIO]:
    """Where lines go. A disk that fills up ends the session with one sentence; what is written stays."""
    if out is None:
        yield sys.stdout
        return
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror}", hint="name another --out") from error


def _store(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}", hint="name another --picture") from error


def _refuse_contradictions(
    *, replay: str | None, export: Path | None, listed: bool, started: str | None, pids: tuple[int, ...], record: bool
) -> None:
    if export is not None and replay is None:
        raise ConfigError("--export says where a recording goes, and none is named", hint="add --replay ID")
    if replay is not None and (listed or started is not None or pids or record):
        raise ConfigError(
            "--replay shows what was: it goes with no --pid, --command, --record or --recordings",
            hint="leave those out",
        )


def _listing(url: str | None) -> str:
    from infer_opt.replaying import listing
    from infer_opt.store.database import Store
    from infer_opt.store.recordings import recordings

    with Store.open(url) as store:
        return listing(recordings(store))


def _replay(
    name: str, *, url: str | None, form: str, out: Path | None, export: Path | None, force: bool, speed: float,
    picture: Path | None,
) -> None:  # fmt: skip
    """A recorded session, as if it were now; or a file of it."""
    from infer_opt.replaying import Replay
    from infer_opt.store.database import Store
    from infer_opt.store.recordings import recording

    with Store.open(url) as store:
        found = recording(store, name)
        if export is not None:
            from infer_opt.store.exporting import export as write

            for path in write(found, export, force=force):
                click.echo(f"Written: {path}", err=True)
            return
        replay = Replay(found, speed=speed)
        if form == SCREEN:
            from infer_opt.terminal.app import show

            show(replay)
        else:
            with _target(out) as file:
                _write(replay.observations(), form=form, file=file)
        _sum_up(replay.session(), form=form, picture=picture)
