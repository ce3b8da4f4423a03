import math

import pynvml
import pytest

from fake_nvml import GPM_METRICS, FakeGpu, FakeNvml
from infer_opt.monitors.nvml_asking import Asker
from infer_opt.monitors.nvml_gpm import METRICS, Gpm, is_supported

NOTHING = dict.fromkeys(METRICS)


def opened(device: FakeGpu) -> tuple[FakeNvml, Asker]:
    driver = FakeNvml(device)
    driver.nvmlInit()
    return driver, Asker(driver)


def test_the_first_read_has_nothing_to_compare_with_and_each_later_one_covers_the_time_since_the_one_before() -> None:
    device = FakeGpu()
    _, asker = opened(device)
    gpm = Gpm()

    assert gpm.read(asker, device) == NOTHING
    for percent in (10.0, 20.0, 30.0):
        device.gpm = dict.fromkeys(GPM_METRICS, percent)
        assert gpm.read(asker, device) == dict.fromkeys(METRICS, percent / 100)


def test_two_samples_are_all_that_is_ever_held_and_closing_frees_them() -> None:
    device = FakeGpu()
    driver, asker = opened(device)
    gpm = Gpm()
    for _ in range(5):
        gpm.read(asker, device)
    assert len(driver.samples) == 2

    gpm.close(asker)
    gpm.close(asker)

    assert driver.samples == {}


def test_a_metric_that_the_driver_does_not_give_is_none_beside_the_others() -> None:
    device = FakeGpu(gpm={1: 50.0, 2: math.nan, 10: 0.0})
    _, asker = opened(device)
    gpm = Gpm()
    gpm.read(asker, device)

    found = gpm.read(asker, device)

    assert found == {**NOTHING, "graphics_active": 0.5, "dram_active": 0.0}


@pytest.mark.parametrize(("function", "is_next_compared"), [("nvmlGpmSampleGet", False), ("nvmlGpmMetricsGet", True)])
def test_no_comparison_goes_back_beyond_a_sample_that_failed(function: str, is_next_compared: bool) -> None:
    device = FakeGpu()
    driver, asker = opened(device)
    gpm = Gpm()
    gpm.read(asker, device)
    whole = getattr(driver, function)

    def fail(*arguments: object) -> object:
        raise pynvml.NVMLError_Timeout()

    setattr(driver, function, fail)
    missing = gpm.read(asker, device)
    setattr(driver, function, whole)
    following = gpm.read(asker, device)

    assert missing == NOTHING
    assert (following != NOTHING) == is_next_compared
    assert gpm.read(asker, device)["sm_active"] == pytest.approx(0.64)
    assert len(driver.samples) == 2


def test_without_memory_for_samples_there_are_no_readings() -> None:
    device = FakeGpu()
    driver, asker = opened(device)

    def refuse() -> object:
        raise pynvml.NVMLError_Memory()

    driver.nvmlGpmSampleAlloc = refuse  # type: ignore[method-assign]

    assert Gpm().read(asker, device) == NOTHING


def test_a_lost_gpu_is_let_through_and_what_was_allocated_can_still_be_freed() -> None:
    device = FakeGpu(lost=True)
    driver, asker = opened(device)
    gpm = Gpm()

    with pytest.raises(asker.lost):
        gpm.read(asker, device)
    gpm.close(asker)

    assert driver.samples == {}


def test_what_was_forgotten_is_not_compared_with() -> None:
    device = FakeGpu()
    _, asker = opened(device)
    gpm = Gpm()
    gpm.read(asker, device)

    gpm.forget()

    assert gpm.read(asker, device) == NOTHING
    assert gpm.read(asker, device) != NOTHING


def test_a_gpu_from_before_hopper_has_no_such_counters() -> None:
    old, new, silent = (
        FakeGpu(gpm=None),
        FakeGpu(),
        FakeGpu(errors={"nvmlGpmQueryDeviceSupport": pynvml.NVMLError_FunctionNotFound()}),
    )

    assert [is_supported(opened(gpu)[1], gpu) for gpu in (old, new, silent)] == [False, True, None]
