import pynvml
import pytest

from fake_nvml import FakeGpu, FakeNvml
from infer_opt.monitors.nvml_asking import Asker
from infer_opt.monitors.nvml_processes import (
    KEPT_S,
    NOT_AVAILABLE,
    Chosen,
    Samples,
    Usage,
    by_process,
    computing,
    drawing,
    together,
)

GIB = 1 << 30


def chosen(*pids: int, visible: bool = True) -> Chosen:
    return Chosen(pids=frozenset(pids), exists=lambda pid: visible)


def nvml(device: FakeGpu) -> Asker:
    driver = FakeNvml(device)
    driver.nvmlInit()
    return Asker(driver)


def test_the_sentinel_for_memory_is_ours() -> None:
    assert pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value == NOT_AVAILABLE


# Memory


def test_memory_of_one_process_in_several_parts_of_a_device_is_summed() -> None:
    device = FakeGpu(processes=[(5, GIB), (6, GIB), (5, 2 * GIB)], drawing=[(9, 10)])

    assert computing(nvml(device), device) == {5: 3 * GIB, 6: GIB}
    assert drawing(nvml(device), device) == {9: 10}


@pytest.mark.parametrize("told", [None, NOT_AVAILABLE])
def test_memory_that_the_driver_does_not_tell_is_none(told: int | None) -> None:
    device = FakeGpu(processes=[(5, told), (6, GIB), (6, told)])

    assert computing(nvml(device), device) == {5: None, 6: None}


def test_processes_that_the_driver_does_not_list_are_none_and_nobody_is_an_empty_list() -> None:
    silent, idle = FakeGpu(processes=None), FakeGpu()

    assert computing(nvml(silent), silent) is None
    assert computing(nvml(idle), idle) == {}


def test_one_that_computes_and_draws_holds_its_memory_once() -> None:
    usage = Usage(computing={5: GIB, 6: None}, drawing={5: GIB, 6: 7, 9: 3})

    assert usage.held == {5: GIB, 6: 7, 9: 3}


def test_memory_of_chosen_processes_is_summed_and_is_none_where_one_does_not_tell() -> None:
    usage = Usage(computing={5: GIB, 6: 2 * GIB, 7: None})

    assert usage.readings(chosen(5, 6))["process_memory_bytes"] == 3 * GIB
    assert usage.readings(chosen(5, 7))["process_memory_bytes"] is None
    assert usage.readings(chosen(8))["process_memory_bytes"] is None
    assert usage.readings(chosen())["process_memory_bytes"] is None


def test_one_that_only_draws_counts_for_memory_and_is_not_foreign() -> None:
    usage = Usage(computing={}, drawing={5: GIB, 9: GIB})

    readings = usage.readings(chosen(5))

    assert (readings["process_memory_bytes"], readings["foreign_processes"]) == (GIB, 0)


# Who is foreign


def test_processes_that_are_not_chosen_are_foreign() -> None:
    assert Usage(computing={5: 1, 6: 1, 7: 1}).foreign(chosen(5)) == 2
    assert Usage(computing={}).foreign(chosen(5)) == 0
    assert Usage().foreign(chosen(5)) is None


def test_a_number_that_does_not_exist_here_may_be_one_of_ours_unless_ours_are_listed() -> None:
    usage = Usage(computing={40_001: 1})

    assert usage.foreign(chosen(5, visible=False)) is None
    assert usage.foreign(chosen(visible=False)) == 1
    assert usage.foreign(chosen(5, visible=True)) == 1
    assert Usage(computing={40_001: 1, 5: 1}).foreign(chosen(5, visible=False)) == 1


# Utilisation


class Reading:
    """Samples of one device, read at times of the test's choosing."""

    def __init__(self, device: FakeGpu) -> None:
        self.device, self._asker, self._samples = device, nvml(device), Samples()

    def __call__(self, now_s: float, *samples: tuple[int, int, int]) -> dict[int, float] | None:
        if self.device.samples is not None:
            self.device.samples = [*self.device.samples, *samples]
        return self._samples.read(self._asker, self.device, now_s)


