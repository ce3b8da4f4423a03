"""Observations of a monitor as they come: plain lines for people, JSON lines and CSV for programs."""

import csv
import io
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from infer_opt.readings.findings import AlertEvent, AlertState, Finding
from infer_opt.readings.samples import Observation, Sample
from infer_opt.readings.texts import text_of_key

HEADING_EVERY = 24  # lines: as many as a small terminal shows

# title -> reading. What this machine never has is left out.
_COLUMNS = {
    "cpu": "cpu.busy",
    "steal": "cpu.steal",
    "load": "cpu.load_1m",
    "throttled": "cgroup.throttled",
    "mem used": "memory.used_bytes",
    "mem free": "memory.available_bytes",
    "swap": "memory.swap_used_bytes",
    "read": "disk.read_bytes_per_second",
    "written": "disk.written_bytes_per_second",
    "received": "network.received_bytes_per_second",
    "sent": "network.sent_bytes_per_second",
}
_OF_PROCESSES = {"processes": "process.count", "their cores": "process.cpu_cores", "their rss": "process.rss_bytes"}
_OF_GPU = {
    "gpu{0}": "gpu[{0}].utilisation",
    "gpu{0} mem": "gpu[{0}].memory_used_bytes",
    "gpu{0} power": "gpu[{0}].power_watts",
    "gpu{0} temp": "gpu[{0}].temperature_celsius",
}
_WIDEST_VALUE = 9  # "1.25 GB/s"


class Writer(Protocol):
    """Turns observations into text, one after another."""

    def texts(self, observation: Observation) -> Iterator[str]:
        """Whole lines, without their ends, to write for this observation."""


@dataclass(slots=True)
class Lines:
    """A line for each sample, and one for each finding, alert and notice: for terminals and logs."""

    local: bool = True
    _columns: Mapping[str, str] | None = None
    _written: int = 0

    def texts(self, observation: Observation) -> Iterator[str]:
        """The heading now and then, the sample, then what was found in it."""
        for notice in observation.notices:
            yield f"  . {notice}"
        if self._columns is None:
            self._columns = columns_of(observation.sample)
        if self._written % HEADING_EVERY == 0:
            yield "time      " + "  ".join(title.rjust(_width(title)) for title in self._columns)
        self._written += 1
        values = observation.sample.values
        cells = (text_of_key(key, values.get(key)).rjust(_width(title)) for title, key in self._columns.items())
        yield f"{clock_time(observation.sample.at_s, local=self.local)}  " + "  ".join(cells)
        for finding in observation.findings:
            yield f"  ! {finding_line(finding)}"
        for alert in observation.alerts:
            yield f"  ! {alert_line(alert)}"


@dataclass(slots=True)
class JsonLines:
    """One JSON object a sample, on a line of its own; n/a is null."""

    def texts(self, observation: Observation) -> Iterator[str]:
        """The observation, whole."""
        sample = observation.sample
        plain = {
            "number": sample.number,
            "at_s": round(sample.at_s, 6),
            "values": sample.values,
            "processes": [asdict(process) for process in sample.processes],
            "findings": [asdict(finding) for finding in observation.findings],
            "alerts": [asdict(alert) for alert in observation.alerts],
            "notices": list(observation.notices),
        }
        yield json.dumps(plain, separators=(",", ":"), allow_nan=False, default=str)


@dataclass(slots=True)
class Csv:
    """A row a sample and a column a reading; n/a is an empty field. The columns are those of the first sample."""

    _keys: tuple[str, ...] | None = None

    def texts(self, observation: Observation) -> Iterator[str]:
        """The heading first, then a row."""
        sample = observation.sample
        if self._keys is None:
            self._keys = tuple(sample.values)
            yield _row(["at_s", *self._keys])
        values = (sample.values.get(key) for key in self._keys)
        yield _row([f"{sample.at_s:.3f}", *("" if value is None else f"{value:.10g}" for value in values)])


def columns_of(sample: Sample) -> dict[str, str]:
    """Title -> key of what a line shows: what this machine has, its GPUs and the chosen processes among them."""
    wanted = dict(_COLUMNS)
    if sample.values.get("process.count"):
        wanted |= _OF_PROCESSES
    for instance in gpus_of(sample):
        wanted |= {title.format(instance): key.format(instance) for title, key in _OF_GPU.items()}
    return {title: key for title, key in wanted.items() if sample.values.get(key) is not None}


def gpus_of(sample: Sample) -> tuple[str, ...]:
    """The instances of whole GPUs in a sample, in order."""
    whole = (key[len("gpu[") : key.index("]")] for key in sample.values if key.startswith("gpu["))
    return tuple(dict.fromkeys(instance for instance in whole if "." not in instance))


def finding_line(finding: Finding) -> str:
    """A finding as one line."""
    if finding.is_over:
        return f"over: {finding.name} of {finding.key}"
    usual = f" Usual cause: {finding.causes[0]}." if finding.causes else ""
    sure = f"{finding.confidence * 100:.0f} % sure"
    return f"{finding.severity}: {finding.what.rstrip('.')} ({finding.name}, {sure}).{usual}"


def alert_line(alert: AlertEvent) -> str:
    """An alert as one line."""
    if alert.state is AlertState.RESOLVED:
        return f"alert {alert.rule} is over: {alert.what}"
    return f"alert {alert.rule} ({alert.severity}): {alert.what}"


def clock_time(at_s: float, *, local: bool = True) -> str:
    """`18:37:01`."""
    return time.strftime("%H:%M:%S", time.localtime(at_s) if local else time.gmtime(at_s))


def _width(title: str) -> int:
    return max(len(title), _WIDEST_VALUE)


def _row(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
