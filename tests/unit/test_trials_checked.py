"""What a trial is checked for: placement, parity, stale replays, the metric."""

import dataclasses
from collections.abc import Mapping

import pytest

from fakes import World, make_rig
from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.errors import ModelError
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.results import Caution, FailureKind, Placement, TrialFailure, TrialResult
from infer_opt.rig import Limits
from infer_opt.workers.messages import Check, CheckStale, Evaluate, Open
from made_trials import CUDA, FAILED_PARITY, QUANTISED, TRIED, failing, opened, run

# Placement


def test_a_provider_that_took_nothing_is_a_failed_trial() -> None:
    trial = failing(Open, opened([("CPUExecutionProvider", 40)]), CUDA)

    assert trial.kind is FailureKind.PLACEMENT
    assert trial.reason == "CUDAExecutionProvider took 0 of 40 nodes; 40 ran elsewhere"


def test_a_provider_that_took_a_part_says_how_much() -> None:
    nodes = [("CPUExecutionProvider", 4), ("CUDAExecutionProvider", 36)]

    trial = run(World(scripts={CUDA: {Open: opened(nodes)}}), CUDA)

    assert isinstance(trial, TrialResult)
    (note,) = trial.notes
    assert note.caution is Caution.PARTLY_ELSEWHERE
    assert note.text == "CUDAExecutionProvider took 36 of 40 nodes; 4 ran elsewhere"
    assert trial.placement == Placement(nodes=tuple(nodes))


# Parity


def test_wrong_answers_fail_the_trial_before_it_is_timed() -> None:
    world = World(scripts={TRIED: {Check: FAILED_PARITY}})

    trial = run(world)

    assert isinstance(trial, TrialFailure)
    assert (trial.kind, trial.parity) == (FailureKind.PARITY, FAILED_PARITY)
    assert trial.reason == "output y has cosine 0.7000 to stock"
    assert not world.spoken_to()


@pytest.mark.parametrize(
    ("config", "isa", "is_named"),
    [
        (QUANTISED, ("avx2",), True),
        (QUANTISED, ("avx2", "avx512_vnni"), False),
        (TrialConfig(recipe=Recipe(quantise=Quantisation(reduce_range=True))), ("avx2",), False),
        (TRIED, ("avx2",), False),
    ],
)
def test_saturation_is_named_where_it_is_the_likely_cause(
    config: TrialConfig, isa: tuple[str, ...], is_named: bool
) -> None:
    world = World(scripts={config: {Check: FAILED_PARITY}})
    machine = dataclasses.replace(make_rig(world).machine, isa=isa)

    trial = run(world, config, machine=machine)

    assert isinstance(trial, TrialFailure)
    assert ("has no VNNI" in trial.reason) is is_named


GRAPHED = TrialConfig(options=SessionOptions(provider=Provider.CUDA, cuda_graph=True))


def on_cuda(**answers: object) -> Mapping[type, object]:
    return {Open: opened([("CUDAExecutionProvider", 3)]), CheckStale: answers["stale"]}


def test_a_stale_replay_of_a_cuda_graph_is_caught() -> None:
    world = World(scripts={GRAPHED: on_cuda(stale="output y stays the same when the inputs change: a stale replay")})

    trial = run(world, GRAPHED)

    assert isinstance(trial, TrialFailure)
    assert trial.kind is FailureKind.STALE_OUTPUT
    assert "stale replay" in trial.reason


def test_only_cuda_graphs_are_suspected_of_stale_replays() -> None:
    world = World(scripts={GRAPHED: on_cuda(stale=None)})

    assert isinstance(run(world, GRAPHED), TrialResult)
    assert isinstance(run(world), TrialResult)
    assert [any(isinstance(c, CheckStale) for c in worker.asked) for worker in world.workers] == [
        False,
        True,
        False,
        False,
    ]


LABELLED = Limits(evaluation="evals.py:accuracy", max_drop=0.01)


@pytest.mark.parametrize(("metric", "passes"), [(0.95, True), (0.941, True), (0.99, True), (0.93, False)])
def test_the_metric_may_fall_by_no_more_than_allowed(metric: float, passes: bool) -> None:
    world = World(scripts={TRIED: {Evaluate: metric}})

    trial = run(world, limits=LABELLED, baseline_metric=0.95)

    assert isinstance(trial, TrialResult) is passes
    assert trial.parity is not None
    assert trial.parity.metric == metric
    assert trial.parity.drop == pytest.approx(0.95 - metric)
    if isinstance(trial, TrialFailure):
        assert trial.kind is FailureKind.PARITY
        assert trial.reason == "the metric falls from 0.95 to 0.93, by more than 0.01"


def test_a_metric_that_cannot_be_taken_is_a_failed_trial() -> None:
    trial = failing(Evaluate, ModelError("--eval failed"), limits=LABELLED, baseline_metric=0.95)

    assert trial.kind is FailureKind.ERROR


def test_without_a_metric_none_is_asked_for() -> None:
    world = World()
    run(world)

    assert not any(isinstance(command, Evaluate) for worker in world.workers for command in worker.asked)
