import pynvml
import pytest

from fake_nvml import FakeGpu, FakeNvml
from infer_opt.monitors.nvml_asking import Asker, scaled, share

POWER = "nvmlDeviceGetPowerUsage"
UTILISATION = "nvmlDeviceGetProcessUtilization"


def asking(**device: object) -> tuple[Asker, FakeGpu]:
    gpu = FakeGpu(**device)  # type: ignore[arg-type]
    nvml = FakeNvml(gpu)
    nvml.nvmlInit()
    return Asker(nvml), gpu


@pytest.mark.parametrize(
    "error",
    [
        pynvml.NVMLError_NotSupported(),
        pynvml.NVMLError_NoPermission(),
        pynvml.NVMLError_NotFound(),
        pynvml.NVMLError(27),
    ],
)
def test_what_a_device_does_not_say_is_none_and_no_reason_to_stop(error: Exception) -> None:
    asker, gpu = asking(errors={POWER: error})

    assert asker.ask(POWER, gpu) is None
    assert asker.unanswered is None


@pytest.mark.parametrize("error", [pynvml.NVMLError_GpuIsLost(), pynvml.NVMLError_ResetRequired()])
def test_a_lost_gpu_is_let_through(error: Exception) -> None:
    asker, gpu = asking(errors={POWER: error, UTILISATION: error})

    with pytest.raises(asker.lost):
        asker.ask(POWER, gpu)
    with pytest.raises(asker.lost):
        asker.ask_list(UTILISATION, gpu, 0)


@pytest.mark.parametrize(
    "error",
    [pynvml.NVMLError_Uninitialized(), pynvml.NVMLError_DriverNotLoaded(), pynvml.NVMLError_LibRmVersionMismatch()],
)
def test_a_driver_that_is_gone_is_let_through(error: Exception) -> None:
    asker, gpu = asking(errors={POWER: error})

    with pytest.raises(asker.gone):
        asker.ask(POWER, gpu)


def test_unknown_errors_count_only_where_nothing_at_all_was_answered() -> None:
    unknown = pynvml.NVMLError_Unknown()
    asker, gpu = asking(errors={POWER: unknown})

    assert asker.ask(POWER, gpu) is None
    assert asker.unanswered is unknown
    assert asker.ask("nvmlDeviceGetFanSpeed", gpu) == 30
    assert asker.unanswered is None


def test_an_older_driver_is_asked_by_the_older_name() -> None:
    gone = pynvml.NVMLError_FunctionNotFound()
    asker, gpu = asking(reasons=4, errors={"nvmlDeviceGetCurrentClocksEventReasons": gone, POWER: gone})

    assert asker.ask("nvmlDeviceGetCurrentClocksEventReasons", gpu) == 4
    assert asker.ask(POWER, gpu) is None


@pytest.mark.parametrize("error", [pynvml.NVMLError_NotFound(), pynvml.NVMLError(pynvml.NVML_SUCCESS)])
def test_nothing_found_is_an_empty_list_and_an_answer(error: Exception) -> None:
    asker, gpu = asking(errors={UTILISATION: error, POWER: pynvml.NVMLError_Unknown()})

    assert asker.ask(POWER, gpu) is None
    assert asker.ask_list(UTILISATION, gpu, 0) == []
    assert asker.unanswered is None


def test_a_list_that_is_not_supported_is_none() -> None:
    asker, gpu = asking(samples=None)

    assert asker.ask_list(UTILISATION, gpu, 0) is None


def test_units_are_changed_and_none_stays_none() -> None:
    assert (share(37), share(0), share(None)) == (0.37, 0.0, None)
    assert (scaled(1980, 1e6), scaled(0, 1e6), scaled(None, 1e6)) == (1.98e9, 0.0, None)
