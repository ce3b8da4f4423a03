"""One epoch of the ladder, on workers that are not there."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from scripts.ladder import arena
from scripts.ladder.arena import MINIATURE, Effort, hold

from fakes import MS, FakeRig, World, make_rig
from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.results import Parity, Placement
from infer_opt.rig import BASELINE, CLONE
from infer_opt.workers.messages import Check, CheckStale, Measure, Open, Opened
from infer_opt.workers.process import WorkerMemoryError

STOCK = TrialConfig()
QUICK = TrialConfig(options=SessionOptions(io_binding=True))
CONFIGS = {BASELINE: STOCK, CLONE: STOCK, "quick": QUICK}
WRONG = Parity(score=0.5, passed=False, outputs=(), samples=4, reason="output y has cosine 0.5000 to stock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig(FakeRig):
    effort: Effort = field(default_factory=lambda: MINIATURE)


def held(world: World, *, is_first: bool = True, configs: Mapping[str, TrialConfig] = CONFIGS, **changes: Any) -> Any:
    made = make_rig(world, **changes)
    rig = Rig(**{name: getattr(made, name) for name in made.__dataclass_fields__})
    return hold(rig, configs, random.Random(1), is_first=is_first)  # type: ignore[arg-type]


def test_an_epoch_gives_ratios_to_stock_and_agreement_and_leaves_nobody_alive() -> None:
    world = World(latency_ns={QUICK: 0.5 * MS, STOCK: 1.0 * MS})

    epoch = held(world)

    assert set(epoch.seen) == set(CONFIGS)
    assert epoch.seen["quick"].latency_ns == pytest.approx(0.5 * MS, rel=0.2)
    assert epoch.seen["quick"].log_ratio < epoch.seen[CLONE].log_ratio
    assert epoch.seen["quick"].parity is not None
    assert epoch.rounds == MINIATURE.rounds
    assert all(worker.is_closed for worker in world.workers)


def test_agreement_is_looked_at_in_the_first_epoch_alone() -> None:
    epoch = held(World(), is_first=False)

    assert epoch.seen["quick"].parity is None


def test_who_disagrees_is_out_before_anything_is_timed() -> None:
    world = World(scripts={QUICK: {Check: WRONG}})

    epoch = held(world)

    assert set(epoch.seen) == {BASELINE, CLONE}
    assert epoch.lost == {"quick": "output y has cosine 0.5000 to stock"}


def test_a_graph_that_replays_old_outputs_is_out() -> None:
    graphed = TrialConfig(options=SessionOptions(provider=Provider.CUDA, cuda_graph=True))
    placed = Opened(
        open_ns=1,
        first_run_ns=1,
        placement=Placement(nodes=(("CUDAExecutionProvider", 3),)),
        inputs=(),
        outputs=(),
        runtime_version="1",
    )
    world = World(scripts={graphed: {Open: placed, CheckStale: "outputs do not change when inputs do"}})

    epoch = held(world, configs={BASELINE: STOCK, CLONE: STOCK, "graph": graphed})

    assert "outputs do not change" in epoch.lost["graph"]


@pytest.mark.parametrize("command", [Open, Measure])
def test_who_runs_out_of_memory_is_out_and_the_others_go_on(command: type) -> None:
    world = World(scripts={QUICK: {command: WorkerMemoryError("the device has too little memory")}})

    epoch = held(world)

    assert epoch.lost == {"quick": "the device has too little memory"}
    assert set(epoch.seen) == {BASELINE, CLONE}


def test_without_stock_there_is_no_epoch() -> None:
    world = World(scripts={STOCK: {Open: ModelError("no kernel")}})

    with pytest.raises(ModelError, match="no kernel"):
        held(world)

    assert all(worker.is_closed for worker in world.workers)


def test_disturbed_rounds_are_left_out_while_enough_are_left() -> None:
    disturbed = iter([None, "gpu", None, None, None, None])

    epoch = held(World(), watch=lambda pids: lambda: next(disturbed))

    assert (epoch.rounds, epoch.discarded, epoch.is_disturbed) == (6, ("gpu",), False)


def test_an_epoch_that_was_disturbed_throughout_says_so() -> None:
    epoch = held(World(), watch=lambda pids: lambda: "thermal")

    assert epoch.is_disturbed
    assert len(epoch.discarded) == epoch.rounds
    assert epoch.seen["quick"].latency_ns > 0


class Freeing:
    """A GPU whose used memory falls as processes end, and which lists none of them."""

    name = "freeing"

    def __init__(self, world: World, each: int) -> None:
        self._world, self._each = world, each

    def read(self, pids: Sequence[int]) -> Mapping[str, float | None]:
        alive = sum(not worker.is_closed for worker in self._world.workers)
        return {arena.USED: float(1 << 30) + alive * self._each, "gpu[0].process_memory_bytes": None}

    def close(self) -> None:
        pass


def test_memory_is_what_is_freed_at_the_end_where_the_driver_lists_no_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arena, "usage", lambda *arguments, **keywords: None)
    world = World()

    epoch = held(world, device=Freeing(world, 600 << 20))

    assert {one.memory_bytes for one in epoch.seen.values()} == {600 << 20}
    assert {one.memory_from for one in epoch.seen.values()} == {"freed at its end"}
