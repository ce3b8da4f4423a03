"""The worker's side: `python -m infer_opt.workers.child FD PARENT`. One session, one command at a time.

Errors that a user can meet go back as answers. Anything else ends the process with its traceback on standard error,
and the tuner turns that into a failed trial: a worker that is in an unknown state measures nothing more.
"""

import sys

from infer_opt.workers.isolation import be_expendable, die_with

if __name__ == "__main__":  # before the imports below: a tuner may die while they run
    die_with(int(sys.argv[2]))
    be_expendable()

import gc
import importlib
import importlib.util
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from infer_opt.errors import InferOptError, ModelError, StorageError
from infer_opt.instances import Instances
from infer_opt.machine.cores import Cores, hardware_threads, lay_out
from infer_opt.measure import ClockCost, WarmUp, clock_cost, measure_block, plan_block, warm_up
from infer_opt.padding import padded
from infer_opt.protocols import Session
from infer_opt.results import Block, Parity
from infer_opt.workers import messages
from infer_opt.workers.loads import measure_load
from infer_opt.workers.mixtures import first_calls, measure_mixture, plan_mixture, warm_up_mixture

# What code of the user's may fail with; anything rarer ends the worker, and its last line is quoted.
FAULTS = (
    ArithmeticError, AssertionError, AttributeError, EOFError, ImportError, LookupError, ModelError, NameError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError,
)  # fmt: skip


class Worker:
    """The state of one worker: a session, or several as one, its inputs, and what is known about its speed."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.feeds: tuple[dict[str, Any], ...] = ()
        self.timed: tuple[dict[str, Any], ...] = ()
        self.cost: ClockCost = clock_cost()
        self.latency_ns = 1e6
        self.shapes = 1
        self.by_shape_ns: tuple[float, ...] = ()

    def answer(self, command: object) -> object:
        """The answer to one command."""
        handlers: dict[type, Callable[[Any], object]] = {
            messages.Open: self.open,
            messages.Record: self.record,
            messages.Check: self.check,
            messages.CheckStale: self.check_stale,
            messages.Evaluate: self.evaluate,
            messages.Warm: self.warm,
            messages.Measure: self.measure,
            messages.Run: self.run_for,
            messages.Call: call,
        }
        return handlers[type(command)](command)

    @property
    def opened(self) -> Session:
        """The session; commands that need one come after Open."""
        if self.session is None:
            raise ModelError("no session is open in this worker")
        return self.session

    def open(self, command: messages.Open) -> messages.Opened:
        """Open, and run once: both are cold start."""
        from infer_opt.models.inputs import load_feeds
        from infer_opt.runtimes import open_runtime

        self.feeds = tuple(load_feeds(command.feeds))
        self.timed = self.feeds[: command.timed]
        self.shapes, self.by_shape_ns = command.shapes, (self.latency_ns,) * command.shapes
        runtime = open_runtime(command.runtime)
        version = runtime.version()  # imports the library, which is not what opening an artefact costs
        each = command.options.intra_threads
        cores = lay_out(hardware_threads(), instances=command.instances, each=each) if command.instances > 1 else ()
        begin = time.perf_counter_ns()

        def open_one() -> Session:
            session = runtime.open(command.artefact, command.options)
            return padded(session, command.buckets, inputs=command.inputs, outputs=command.outputs)

        self.session = self._open(open_one, command.instances, cores)
        opened = time.perf_counter_ns()
        self.session.run(self.timed[0])
        ran = time.perf_counter_ns()
        further = first_calls(self.session, self.timed, self.shapes) if self.shapes > 1 else ()
        gc.collect()
        gc.freeze()
        return messages.Opened(
            open_ns=opened - begin,
            first_run_ns=ran - opened,
            placement=self.session.placement,
            inputs=self.session.inputs,
            outputs=self.session.outputs,
            runtime_version=version,
            is_pinned=self.session.is_pinned if isinstance(self.session, Instances) else None,
            first_seen_ns=(ran - opened, *further) if self.shapes > 1 else (),
        )

    def _open(self, open_one: Callable[[], Session], count: int, cores: Sequence[Cores]) -> Session:
        return open_one() if count == 1 else Instances(open_one, count=count, cores=cores)

    def record(self, command: messages.Record) -> None:
        """Outputs to a file that Check reads. Pickled: outputs may be lists and maps."""
        import pickle

        answers = [self.opened.run(feed) for feed in self.feeds[: command.count]]
        temporary = command.path.with_suffix(f".{os.getpid()}")
        try:
            temporary.write_bytes(pickle.dumps(answers, protocol=5))
            temporary.replace(command.path)
        except OSError as error:
            raise StorageError(
                f"the outputs of stock cannot be kept in {command.path.parent}: {error.strerror}",
                hint="free some space, or set INFER_OPT_CACHE to another folder",
            ) from error

    def check(self, command: messages.Check) -> Parity:
        """Parity with a recorded file."""
        from infer_opt.parity import compare

        reference = _recorded(command.reference)[: command.count]
        answers = [self.opened.run(feed) for feed in self.feeds[: len(reference)]]
        return compare(reference, answers, tolerance=command.tolerance)

    def check_stale(self, command: messages.CheckStale) -> str | None:
        """A session that replays old outputs gives equal answers where the reference's differ."""
        from infer_opt.parity import find_stale

        reference = _recorded(command.reference)[: len(self.timed)]
        answers = [self.opened.run(feed) for feed in self.feeds[: len(reference)]]
        # Of neighbours in different shapes the outputs differ anyhow: a replay shows among those of one shape.
        found = (find_stale(reference[one :: self.shapes], answers[one :: self.shapes]) for one in range(self.shapes))
        return next((reason for reason in found if reason is not None), None)

    def evaluate(self, command: messages.Evaluate) -> float:
        """The user's metric over this session."""
        sys.path.insert(0, str(Path.cwd()))  # where `package.module:function` is looked for
        function = resolve(command.target)
        try:
            value = float(function(splitting(self.opened)))
        except FAULTS as error:
            raise ModelError(
                f"--eval {command.target} failed: {type(error).__name__}: {error}",
                hint="it is called with run({name: array}) -> {name: array} and returns a number, higher is better",
            ) from error
        if value != value:
            raise ModelError(f"--eval {command.target} gave NaN")
        return value

    def warm(self, command: messages.Warm) -> WarmUp:
        """Warm up; later blocks are planned from the latency seen."""
        if self.shapes > 1:
            mixed, self.by_shape_ns = warm_up_mixture(
                self.opened, self.timed, self.shapes, plan=command.plan, cost=self.cost
            )
            return mixed
        session = self.opened
        block = partial(measure_load, session) if isinstance(session, Instances) else partial(measure_block, session)
        result = warm_up(session, self.timed, plan=command.plan, cost=self.cost, block=block)
        self.latency_ns = result.latency_ns
        return result

    def measure(self, command: messages.Measure) -> Block:
        """One block."""
        if self.shapes > 1:
            mixed = plan_mixture(self.by_shape_ns, self.cost, after_stop=command.after_stop)
            return measure_mixture(self.opened, self.timed, plan=mixed, start=command.start, clock_ns=self.cost.call_ns)
        plan = plan_block(self.latency_ns, self.cost, after_stop=command.after_stop)
        session = self.opened
        if isinstance(session, Instances):
            return measure_load(session, self.timed, plan=plan, start=command.start, clock_ns=self.cost.call_ns)
        return measure_block(session, self.timed, plan=plan, start=command.start, clock_ns=self.cost.call_ns)

    def run_for(self, command: messages.Run) -> messages.Ran:
        """Run for a while: what the session keeps busy meanwhile is for others to see."""
        session, feeds = self.opened, itertools.cycle(self.timed)
        plan = replace(plan_block(self.latency_ns, self.cost), lead_in_runs=0)
        begin, runs = time.perf_counter(), 0
        while time.perf_counter() - begin < command.seconds or runs < 3:
            if isinstance(session, Instances):
                runs += len(measure_load(session, self.timed, plan=plan, start=runs).latency_ns)
            else:
                session.run(next(feeds))
                runs += 1
        return messages.Ran(runs=runs, seconds=time.perf_counter() - begin)


