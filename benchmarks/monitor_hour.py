"""An hour of `infer-opt monitor --record` beside tunings: nothing lost, bounded memory.

    python -m benchmarks.monitor_hour [--minutes 60] [--kept FOLDER]

One monitor at 1 Hz watches a process that tunes shipped models one after another, writes every sample as a JSON line
and keeps the session in a store. Its resident set is read every ten seconds. Afterwards it is counted: samples that
were written against the seconds of the session, gaps between them, what the recording holds, how memory went (the most
of the second half against the end of the first quarter), and how the tunings ended. --kept counts a session that lies
in FOLDER already (hour.jsonl, rss.log, tunes.log, store.db). It measures no times, so it may run beside other work.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from benchmarks import record
from benchmarks.record import Target
from sqlalchemy import create_engine, text

NAME = "monitor_hour"
MODELS = ("digits_cnn", "sequence_lstm", "policy_mlp")
BUDGET = "8m"
EVERY_S = 10.0
LONGEST_GAP_S = 2.0
LIMIT_GROWTH = 0.05  # of the resident set, after the first quarter
COUNTS = "select samples, lost from infer_opt_recording order by number desc limit 1"
SIZE = "select coalesce(sum(length(body)), 0) from infer_opt_recording_chunk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What was counted of a session. Bytes of the monitor's resident set; `cores` is its CPU time over the session."""

    seconds: float
    samples: int
    longest_gap_s: float
    recorded: int
    recorded_lost: int
    recording_bytes: int
    rss_quarter_bytes: int
    rss_second_half_bytes: int
    cores: float
    tunings: int
    failed_tunings: int


def run(folder: Path, minutes: float) -> None:
    """The hour itself; what it leaves in `folder` is counted by `count`."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {"INFER_OPT_STORE": f"sqlite:///{folder}/store.db", "INFER_OPT_CACHE": str(folder / "cache")}
    environment = os.environ | own
    program = [sys.executable, "-m", "infer_opt"]
    watch = [*program, "monitor", "--record", "--format", "jsonl", "--out", str(folder / "hour.jsonl"), "--pid"]
    end = time.monotonic() + 60 * minutes
    with (folder / "rss.log").open("w") as rss, (folder / "tunes.log").open("w") as tunes:
        monitor = subprocess.Popen([*watch, str(os.getpid()), "--for", f"{60 * minutes:.0f}s"], env=environment)
        process = psutil.Process(monitor.pid)
        for model in itertools.cycle(MODELS):
            words = ["tune", str(record.ROOT / "models" / f"{model}.onnx"), "--budget", BUDGET, "--force", "--out"]
            tuning = subprocess.Popen(
                [*program, *words, str(folder / model)], env=environment, stdout=subprocess.DEVNULL
            )
            while tuning.poll() is None and monitor.poll() is None:
                used = process.cpu_times()
                size = process.memory_info().rss // 1024
                print(f"{time.time():.0f} {size} {size}  {100 * used.user:.0f} {100 * used.system:.0f}", file=rss)
                rss.flush()
                time.sleep(EVERY_S)
            if monitor.poll() is not None or time.monotonic() > end:
                tuning.terminate()  # it ends with what it has
                tuning.wait()
                break
            print(f"{time.strftime('%T')} {model} {tuning.returncode}", file=tunes, flush=True)
        monitor.wait()


def count(folder: Path) -> Session:
    """What the session in `folder` came to."""
    clocks = [json.loads(line)["at_s"] for line in (folder / "hour.jsonl").open()]
    rss = [[int(part) for part in line.split()] for line in (folder / "rss.log").open() if line.strip()]
    tunes = [int(line.split()[-1]) for line in (folder / "tunes.log").open()]
    engine = create_engine(f"sqlite:///{folder}/store.db")
    with engine.connect() as connection:
        recorded, lost = connection.execute(text(COUNTS)).one()
        size = connection.execute(text(SIZE)).scalar_one()
    engine.dispose()
    sizes = [1024 * line[2] for line in rss]
    first, last = rss[0], rss[-1]
    ticks = sum(last[3:]) - sum(first[3:])
    return Session(
        seconds=clocks[-1] - clocks[0],
        samples=len(clocks),
        longest_gap_s=max(after - before for before, after in itertools.pairwise(clocks)),
        recorded=recorded,
        recorded_lost=lost,
        recording_bytes=size,
        rss_quarter_bytes=sizes[len(sizes) // 4],
        rss_second_half_bytes=max(sizes[len(sizes) // 2 :]),
        cores=ticks / os.sysconf("SC_CLK_TCK") / (last[0] - first[0]),
        tunings=len(tunes),
        failed_tunings=sum(code != 0 for code in tunes),
    )


def targets(found: Session) -> list[Target]:
    missed = max(0.0, found.seconds + 1 - found.samples)
    growth = found.rss_second_half_bytes / found.rss_quarter_bytes - 1
    return [
        Target(name="samples that were not taken", unit=f"of {found.samples}", measured=missed, at_most=0.5),
        Target(name="longest gap between two samples", unit="s", measured=found.longest_gap_s, at_most=LONGEST_GAP_S),
        Target(
            name="samples that the recording lacks", unit=f"of {found.samples}",
            measured=float(found.samples - found.recorded + found.recorded_lost), at_most=0.0,
        ),
        Target(name="growth of memory after the first quarter", unit="of it", measured=growth, at_most=LIMIT_GROWTH),
        Target(name="tunings beside it that failed", unit="", measured=float(found.failed_tunings), at_most=0.0),
    ]  # fmt: skip


def main(argv: Sequence[str]) -> int:
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--kept", type=Path, metavar="FOLDER", help="count a session that lies there")
    options = parser.parse_args(argv)
    begun = record.begin(NAME, argv)
    folder: Path = options.kept or record.ROOT / "build" / NAME
    if options.kept is None:
        run(folder.resolve(), options.minutes)
    found = count(folder)
    kept = targets(found)
    begun.write(options.result, method=__doc__ or "", targets=kept, results=asdict(found), samples={})
    rows = [[name, value] for name, value in asdict(found).items()]
    return record.report(["of the session", ""], rows, kept, options.result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
