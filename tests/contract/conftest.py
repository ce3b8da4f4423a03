"""What every test of a contract leaves behind: the arithmetic of this process as it was."""

import ctypes
import ctypes.util
import platform
from collections.abc import Iterator

import pytest

DEFAULT_ENVIRONMENT = ctypes.c_void_p(-1)  # FE_DFL_ENV of glibc, on x86 and Arm


@pytest.fixture(autouse=True)
def subnormal_numbers_stay_what_they_are() -> Iterator[None]:
    """A session that takes subnormal numbers for zero sets that for the whole thread; later tests need them."""
    yield
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(ctypes.util.find_library("m")).fesetenv(DEFAULT_ENVIRONMENT)
