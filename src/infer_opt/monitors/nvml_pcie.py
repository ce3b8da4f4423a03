"""PCIe throughput, asked for beside all other readings: the driver watches the link for 20 ms for each answer."""

import itertools
import threading
from collections.abc import Sequence

from infer_opt.monitors.nvml_asking import Asker, Nvml, scaled
from infer_opt.monitors.nvml_devices import Device

READINGS = ("pcie_received_bytes_per_second", "pcie_sent_bytes_per_second")
KILOBYTE = 1000.0  # NVML says KB/s
CLOSING_S = 2.0


class PcieWatch:
    """The last known throughput of each GPU, kept up to date by a thread of its own from the first look on.

    It asks one GPU at a time, both directions (40 ms), and rests `rest_s` before the next: with n GPUs a value is up to
    n seconds old. It does not go faster because a question may hold the driver's own lock, which the programs that are
    watched wait for when they start kernels (seen with other questions: flightlessmango/MangoHud#2104).
    """

    def __init__(self, nvml: Nvml, devices: Sequence[Device], *, rest_s: float = 1.0) -> None:
        self._nvml, self._devices, self._rest_s = nvml, tuple(devices), rest_s
        self._latest: dict[int, dict[str, float | None]] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def latest(self, index: int) -> dict[str, float | None]:
        """The readings of the GPU of that number; None until it was asked the first time. The first call begins."""
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._watch, name="pcie-watch", daemon=True)
            self._thread.start()
        return dict(self._latest.get(index, dict.fromkeys(READINGS)))

    def ask(self, device: Device) -> None:
        """Ask one GPU, now."""
        asker, counters = Asker(self._nvml), (self._nvml.NVML_PCIE_UTIL_RX_BYTES, self._nvml.NVML_PCIE_UTIL_TX_BYTES)
        handle = device.handle
        try:
            answers = [
                None if handle is None else asker.ask("nvmlDeviceGetPcieThroughput", handle, counter)
                for counter in counters
            ]
        except self._nvml.NVMLError:  # the GPU is lost, or the driver is gone: the monitor finds that out itself
            answers = [None, None]
        self._latest[device.index] = {
            name: scaled(answer, KILOBYTE) for name, answer in zip(READINGS, answers, strict=True)
        }

    def close(self) -> bool:
        """End the thread; False where it hangs in the driver. Safe to call twice."""
        self._closed.set()
        if self._thread is None:
            return True
        self._thread.join(CLOSING_S)
        return not self._thread.is_alive()

    def _watch(self) -> None:
        for number, device in enumerate(itertools.cycle(self._devices), 1):
            self.ask(device)
            rest_s = self._rest_s if number >= len(self._devices) else 0.0  # the first time round without a rest
            if self._closed.wait(rest_s):
                return
