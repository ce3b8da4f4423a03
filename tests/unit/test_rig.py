import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import MODEL, MS, FakeRig, World, make_rig
from infer_opt.config import Objective, Provider, SessionOptions, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.results import Placement
from infer_opt.rig import BASELINE, CLONE, Rig, artefact_bytes, misplaced, require_placement
from infer_opt.workers.messages import Open, Opened, Warm
from infer_opt.workers.process import WorkerError, WorkerMemoryError
from infer_opt.workers.rounds import Entrant

STOCK = TrialConfig()
ONE, TWO = (TrialConfig(options=SessionOptions(intra_threads=count)) for count in (1, 2))
EVERYONE = {BASELINE: STOCK, CLONE: STOCK, "one": ONE, "two": TWO}


def enter(world: World, *, seed: int = 0, rig: FakeRig | None = None) -> tuple[dict[str, Entrant], dict[str, str]]:
    return (rig or make_rig(world)).enter(EVERYONE, random.Random(seed))


def opened(*nodes: tuple[str, int]) -> Opened:
    return Opened(
        open_ns=1,
        first_run_ns=1,
        placement=Placement(nodes=nodes),
        inputs=(),
        outputs=(),
        runtime_version="1.0",
    )


def test_everyone_who_enters_is_open_warm_and_stopped() -> None:
    world = World(latency_ns={ONE: 5.0 * MS})

    entrants, lost = enter(world)

    assert not lost
    assert {key: entrant.config for key, entrant in entrants.items()} == EVERYONE
    assert entrants["one"].latency_ns == 5 * MS
    assert all(worker.is_frozen and not worker.is_closed for worker in world.workers)


def test_stock_and_its_clone_are_two_processes() -> None:
    entrants, _ = enter(World())

    assert entrants[BASELINE].worker is not entrants[CLONE].worker


def test_warm_ups_are_made_one_at_a_time_with_all_others_stopped() -> None:
    world = World()
    enter(world)

    running: set[str] = set()
    for what, name in world.diary:
        if what == "Warm":
            assert not running
        if what == "freeze":
            running.discard(name)
        else:
            running.add(name)


def test_the_order_of_coming_up_is_random_and_given_by_the_seed() -> None:
    def order(seed: int) -> tuple[str, ...]:
        world = World()
        enter(world, seed=seed)
        return tuple(name.partition("#")[0] for what, name in world.diary if what == "Open")

    orders = {order(seed) for seed in range(40)}

    assert order(3) == order(3)
    assert len(orders) > 15  # of 24
    assert {one[0] for one in orders} == set(EVERYONE)


@pytest.mark.parametrize("command", [Open, Warm])
@pytest.mark.parametrize("error", [WorkerMemoryError("killed"), ModelError("no such operator")])
def test_one_that_does_not_come_up_is_lost_with_its_reason_and_the_others_enter(
    command: type, error: Exception
) -> None:
    world = World(scripts={ONE: {command: error}})

    entrants, lost = enter(world)

    assert lost == {"one": str(error)}
    assert set(entrants) == {BASELINE, CLONE, "two"}
    assert {worker.name.partition("#")[0]: worker.is_closed for worker in world.workers} == {
        BASELINE: False,
        CLONE: False,
        "one": True,
        "two": False,
    }


def test_one_whose_worker_cannot_even_be_started_is_lost_and_the_others_enter() -> None:
    class Brittle(FakeRig):
        __slots__ = ()

        def start(self, config: TrialConfig, generator: random.Random, *, key: str = "") -> Any:
            if config == ONE:
                raise WorkerError("the worker crashed at once")
            return FakeRig.start(self, config, generator, key=key)

    world = World()
    rig = make_rig(world)
    brittle = Brittle(**{name: getattr(rig, name) for name in rig.__dataclass_fields__})

    entrants, lost = enter(world, rig=brittle)

    assert lost == {"one": "the worker crashed at once"}
    assert set(entrants) == {BASELINE, CLONE, "two"}


@pytest.mark.parametrize("command", [Open, Warm])
def test_without_stock_nobody_enters_and_no_worker_is_left(command: type) -> None:
    world = World(scripts={STOCK: {command: WorkerError("crashed")}})

    with pytest.raises(ModelError, match="the stock session did not come up again: crashed"):
        enter(world)

    assert len(world.workers) == 4
    assert all(worker.is_closed for worker in world.workers)


def test_an_interrupt_while_entering_leaves_no_worker() -> None:
    def interrupt(command: object, times: int) -> object:
        raise KeyboardInterrupt

    world = World(scripts={TWO: {Warm: interrupt}})

    with pytest.raises(KeyboardInterrupt):
        enter(world)

    assert all(worker.is_closed for worker in world.workers)


def test_a_provider_that_took_nothing_is_lost() -> None:
    world = World(scripts={ONE: {Open: opened(("CUDAExecutionProvider", 0), ("XYZ", 3))}})

    _, lost = enter(world)

    assert lost == {"one": "CPUExecutionProvider took 0 of 3 nodes; 3 ran elsewhere"}


def test_cuda_sessions_warm_up_longer() -> None:
    rig = make_rig(World())
    cuda = TrialConfig(options=SessionOptions(provider=Provider.CUDA))

    plans = rig.warm_up_plan(STOCK, 5.0), rig.warm_up_plan(cuda)

    assert (plans[0].least_ns, plans[0].cap_ns, plans[0].drop_above_ns) == (200 * MS, 3000 * MS, 5.0)
    assert (plans[1].least_ns, plans[1].cap_ns, plans[1].drop_above_ns) == (500 * MS, 10_000 * MS, None)


