"""One GPU: what is asked of it, how often, and what it answers.

Sources, units and the command that gives the same are in `readings.catalogue`, family `gpu`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from infer_opt.monitors import nvml_gpm, nvml_mig
from infer_opt.monitors.nvml_asking import Asker, Handle, scaled, share
from infer_opt.monitors.nvml_gpm import Gpm
from infer_opt.monitors.nvml_processes import Chosen, Samples, Usage, computing, drawing, together
from infer_opt.readings.catalogue import CATALOGUE

# Bits of the clock event reasons that mean heat: software and hardware thermal slowdown. `HwSlowdown` is left out: it
# is also set by the power brake, which is not heat.
THERMAL_BITS = 0x20 | 0x40
POWER_BITS = 0x04 | 0x80  # the software power cap, and the hardware's power brake
MEGAHERTZ = 1e6

MEMORY = tuple(f"memory_{part}_bytes" for part in ("used", "free", "total", "reserved"))
# What a tuning needs: seven questions, each of which takes microseconds, and the list of who computes.
LEAN = (
    "utilisation",
    "memory_utilisation",
    *MEMORY,
    "sm_clock_hertz",
    "temperature_celsius",
    "power_watts",
    "energy_joules",
    "throttle_reasons",
    "throttled_by_heat",
    "throttled_by_power",
    "process_memory_bytes",
    "foreign_processes",
)
ALL = tuple(name for family, name in CATALOGUE if family == "gpu")

# Readings that change slowly or take milliseconds (lists of processes, the fan) are asked for once a second; a little
# less, so that sampling once a second asks each time. Source: timings in flightlessmango/MangoHud#2104.
SELDOM_S = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Seldom:
    """What was asked at `at_s` of the monotonic clock, and stands for a while."""

    at_s: float
    readings: Mapping[str, float | None]
    usage: Usage
    is_divided: bool
    instances: tuple[nvml_mig.Instance, ...]


class Device:
    """One GPU, by the number that NVML gives it. `detailed` reads ALL of the catalogue, otherwise it is LEAN.

    `handle` is None until `connect`, and again after `lose`. `name` is what the driver calls the board, `usage` the
    processes that were on it at the last read.
    """

    def __init__(self, index: int, *, detailed: bool) -> None:
        self.index, self.name, self.usage = index, "", Usage()
        self.handle: Handle | None = None
        self._detailed = detailed
        self._names: dict[str, tuple[str, ...]] = {str(index): ALL if detailed else LEAN}
        self._most_clock_hertz: float | None = None
        self._has_gpm: bool | None = None
        self._gpms: dict[tuple[str, int | None], Gpm] = {}
        self._samples = Samples()
        self._seldom: Seldom | None = None

    def connect(self, asker: Asker) -> bool:
        """Get a handle where there is none; False where this GPU is not ours to ask."""
        if self.handle is None:
            self.handle = asker.ask("nvmlDeviceGetHandleByIndex", self.index)
            if self.handle is not None:
                self.name = asker.ask("nvmlDeviceGetName", self.handle) or ""
        return self.handle is not None

    def read(self, asker: Asker, chosen: Chosen, now_s: float) -> dict[str, dict[str, float | None]]:
        """Instance -> name -> value: `0` is the device itself, `0.mig1` an instance of it."""
        if not self.connect(asker):
            return self.nothing()
        found = self._all(asker, chosen, now_s) if self._detailed else self._lean(asker, chosen)
        self._names = {instance: tuple(values) for instance, values in found.items()}
        return found

    def nothing(self) -> dict[str, dict[str, float | None]]:
        """The readings of a GPU that does not answer."""
        self.usage = Usage()
        return {instance: dict.fromkeys(names) for instance, names in self._names.items()}

    def lose(self) -> dict[str, dict[str, float | None]]:
        """The readings of a GPU that was lost. What is known of it is forgotten, in case that it comes back."""
        self.handle, self._seldom = None, None
        for gpm in self._gpms.values():
            gpm.forget()
        return self.nothing()

    def close(self, asker: Asker) -> None:
        """Give back what is held of it. Safe to call twice."""
        gpms, self._gpms = self._gpms, {}
        for gpm in gpms.values():
            gpm.close(asker)

    def _lean(self, asker: Asker, chosen: Chosen) -> dict[str, dict[str, float | None]]:
        self.usage = Usage(computing=computing(asker, self.handle))
        values = {**_often(asker, self.handle), **self.usage.readings(chosen)}
        return {str(self.index): {name: values[name] for name in LEAN}}

    def _all(self, asker: Asker, chosen: Chosen, now_s: float) -> dict[str, dict[str, float | None]]:
        seldom = self._seldom_asked(asker, now_s)
        self.usage = seldom.usage
        values = {
            **_often(asker, self.handle),
            **self._also_often(asker),
            **seldom.readings,
            **seldom.usage.readings(chosen),
            **self._activity(asker, str(self.index)),
        }
        if seldom.is_divided:
            values |= {"utilisation": None, "memory_utilisation": None}
        # What is still missing, the throughput of PCIe, is asked elsewhere.
        found = {str(self.index): {name: values.get(name) for name in ALL}}
        for part in seldom.instances:
            instance = f"{self.index}.mig{part.index}"
            found[instance] = {
                "utilisation": None,
                **_memory(asker, part.handle),
                **part.usage.readings(chosen),
                **self._activity(asker, instance, part.gpu_instance, is_part=True),
            }
        self._free_all_but(asker, found)
        return found

    def _also_often(self, asker: Asker) -> dict[str, float | None]:
        nvml, handle = asker.nvml, self.handle
        if self._most_clock_hertz is None:
            self._most_clock_hertz = scaled(
                asker.ask("nvmlDeviceGetMaxClockInfo", handle, nvml.NVML_CLOCK_SM), MEGAHERTZ
            )
        state = asker.ask("nvmlDeviceGetPerformanceState", handle)
        return {
            "sm_clock_most_hertz": self._most_clock_hertz,
            "memory_clock_hertz": scaled(asker.ask("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_MEM), MEGAHERTZ),
            "performance_state": None if state is None or state == nvml.NVML_PSTATE_UNKNOWN else float(state),
        }

    def _activity(
        self, asker: Asker, instance: str, gpu_instance: int | None = None, *, is_part: bool = False
    ) -> dict[str, float | None]:
        if self._has_gpm is None:
            self._has_gpm = nvml_gpm.is_supported(asker, self.handle)
        # Without its number, an instance must not be given what the whole device did.
        if not self._has_gpm or (is_part and gpu_instance is None):
            return dict.fromkeys(nvml_gpm.METRICS)
        gpm = self._gpms.setdefault((instance, gpu_instance), Gpm(gpu_instance))
        return gpm.read(asker, self.handle)

    def _free_all_but(self, asker: Asker, there: Mapping[str, object]) -> None:
        for key in [key for key in self._gpms if key[0] not in there]:
            self._gpms.pop(key).close(asker)

    def _seldom_asked(self, asker: Asker, now_s: float) -> Seldom:
        if self._seldom is None or now_s - self._seldom.at_s >= SELDOM_S:
            is_divided = nvml_mig.is_divided(asker, self.handle)
            parts = nvml_mig.instances(asker, self.handle) if is_divided else ()
            usage = Usage(
                computing=computing(asker, self.handle),
                drawing=drawing(asker, self.handle),
                busy=self._samples.read(asker, self.handle, now_s),
            )
            if not usage.computing and parts:  # only administrators are told of the processes of all parts at once
                usage = replace(usage, computing=together(part.usage.computing for part in parts))
            self._seldom = Seldom(
                at_s=now_s,
                readings=_seldom_readings(asker, self.handle),
                usage=usage,
                is_divided=is_divided,
                instances=parts,
            )
        return self._seldom


def throttle_reasons(asker: Asker, handle: Handle) -> int | None:
    """The bit mask of why the clock is not higher; None where the device does not say."""
    mask = asker.ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
    return None if mask is None else int(mask)


def _often(asker: Asker, handle: Handle) -> dict[str, float | None]:
    nvml, reasons = asker.nvml, throttle_reasons(asker, handle)
    utilisation = asker.ask("nvmlDeviceGetUtilizationRates", handle)
    return {
        "utilisation": None if utilisation is None else share(utilisation.gpu),
        "memory_utilisation": None if utilisation is None else share(utilisation.memory),
        **_memory(asker, handle),
        "sm_clock_hertz": scaled(asker.ask("nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM), MEGAHERTZ),
        "temperature_celsius": scaled(asker.ask("nvmlDeviceGetTemperature", handle, nvml.NVML_TEMPERATURE_GPU), 1.0),
        "power_watts": scaled(asker.ask("nvmlDeviceGetPowerUsage", handle), 1e-3),
        "energy_joules": scaled(asker.ask("nvmlDeviceGetTotalEnergyConsumption", handle), 1e-3),
        "throttle_reasons": scaled(reasons, 1.0),
        "throttled_by_heat": None if reasons is None else float(reasons & THERMAL_BITS != 0),
        "throttled_by_power": None if reasons is None else float(reasons & POWER_BITS != 0),
    }


def _memory(asker: Asker, handle: Handle) -> dict[str, float | None]:
    found = asker.ask("nvmlDeviceGetMemoryInfo", handle, asker.nvml.nvmlMemory_v2)
    if found is None:
        return dict.fromkeys(MEMORY)
    return dict(zip(MEMORY, map(float, (found.used, found.free, found.total, found.reserved)), strict=True))


def _seldom_readings(asker: Asker, handle: Handle) -> dict[str, float | None]:
    nvml = asker.nvml
    # NVML answers with the share and the time in microseconds that it is of.
    encoder, decoder = (asker.ask(f"nvmlDeviceGet{unit}Utilization", handle) for unit in ("Encoder", "Decoder"))
    uncorrected = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    return {
        "memory_temperature_celsius": _field(asker, handle, nvml.NVML_FI_DEV_MEMORY_TEMP),
        "power_limit_watts": scaled(asker.ask("nvmlDeviceGetEnforcedPowerLimit", handle), 1e-3),
        "fan": share(asker.ask("nvmlDeviceGetFanSpeed", handle)),
        "pcie_generation": scaled(asker.ask("nvmlDeviceGetCurrPcieLinkGeneration", handle), 1.0),
        "pcie_width": scaled(asker.ask("nvmlDeviceGetCurrPcieLinkWidth", handle), 1.0),
        "pcie_generation_most": scaled(asker.ask("nvmlDeviceGetMaxPcieLinkGeneration", handle), 1.0),
        "pcie_width_most": scaled(asker.ask("nvmlDeviceGetMaxPcieLinkWidth", handle), 1.0),
        "encoder_utilisation": None if encoder is None else share(encoder[0]),
        "decoder_utilisation": None if decoder is None else share(decoder[0]),
        "uncorrected_errors": scaled(asker.ask("nvmlDeviceGetTotalEccErrors", handle, *uncorrected), 1.0),
    }


def _field(asker: Asker, handle: Handle, number: int) -> float | None:
    """One of NVML's numbered fields; each says for itself whether it is known, and which member of a union it is."""
    nvml = asker.nvml
    fields: Any = asker.ask("nvmlDeviceGetFieldValues", handle, [number])
    if fields is None or fields[0].nvmlReturn != nvml.NVML_SUCCESS:
        return None
    members = {
        nvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
        nvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
        nvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
    }
    member = members.get(fields[0].valueType)
    return None if member is None else float(getattr(fields[0].value, member))
