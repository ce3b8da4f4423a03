"""The double of pynvml has nothing that pynvml does not have, and the monitor asks nothing that the double lacks."""

import inspect
import re

import pynvml
import pytest

from fake_nvml import FakeNvml
from infer_opt.monitors import (
    nvml,
    nvml_asking,
    nvml_devices,
    nvml_gpm,
    nvml_mig,
    nvml_modes,
    nvml_pcie,
    nvml_processes,
)

NAMES = [name for name in dir(FakeNvml) if not name.startswith("_")]
FUNCTIONS = [name for name in NAMES if name.startswith("nvml") and callable(getattr(FakeNvml, name))]
CONSTANTS = [name for name in NAMES if isinstance(getattr(FakeNvml, name), int)]


def test_the_double_uses_only_names_that_pynvml_has() -> None:
    assert len(FUNCTIONS) > 35
    assert len(CONSTANTS) > 15
    assert [name for name in NAMES if not hasattr(pynvml, name)] == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_the_double_take_what_those_of_pynvml_take(name: str) -> None:
    double, real = (inspect.signature(getattr(module, name)) for module in (FakeNvml(), pynvml))

    assert [(p.name, p.default) for p in double.parameters.values()] == [
        (p.name, p.default) for p in real.parameters.values()
    ]


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_of_the_double_are_those_of_pynvml(name: str) -> None:
    assert getattr(FakeNvml, name) == getattr(pynvml, name)


def test_whatever_the_monitor_asks_is_a_function_of_the_double() -> None:
    modules = (nvml, nvml_asking, nvml_devices, nvml_gpm, nvml_mig, nvml_modes, nvml_pcie, nvml_processes)
    asked = {name for module in modules for name in re.findall(r"\bnvml[A-Z]\w+\b", inspect.getsource(module))}

    # The beginning of a name that is put together, and a field of a structure.
    assert asked - {"nvmlDeviceGet", "nvmlReturn"} <= set(NAMES)
    assert {"nvmlDeviceGetFieldValues", "nvmlGpmMigSampleGet", "nvmlDeviceGetProcessUtilization"} <= asked