def splitting(session: Session) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """`session.run`, also for more items than an artefact of fixed batch takes: called in parts, answers joined.

    A metric is written against the model as given, whose batch may be free.
    """
    sizes = {spec.name: spec.shape[0] for spec in session.inputs if spec.shape and isinstance(spec.shape[0], int)}

    def run(feeds: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        counts = [divmod(len(value), sizes[name]) for name, value in feeds.items() if name in sizes and np.ndim(value)]
        parts = max((whole for whole, _ in counts), default=1)
        if parts <= 1 or any(rest for _, rest in counts):
            return session.run(feeds)  # items left over are for the runtime to refuse, not for us to drop
        answers = [
            session.run(
                {
                    name: value[part * sizes[name] : (part + 1) * sizes[name]] if name in sizes else value
                    for name, value in feeds.items()
                }
            )
            for part in range(parts)
        ]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    return run


def call(command: messages.Call) -> object:
    """The result of a function of ours."""
    return resolve(command.target)(*command.arguments, **dict(command.keywords))


def resolve(target: str) -> Callable[..., Any]:
    """`package.module:function`, or `path/to/file.py:function`, as a callable.

    Raises:
        ModelError: there is no such module or function.
    """
    place, _, name = target.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        function = getattr(module, name)
    except FAULTS as error:
        raise ModelError(
            f"cannot load {target}: {error}", hint="name it as package.module:function or path/to/file.py:function"
        ) from error
    if not callable(function):
        raise ModelError(f"{target} is not a function")
    return function  # type: ignore[no-any-return]


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise ImportError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(module)
    return module


def _recorded(path: Path) -> list[dict[str, Any]]:
    import pickle

    # Written by another worker of the same tuning into its private folder; never a file that a user names.
    answers: list[dict[str, Any]] = pickle.loads(path.read_bytes())  # noqa: S301
    return answers


def _commands(connection: Connection) -> Iterator[object]:
    while True:
        try:
            yield connection.recv()
        except EOFError:
            return


def serve(connection: Connection) -> None:
    """Answer commands until the tuner closes its end."""
    worker = Worker()
    for command in _commands(connection):
        try:
            answer = worker.answer(command)
        except (InferOptError, MemoryError) as error:
            answer = messages.Failed(error=error)
        connection.send(answer)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