# Placement


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ((("CUDAExecutionProvider", 12),), None),
        ((("CUDAExecutionProvider", 10), ("CPUExecutionProvider", 2)), "took 10 of 12 nodes; 2 ran elsewhere"),
        ((("CPUExecutionProvider", 12),), "took 0 of 12 nodes; 12 ran elsewhere"),
        ((), None),  # an empty graph has no node to misplace
    ],
)
def test_nodes_that_ran_elsewhere_are_counted(nodes: Any, sentence: str | None) -> None:
    found = misplaced(Placement(nodes=nodes), Provider.CUDA)

    assert found == (None if sentence is None else f"CUDAExecutionProvider {sentence}")


def test_a_runtime_without_a_record_is_believed() -> None:
    assert misplaced(None, Provider.CUDA) is None
    require_placement(None, Provider.CUDA)


def test_a_session_is_refused_only_when_its_provider_took_nothing() -> None:
    require_placement(Placement(nodes=(("CUDAExecutionProvider", 1), ("CPUExecutionProvider", 99))), Provider.CUDA)
    with pytest.raises(ModelError, match="took 0 of 12 nodes"):
        require_placement(Placement(nodes=(("CPUExecutionProvider", 12),)), Provider.CUDA)


# Artefacts


def test_the_size_of_an_artefact_holds_its_external_data(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x" * 10)
    (tmp_path / "model.onnx.data").write_bytes(b"x" * 90)
    (tmp_path / "artefact.json").write_bytes(b"x" * 7)

    assert artefact_bytes(tmp_path / "model.onnx") == 100


def test_the_model_as_given_needs_no_building() -> None:
    rig = make_rig(World())

    assert Rig.artefact(rig, STOCK) == rig.model  # there is no cache that it could ask


# Objectives that a process shows as a whole


def test_blocks_decide_where_time_a_call_is_the_objective() -> None:
    entrants, _ = enter(World())

    assert {entrant.shown for entrant in entrants.values()} == {None}


@pytest.mark.parametrize(("objective", "shown"), [(Objective.COLD_START, 89e6), (Objective.MEMORY, 200e6)])
def test_a_process_shows_its_cold_start_or_its_peak_memory(objective: Objective, shown: float) -> None:
    world = World()
    entrants, _ = enter(world, rig=make_rig(world, objective=objective))

    assert {entrant.shown for entrant in entrants.values()} == {shown}


def most_opening(world: World) -> int:
    """How many were open for the first time at once, none of them stopped yet."""
    opening: set[str] = set()
    most = 0
    for what, name in world.diary:
        if what == "Open":
            opening.add(name)
            most = max(most, len(opening))
        elif what == "freeze":
            opening.discard(name)
    return most


def test_cold_starts_are_made_one_at_a_time() -> None:
    world = World()
    enter(world, rig=make_rig(world, objective=Objective.COLD_START))

    assert most_opening(world) == 1


@pytest.mark.parametrize(
    ("provider", "operator", "most"),
    [(Provider.CUDA, "Conv", 1), (Provider.CUDA, "MatMul", 2), (Provider.CPU, "Conv", 2)],
)
def test_a_first_run_that_times_kernels_has_the_gpu_to_itself(provider: Provider, operator: str, most: int) -> None:
    config = TrialConfig(options=SessionOptions(provider=provider))
    world = World(scripts={config: {Open: opened((f"{provider.upper()}ExecutionProvider", 3))}})
    rig = make_rig(world, facts=replace(MODEL, operators=((operator, 1),)))

    rig.enter({BASELINE: config, CLONE: config}, random.Random(0))

    assert most_opening(world) == most


def test_a_disturbed_cold_start_discards_the_rounds_of_its_epoch_and_a_disturbed_round_does_not() -> None:
    world = World()
    calls = iter(["something else ran", *[None] * 3, *["something else ran"] * 9])
    rig = make_rig(world, objective=Objective.COLD_START, watch=lambda pids: lambda: next(calls))
    entrants, _ = enter(world, rig=rig)

    assert rig.round(entrants, 0, random.Random(0)).discarded == "something else ran"
    assert (
        rig.round({"one": next(e for e in entrants.values() if e.disturbed is None)}, 0, random.Random(0)).discarded
        is None
    )


def test_energy_is_the_joules_of_an_item_over_a_while_of_runs() -> None:
    world = World()
    counter = iter([100.0, 125.0, 150.0] * 4)  # before, in the middle, after

    class Meter:
        name = "meter"

        def read(self, pids: Sequence[int]) -> dict[str, float | None]:
            return {"gpu[0].energy_joules": next(counter)}

        def close(self) -> None:
            pass

    config = TrialConfig(options=SessionOptions(provider=Provider.CUDA))
    scripts: dict[TrialConfig, dict[type, object]] = {config: {Open: opened(("CUDAExecutionProvider", 3))}}
    world = World(scripts=scripts)
    rig = make_rig(world, objective=Objective.ENERGY, device=Meter())

    entrants, lost = rig.enter({BASELINE: config, CLONE: config}, random.Random(0))

    assert not lost
    assert [entrant.shown for entrant in entrants.values()] == [0.5, 0.5]  # 50 J over 100 runs


def test_what_cannot_be_read_is_said_and_not_taken_for_nothing() -> None:
    world = World()

    with pytest.raises(ModelError, match="energy of a process cannot be read"):
        enter(world, rig=make_rig(world, objective=Objective.ENERGY))
