import errno
import json
import os
from pathlib import Path

import pytest

from alerting import event
from infer_opt.alerts.log import AlertLog
from infer_opt.alerts.plan import LogFormat, LogTarget
from infer_opt.errors import StorageError
from infer_opt.readings.findings import AlertState


class Disk:
    """Writes as `os.write` does, until it has no more than `room` bytes left."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room

    def write(self, descriptor: int, content: bytes) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = os.write(descriptor, content[: self.room])
        self.room -= written
        return written


def target(folder: Path, form: LogFormat = LogFormat.LOGFMT) -> LogTarget:
    return LogTarget(path=folder / "alerts.log", format=form)


def test_each_event_is_a_line_and_older_ones_stay(tmp_path: Path) -> None:
    for state in AlertState:
        assert AlertLog(target(tmp_path)).append(event(state=state)) is None

    assert (tmp_path / "alerts.log").read_text().splitlines() == [
        f"at=2023-11-14T22:13:50.500Z state={state} severity=warning rule=gpu-hot reading=gpu[0].temperature_celsius "
        'value=91.5 unit=celsius since=2023-11-14T22:13:20.000Z message="GPU 0 is at 91.5 °C"'
        for state in ("firing", "resolved")
    ]


def test_in_json_each_line_is_an_object(tmp_path: Path) -> None:
    log = AlertLog(target(tmp_path, LogFormat.JSON))
    log.append(event(value=None))
    log.append(event())

    first, second = (json.loads(line) for line in (tmp_path / "alerts.log").read_text().splitlines())
    assert (first["version"], first["value"], second["value"]) == (1, None, 91.5)
    assert second["message"] == "GPU 0 is at 91.5 °C"


def test_whatever_a_name_holds_a_line_stays_a_line(tmp_path: Path) -> None:
    log = AlertLog(target(tmp_path))
    log.append(event("rule=1", key="filesystem[/a\nb].free_bytes", what='it said "no"\n\x1b[31m', value=None))

    (line,) = (tmp_path / "alerts.log").read_text().splitlines()
    assert 'rule="rule=1" reading="filesystem[/a\\nb].free_bytes" unit=' in line
    assert line.endswith('message="it said \\"no\\"\\n\\u001b[31m"')
    assert "value=" not in line


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    log = AlertLog(target(tmp_path))
    log.append(event("first"))
    (tmp_path / "alerts.log").rename(tmp_path / "alerts.log.1")
    log.append(event("second"))

    assert "rule=second" in (tmp_path / "alerts.log").read_text()


def test_a_full_disk_is_told_once_and_so_is_its_end(tmp_path: Path) -> None:
    disk = Disk(room=0)
    log = AlertLog(target(tmp_path), write=disk.write)
    path = tmp_path / "alerts.log"

    said = [log.append(event()) for _ in range(3)]
    disk.room = 1_000_000
    said += [log.append(event()) for _ in range(2)]

    assert said == [
        f"the alert log {path} cannot be written: No space left on device; lines are lost until it can",
        None,
        None,
        f"the alert log {path} can be written again; 3 lines were lost",
        None,
    ]
    assert len(path.read_text().splitlines()) == 2


def test_a_line_that_was_cut_off_does_not_spoil_the_next(tmp_path: Path) -> None:
    disk = Disk(room=20)
    log = AlertLog(target(tmp_path, LogFormat.JSON), write=disk.write)

    first = log.append(event("cut"))
    disk.room = 1_000_000
    log.append(event("whole"))

    assert first is not None
    assert "the disk is full" in first
    cut, whole = (tmp_path / "alerts.log").read_text().splitlines()
    assert len(cut) == 20
    assert json.loads(whole)["rule"] == "whole"


def test_a_log_that_cannot_be_written_is_refused_at_the_beginning(tmp_path: Path) -> None:
    missing = LogTarget(path=tmp_path / "nowhere" / "alerts.log")

    with pytest.raises(StorageError, match=r"alerts\.log cannot be written: No such file or directory"):
        AlertLog(missing)


def test_a_pipe_that_nobody_reads_does_not_hold_up_the_monitor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alerts.log")

    with pytest.raises(StorageError, match="No such device or address"):
        AlertLog(target(tmp_path))
