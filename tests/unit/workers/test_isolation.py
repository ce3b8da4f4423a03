import os
import subprocess
import sys

import pytest

from infer_opt.workers.isolation import memory_bytes, resident_bytes

MB = 1_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_memory_is_read_in_bytes_and_its_peak_is_not_below_what_is_in_use() -> None:
    now, peak = memory_bytes(os.getpid(), "VmRSS"), memory_bytes(os.getpid(), "VmHWM")

    assert now is not None
    assert peak is not None
    assert 5 * MB < now <= peak < 100_000 * MB


@linux
def test_both_ways_of_reading_resident_memory_agree() -> None:
    # The kernel's counters lag behind by some pages a thread.
    assert resident_bytes(os.getpid()) == pytest.approx(memory_bytes(os.getpid(), "VmRSS"), rel=0.2)


@linux
def test_a_field_that_a_process_does_not_have_is_none() -> None:
    assert memory_bytes(os.getpid(), "VmNothing") is None
    assert memory_bytes(os.getpid(), "VmR") is None  # no field, though one begins so


@linux
def test_a_process_that_is_gone_takes_no_memory_that_could_be_told() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert memory_bytes(ended.pid, "VmRSS") is None
    assert resident_bytes(ended.pid) is None
