"""Record how this machine's readings look while something known happens, for tests/recorded_series.

    python -m scripts.record_series EVENT [--seconds 120] [--from 60] [--out tests/recorded_series]

EVENT is `idle`, `corunner` (a process that is busy half of the time), `leak` (a process that takes 20 MB a second) or
`disk` (a process that writes as fast as the disk takes it). It begins at second 60. One line a second, plain reads of
/proc; the first line names the readings as `infer_opt.readings.catalogue` does. Run it on an otherwise idle machine.
"""

import argparse
import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

LOADS = {
    "corunner": """
import time
while True:
    until = time.perf_counter() + 0.005
    while time.perf_counter() < until:
        pass
    time.sleep(0.005)
""",
    "leak": """
import sys, time
time.sleep(float(sys.argv[1]))
kept = []
while True:
    kept.append(bytearray(b"x") * 2_000_000)
    time.sleep(0.1)
""",
    "disk": """
import os, sys
block = os.urandom(8 << 20)
with open(sys.argv[2], "wb") as file:
    while True:
        file.seek(0)
        for _ in range(8):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
""",
}
DEVICES = ("vd", "sd", "nvme", "xvd", "hd")
SECTOR = 512


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("event", choices=["idle", *LOADS])
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--from", type=int, default=60, dest="begin", metavar="SECOND")
    parser.add_argument("--out", type=Path, default=Path("tests/recorded_series"))
    options = parser.parse_args(argv)
    rows = record(options.event, seconds=options.seconds, begin=options.begin, scratch=options.out / "scratch.bin")
    with (options.out / f"{options.event}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


def record(event: str, *, seconds: int, begin: int, scratch: Path) -> list[dict[str, str]]:
    """One row a second. The process of a leak is there from the start, so that its memory before is seen too."""
    load = _started(event, begin, scratch) if event == "leak" else None
    before, rows, began = _counters(None), [], time.monotonic()
    try:
        for second in range(1, seconds + 1):
            if event in LOADS and load is None and second > begin:
                load = _started(event, 0, scratch)
            time.sleep(max(0.0, began + second - time.monotonic()))
            now = _counters(None if load is None else load.pid)
            rows.append({key: f"{value:.6g}" for key, value in _readings(before, now).items()})
            before = now
    finally:
        if load is not None:
            load.send_signal(signal.SIGKILL)
            load.wait()
        scratch.unlink(missing_ok=True)
    return rows


def _started(event: str, delay_s: int, scratch: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", LOADS[event], str(delay_s), str(scratch)])


def _counters(pid: int | None) -> dict[str, float]:
    """Counters and levels as they are now."""
    found: dict[str, float] = {"clock_s": time.monotonic()}
    cpu = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _, waiting, irq, softirq, steal = cpu
    found |= {"busy": user + nice + system + irq + softirq, "waiting": waiting, "steal": steal, "all": sum(cpu)}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("MemTotal", "MemAvailable"):
            found[name] = int(rest.split()[0]) * 1024
    found["read"] = found["written"] = 0
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[2].startswith(DEVICES) and not Path(f"/sys/class/block/{fields[2]}/partition").exists():
            found["read"] += int(fields[5]) * SECTOR
            found["written"] += int(fields[9]) * SECTOR
    for kind in ("cpu", "io", "memory"):
        for line in Path(f"/proc/pressure/{kind}").read_text().splitlines():
            found[f"{kind}_{line.split()[0]}"] = int(line.rpartition("=")[2]) / 1e6
    if pid is not None:
        found["rss"] = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return found


def _readings(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    passed = now["clock_s"] - before["clock_s"]
    ticks = max(now["all"] - before["all"], 1.0)
    share = {name: (now[name] - before[name]) / ticks for name in ("busy", "waiting", "steal")}
    pressures = {
        f"pressure.{name}": (now[name] - before[name]) / passed
        for name in ("cpu_some", "memory_some", "memory_full", "io_some", "io_full")
    }
    return {
        "clock_s": now["clock_s"],
        **{f"cpu.{name}": value for name, value in share.items()},
        **pressures,
        "memory.total_bytes": now["MemTotal"],
        "memory.available_bytes": now["MemAvailable"],
        "memory.used_bytes": now["MemTotal"] - now["MemAvailable"],
        "disk.read_bytes_per_second": (now["read"] - before["read"]) / passed,
        "disk.written_bytes_per_second": (now["written"] - before["written"]) / passed,
        "process.rss_bytes": now.get("rss", float("nan")),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
