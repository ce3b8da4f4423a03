import pickle
import re

import pytest

from infer_opt import errors
from infer_opt.errors import ConfigError, InferOptError, StorageError
from infer_opt.results import FailureKind
from infer_opt.workers.process import WorkerError, WorkerMemoryError, WorkerTimeoutError

CLASSES = [member for member in vars(errors).values() if isinstance(member, type) and issubclass(member, InferOptError)]


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = dict(re.findall(r"(\w+Error)\s+(\d)", errors.__doc__ or ""))

    assert drawn == {kind.__name__: str(kind.exit_code) for kind in CLASSES}


def test_every_class_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in CLASSES]

    assert len(set(codes)) == len(codes)
    assert 0 not in codes


@pytest.mark.parametrize("kind", [*CLASSES, WorkerError, WorkerMemoryError, WorkerTimeoutError])
@pytest.mark.parametrize("hint", ["try again", None])
def test_errors_cross_processes_whole(kind: type[InferOptError], hint: str | None) -> None:
    back = pickle.loads(pickle.dumps(kind("it broke", hint=hint)))

    assert type(back) is kind
    assert (back.what, back.hint, back.exit_code) == ("it broke", hint, kind.exit_code)


@pytest.mark.parametrize("kind", [*CLASSES, WorkerError])
def test_no_class_has_a_constructor_of_its_own(kind: type[InferOptError]) -> None:
    assert kind.__init__ is InferOptError.__init__


def test_an_error_reads_as_its_sentence() -> None:
    assert str(ConfigError("two is not one", hint="count again")) == "two is not one"


def test_one_except_clause_catches_them_all() -> None:
    with pytest.raises(InferOptError):
        raise StorageError("the disk is full")


def test_a_worker_that_ended_says_which_kind_of_failure_that_is() -> None:
    assert [kind.kind for kind in (WorkerError, WorkerTimeoutError, WorkerMemoryError)] == [
        FailureKind.CRASH,
        FailureKind.TIMEOUT,
        FailureKind.MEMORY,
    ]
