"""A monitor that was made up, for the tests of the screen: everything in it is a function of the sample's number."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from infer_opt.readings.findings import AlertEvent, AlertState, Finding, FindingKind, Forecast, Severity
from infer_opt.readings.samples import Observation, ProcessReading, Sample

GIB = 1 << 30
MIB = 1 << 20
START_S = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
H100 = "NVIDIA H100 80GB HBM3"


def wave(number: int, period: float, low: float, high: float, shift: float = 0.0) -> float:
    """A value that goes up and down between two others."""
    return low + (high - low) * (0.5 + 0.5 * math.sin(2 * math.pi * (number / period + shift)))


@dataclass
class FakeSource:
    """Samples of a machine as the fields say it is; `length` of them, or without an end.

    `lost` are devices that give no reading, `gone` those that are not spoken of; both may be changed between samples.
    `findings` and `alerts` go out with the next sample.
    """

    cores: int = 2
    gpus: int = 0
    mig: int = 0
    processes: int = 12
    chosen: frozenset[int] = frozenset()
    length: int | None = None
    interval_s: float = 60.0
    step_s: float = 1.0
    title: str = "epyc, 2 cores, 24 GiB"
    recording: str | None = None
    lost: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    alerts: list[AlertEvent] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    error: Exception | None = None
    taken: int = 0
    stopped: list[int] = field(default_factory=list)

    @property
    def gpu_names(self) -> Mapping[str, str]:
        return {str(number): H100 for number in range(self.gpus)}

    def next(self) -> Observation | None:
        if self.error is not None:
            raise self.error
        if self.length is not None and self.taken >= self.length:
            return None
        observation = Observation(
            sample=self.sample(self.taken),
            findings=tuple(self.findings),
            alerts=tuple(self.alerts),
            notices=tuple(self.notices),
        )
        self.findings, self.alerts, self.notices = [], [], []
        self.taken += 1
        return observation

    def stop(self, pid: int) -> str:
        self.stopped.append(pid)
        return f"sent SIGTERM to {pid}"

    def sample(self, number: int) -> Sample:
        values: dict[str, float | None] = {**self._host(number), **self._flows(number)}
        for gpu in range(self.gpus):
            if gpu not in self.gone:
                values |= self._gpu(number, gpu)
        return Sample(
            number=number,
            at_s=START_S + number * self.step_s,
            clock_s=100.0 + number * self.step_s,
            values=values,
            processes=tuple(self._process(number, index) for index in range(self.processes) if index not in self.ended),
        )

    def _host(self, number: int) -> dict[str, float | None]:
        first = number == 0
        busy = [wave(number, 20 + core % 7, 0.02, 0.98, core * 0.37) for core in range(self.cores)]
        mean = sum(busy) / len(busy)
        rates: dict[str, float | None] = {
            "cpu.busy": mean,
            "cpu.user": mean * 0.8,
            "cpu.system": mean * 0.2,
            "cpu.waiting": 0.004,
            "cpu.steal": 0.001,
            "cpu.switches_per_second": wave(number, 9, 900, 24_000),
            "pressure.cpu_some": wave(number, 30, 0, 0.2),
            "pressure.memory_some": 0.0,
            "pressure.io_some": 0.012,
            "cgroup.cpu_cores": mean * self.cores,
            "cgroup.throttled": 0.0,
            **{f"cpu[{core}].busy": share for core, share in enumerate(busy)},
        }
        if first:  # what covers the time since the sample before is not known in the first
            rates = dict.fromkeys(rates)
        used = wave(number, 90, 9 * GIB, 15 * GIB)
        return rates | {
            "cpu.runnable": float(round(mean * self.cores)),
            "cpu.blocked": 0.0,
            "cpu.load_1m": mean * self.cores,
            "cpu.load_5m": 0.9,
            "cpu.load_15m": 0.7,
            "cpu.frequency_hertz": 2.45e9,
            "memory.total_bytes": 24.0 * GIB,
            "memory.used_bytes": used,
            "memory.available_bytes": 24 * GIB - used,
            "memory.cached_bytes": 5.5 * GIB,
            "memory.dirty_bytes": 12.0 * MIB,
            "memory.swap_total_bytes": 0.0,
            "memory.swap_used_bytes": 0.0,
            "memory.oom_kills": 0.0,
            "cgroup.quota_cores": None,
            "cgroup.memory_bytes": used,
            "cgroup.memory_limit_bytes": None,
            "monitor.cpu_cores": 0.012,
            "monitor.rss_bytes": 48.0 * MIB,
            **({"process.count": float(len(self.chosen)), "process.cpu_cores": 1.5, "process.rss_bytes": 2.0 * GIB,
                "process.threads": 17.0} if self.chosen else {}),
        }  # fmt: skip

    def _flows(self, number: int) -> dict[str, float | None]:
        rates: dict[str, float | None] = {
            "disk.read_bytes_per_second": wave(number, 13, 0, 2e6),
            "disk.written_bytes_per_second": wave(number, 17, 0, 9e6),
            "disk.busy": 0.12,
            "disk[vda].read_bytes_per_second": wave(number, 13, 0, 2e6),
            "disk[vda].written_bytes_per_second": wave(number, 17, 0, 9e6),
            "network.received_bytes_per_second": wave(number, 11, 0, 4e5),
            "network.sent_bytes_per_second": wave(number, 7, 0, 9e4),
            "network.errors_per_second": 0.0,
            "network.dropped_per_second": 0.0,
            "network[eth0].received_bytes_per_second": wave(number, 11, 0, 4e5),
            "network[eth0].sent_bytes_per_second": wave(number, 7, 0, 9e4),
        }
        if number == 0:
            rates = dict.fromkeys(rates)
        return rates | {"filesystem[/].total_bytes": 100.0 * GIB, "filesystem[/].free_bytes": 37.0 * GIB}

    def _gpu(self, number: int, gpu: int) -> dict[str, float | None]:
        busy = wave(number, 15, 0.1, 1.0, gpu * 0.21)
        readings: dict[str, float | None] = {
            "utilisation": None if self.mig else busy,
            "memory_utilisation": busy * 0.6,
            "memory_used_bytes": wave(number, 40, 10, 61) * GIB,
            "memory_total_bytes": 79.6 * GIB,
            "sm_clock_hertz": 1.755e9,
            "sm_clock_most_hertz": 1.98e9,
            "temperature_celsius": 64.0,
            "memory_temperature_celsius": 71.0,
            "power_watts": 180 + 500 * busy,
            "power_limit_watts": 700.0,
            "performance_state": 0.0,
            "throttle_reasons": 4.0 if busy > 0.9 else 0.0,
            "throttled_by_heat": 0.0,
            "throttled_by_power": 1.0 if busy > 0.9 else 0.0,
            "uncorrected_errors": 0.0,
            "pcie_received_bytes_per_second": 1.2e9,
            "pcie_sent_bytes_per_second": 3.1e8,
            "graphics_active": busy * 0.98,
            "sm_active": busy * 0.9,
            "tensor_active": busy * 0.4,
            "dram_active": busy * 0.55,
        }
        values = {f"gpu[{gpu}].{name}": value for name, value in readings.items()}
        for part in range(1, self.mig + 1):
            values[f"gpu[{gpu}.mig{part}].memory_used_bytes"] = part * 2.0 * GIB
            values[f"gpu[{gpu}.mig{part}].memory_total_bytes"] = 9.75 * GIB
            values[f"gpu[{gpu}.mig{part}].graphics_active"] = busy
        return dict.fromkeys(values) if gpu in self.lost else values

    def _process(self, number: int, index: int) -> ProcessReading:
        pid = 1 if index == 0 else 1000 + index
        works = index % 4 == 1
        return ProcessReading(
            pid=pid,
            name=("systemd", "python", "sshd", "postgres", "kworker/0:1")[index % 5],
            parent_pid=0 if index == 0 else 1 if index < 4 else 1000 + index // 4,
            command=f"/usr/bin/program-{index} --with=options" if index % 5 != 4 else None,
            user=("root", "alice", "bob")[index % 3],
            state="S",
            started_s=START_S - 3600,
            cpu_cores=None if number == 0 else wave(number, 25, 0, 1.7, index * 0.13) if works else 0.0,
            rss_bytes=(index + 1) * 23 * MIB,
            threads=1 + index % 9,
            read_bytes_per_second=None if index % 5 == 4 or number == 0 else float(index % 3) * 1e4,
            written_bytes_per_second=None if index % 5 == 4 or number == 0 else 0.0,
            gpu_memory_bytes=(3 + index) * GIB if self.gpus and works else None,
            gpu_utilisation=0.4 if self.gpus and works else None,
            is_chosen=pid in self.chosen,
        )


def leak(*, at_s: float = START_S + 5, is_over: bool = False, what: str = "memory grows by 12 MiB a minute") -> Finding:
    """A trend that was found."""
    return Finding(
        kind=FindingKind.TREND,
        name="memory-leak",
        key="process.rss_bytes",
        what=what,
        at_s=at_s,
        since_s=START_S,
        confidence=0.97,
        causes=("a cache without a bound", "tensors that are kept between requests"),
        forecast=Forecast(bound=24.0 * GIB, in_s=7200.0, low_s=5400.0, high_s=None),
        is_over=is_over,
    )


def alert(*, state: AlertState = AlertState.FIRING, at_s: float = START_S + 8) -> AlertEvent:
    """A rule of the user's that began to fire, or was resolved."""
    return AlertEvent(
        rule="gpu-too-hot",
        state=state,
        severity=Severity.CRITICAL,
        key="gpu[0].temperature_celsius",
        value=91.0,
        what="gpu[0].temperature_celsius is 91 °C, above 85 °C for 30 s",
        at_s=at_s,
        since_s=START_S + 2,
    )
