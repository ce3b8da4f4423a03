"""What a library does when it fails, turned into one of ours; and the noise it makes, kept from the terminal."""

import contextlib
import io
import logging
from collections.abc import Iterator

from infer_opt.errors import InferOptError, ModelError, StorageError

# Bugs and limits of the conversion libraries come out as any of these.
_PYTHON_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
_LONGEST_REASON = 300


def library_faults() -> tuple[type[Exception], ...]:
    """Every exception class that onnx, protobuf and onnxruntime raise when they cannot do something."""
    from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
    from onnx.checker import ValidationError
    from onnx.shape_inference import InferenceError
    from onnx.version_converter import ConvertError

    of_onnx = (DecodeError, EncodeError, ValidationError, InferenceError, ConvertError)
    return (*_PYTHON_FAULTS, *_runtime_faults(), *of_onnx)


def one_line(error: BaseException) -> str:
    """The library's own message without line breaks, at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"{type(error).__name__} {text}"
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Carry out the step called `name`: quietly, and with its failures as one sentence.

    Raises:
        ModelError: a library failed; the sentence holds its own message.
        StorageError: a file could not be written or read.
    """
    try:
        with quiet():
            yield
    except InferOptError:
        raise
    except OSError as error:
        raise StorageError(f"{name}: {one_line(error)}", hint="free some disk space, or name another folder") from error
    except library_faults() as error:
        reason = one_line(error)
        if "No space left on device" in reason:
            raise StorageError(f"{name}: {reason}", hint="free some disk space, or name another folder") from error
        raise ModelError(
            f"{name} failed: {reason}",
            hint="only this recipe is affected; the others can still be used",
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' prints and log lines off the terminal.

    onnxruntime's quantiser prints its progress, and its calls of `logging.warning` would install a handler on the root
    logger for good. Changes the whole process while it lasts, so one build at a time.
    """
    root, guard, disabled = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(guard)
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
        root.removeHandler(guard)


def _runtime_faults() -> tuple[type[Exception], ...]:
    """onnxruntime's exceptions, which share no class but Exception. None of them without onnxruntime."""
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError:
        return ()
    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))
