"""`infer-opt monitor` as a user calls it."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from infer_opt.readings.catalogue import quantity_of

INFER_OPT = (sys.executable, "-m", "infer_opt")


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def monitor(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*INFER_OPT, "monitor", "--interval", "0.1s", *words], capture_output=True, text=True, check=False, timeout=60
    )


def test_lines_come_where_there_is_no_terminal() -> None:
    found = monitor("--for", "0.5s")

    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    heading = next(line for line in lines if line.startswith("time"))
    assert "cpu" in heading
    assert "mem used" in heading
    assert sum(bool(re.match(r"\d\d:\d\d:\d\d ", line)) for line in lines) >= 3
    assert "samples in" in found.stdout


def test_every_json_line_is_whole_and_every_reading_is_in_the_catalogue() -> None:
    found = monitor("--for", "0.5s", "--format", "jsonl", "--pid", str(os.getpid()))

    assert found.returncode == 0, found.stderr
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(rows) >= 3
    for row in rows:
        for key in row["values"]:
            quantity_of(key)
    assert rows[-1]["values"]["process.rss_bytes"] > 1e6
    assert os.getpid() in {process["pid"] for process in rows[-1]["processes"]}


def test_csv_goes_to_a_file_and_none_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "load.csv"

    found = monitor("--for", "0.4s", "--format", "csv", "--out", str(target))
    again = monitor("--for", "0.4s", "--format", "csv", "--out", str(target))

    assert found.returncode == 0, found.stderr
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert float(rows[0]["memory.total_bytes"]) > 1e8
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_a_command_keeps_its_output_and_its_exit_code() -> None:
    program = "import time; print('hello'); time.sleep(0.5); raise SystemExit(7)"

    found = monitor("--command", f'{sys.executable} -c "{program}"')

    assert found.returncode == 7
    assert found.stdout == "hello\n"
    assert "ended with exit code 7" in found.stderr
    assert "process.rss_bytes" in found.stderr


def test_a_picture_is_drawn_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "load.svg"

    found = monitor("--for", "0.4s", "--picture", str(target))

    assert found.returncode == 0, found.stderr
    assert target.read_text().startswith("<svg")
    assert "cpu.busy" in target.read_text()


def test_ctrl_c_ends_with_the_summary() -> None:
    process = subprocess.Popen(
        [*INFER_OPT, "monitor", "--interval", "0.1s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert "samples in" in out


def test_prometheus_reads_what_it_serves() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    process = subprocess.Popen(
        [*INFER_OPT, "monitor", "--interval", "0.1s", "--format", "none", "--prometheus", "0"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]
        names: set[str] = set()
        end = time.monotonic() + 20
        while "infer_opt_memory_available_bytes" not in names and time.monotonic() < end:
            with urllib.request.urlopen(url, timeout=10) as answer:
                names = {family.name for family in text_string_to_metric_families(answer.read().decode())}
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)

    assert "infer_opt_memory_available_bytes" in names


def test_a_session_is_recorded_listed_replayed_and_exported(tmp_path: Path, store: str) -> None:
    made = monitor("--for", "0.6s", "--record", "--store", store)
    assert made.returncode == 0, made.stderr
    name = re.search(r"Recorded as (\w+)", made.stdout)
    assert name is not None

    listed = monitor("--recordings", "--store", store)
    shown = monitor("--replay", name[1], "--format", "jsonl", "--store", store)
    target = tmp_path / "load.csv"
    exported = monitor("--replay", name[1], "--export", str(target), "--store", store)

    assert name[1] in listed.stdout
    assert len(shown.stdout.splitlines()) >= 3
    assert "cpu.busy" in json.loads(shown.stdout.splitlines()[-1])["values"]
    assert exported.returncode == 0, exported.stderr
    assert len(target.read_text().splitlines()) == len(shown.stdout.splitlines()) + 1


def test_an_alert_that_is_told_to_ends_the_session_with_its_exit_code(tmp_path: Path) -> None:
    rules = tmp_path / "alerts.yaml"
    rules.write_text(
        "rules:\n  - name: always\n    reading: memory.total_bytes\n    above: 1MB\n    actions: [screen, exit]\n"
    )

    found = monitor("--for", "20s", "--alerts", str(rules))

    assert found.returncode == 8
    assert "always" in found.stdout


def test_a_bad_rule_names_its_line(tmp_path: Path) -> None:
    rules = tmp_path / "alerts.yaml"
    rules.write_text("rules:\n  - name: hot\n    reading: gpu.temprature_celsius\n    above: 85C\n")

    found = monitor("--for", "1s", "--alerts", str(rules))

    assert found.returncode == 2
    assert "line 3" in found.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--pid", "1", "--command", "ls"), "contradict"),
        (("--export", "x.csv"), "none is named"),
        (("--replay", "abc", "--record"), "goes with no"),
        (("--interval", "0.001s"), "interval"),
        (("--pid", "999999999"), "no process 999999999"),
    ],
)
def test_what_contradicts_itself_is_one_sentence(words: tuple[str, ...], says: str) -> None:
    found = subprocess.run(
        [*INFER_OPT, "monitor", "--for", "1s", *words], capture_output=True, text=True, check=False, timeout=60
    )

    assert found.returncode == 2, found.stderr
    assert says in found.stderr
    assert "Traceback" not in found.stderr
