import errno
import logging

import pytest

from infer_opt.errors import ModelError, StorageError, UnavailableError
from infer_opt.transforms.faults import one_line, quiet, step


def test_a_librarys_failure_becomes_one_sentence_with_its_own_words() -> None:
    with pytest.raises(ModelError) as caught, step("quantising"):
        raise ValueError("Expected w\n  to be an initializer")
    assert caught.value.what == "quantising failed: Expected w to be an initializer"


def test_our_own_errors_pass_as_they_are() -> None:
    with pytest.raises(UnavailableError, match="no cuda"), step("optimising"):
        raise UnavailableError("no cuda")


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("write: No space left on device")]
)
def test_a_full_disk_is_not_the_models_fault(error: Exception) -> None:
    with pytest.raises(StorageError, match="No space left"), step("quantising"):
        raise error


def test_messages_are_cut_to_a_readable_length() -> None:
    assert len(one_line(ValueError("x" * 1000))) == 300
    assert one_line(AssertionError()) == "AssertionError"


def test_the_librarys_noise_leaves_no_trace(capfd: pytest.CaptureFixture[str]) -> None:
    handlers, disabled = list(logging.getLogger().handlers), logging.root.manager.disable

    with quiet():
        print("Collecting tensor data and making histogram ...")
        logging.warning("Please consider to run pre-processing")

    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert logging.root.manager.disable == disabled