def test_the_first_read_only_learns_how_far_the_samples_go() -> None:
    read = Reading(FakeGpu())

    assert read(0.0, (5, 1_000_000, 90)) is None  # it may be of an hour ago
    assert read(1.0) == {}
    assert read(2.0, (5, 3_000_000, 40)) == {5: 0.4}


def test_a_device_on_which_nobody_works_is_known_to_be_idle() -> None:
    read = Reading(FakeGpu())

    assert [read(0.0), read(1.0)] == [None, {}]
    assert read(2.0, (5, 1, 50)) == {5: 0.5}


def test_samples_that_are_not_supported_are_none_each_time() -> None:
    read = Reading(FakeGpu(samples=None))

    assert [read(0.0), read(1.0)] == [None, None]


def test_the_latest_of_several_samples_counts_in_whatever_order_they_come() -> None:
    read = Reading(FakeGpu())
    read(0.0)

    assert read(1.0, (5, 30, 30), (5, 10, 10), (5, 20, 20), (6, 15, 60)) == {5: 0.3, 6: 0.6}


def test_a_sample_stands_until_the_driver_would_have_taken_the_next() -> None:
    read = Reading(FakeGpu())
    read(0.0)
    read(1.0, (5, 10, 30))

    assert read(1.0 + KEPT_S / 2) == {5: 0.3}
    assert read(1.0 + KEPT_S) == {}


def test_garbage_that_some_drivers_fill_their_list_up_with_is_left_out() -> None:
    read = Reading(FakeGpu())
    read(0.0)

    assert read(1.0, (5, 10, 30), (0, 11, 12), (6, 12, 4_000_000_000), (7, 13, 100)) == {5: 0.3, 7: 1.0}


def test_utilisation_of_chosen_processes_is_summed_up_to_the_whole_device() -> None:
    usage = Usage(computing={5: 1, 6: 1, 7: 1}, busy={5: 0.5, 6: 0.25})

    found = [usage.readings(chosen(*pids))["process_utilisation"] for pids in ((5, 6), (5, 7), (7,), (8,), ())]

    assert found == [0.75, 0.5, 0.0, None, None]
    both = Usage(computing={5: 1, 6: 1}, busy={5: 0.8, 6: 0.7})
    assert both.readings(chosen(5, 6))["process_utilisation"] == 1.0
    assert Usage(computing={5: 1}).readings(chosen(5))["process_utilisation"] is None


# All GPUs


def test_a_process_on_several_gpus_has_the_sum_of_memory_and_the_largest_utilisation() -> None:
    first = Usage(computing={5: GIB, 6: 1, 7: 4}, busy={5: 0.2})
    second = Usage(computing={5: GIB, 6: None}, busy={5: 0.9, 6: 0.1})

    assert by_process([first, second]) == {5: (2 * GIB, 0.9), 6: (None, 0.1), 7: (4, 0.0)}


def test_utilisation_that_one_of_two_gpus_does_not_tell_is_that_of_the_other() -> None:
    assert by_process([Usage(computing={5: 1}), Usage(computing={5: 1}, busy={5: 0.4})]) == {5: (2, 0.4)}
    assert by_process([Usage(computing={5: 1}), Usage(computing={5: 1})]) == {5: (2, None)}


def test_a_gpu_that_lists_nobody_but_samples_them_gives_what_it_has() -> None:
    assert by_process([Usage(busy={5: 0.4})]) == {5: (None, 0.4)}
    assert by_process([Usage()]) == {}


def test_processes_of_parts_are_put_together() -> None:
    assert together([{5: 1}, None, {5: 2, 6: 3}]) == {5: 3, 6: 3}
    assert together([{}]) == {}
    assert together([None]) is None
    assert together([]) is None
