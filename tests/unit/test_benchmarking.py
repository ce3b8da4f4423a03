"""The whole verb over fake workers: only the set-up, which inspects real files, is put in its place."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fakes import MACHINE, MODEL, MS, World, make_rig, make_setup
from infer_opt import bundle
from infer_opt.benchmarking import MOST_PROCESSES, NO_CLAIM, bench
from infer_opt.budget import Budget
from infer_opt.config import Objective, SessionOptions, TrialConfig
from infer_opt.errors import ConfigError, EvidenceError, ModelError, UnavailableError
from infer_opt.recipes import Quantisation, Recipe
from infer_opt.request import Request
from infer_opt.results import Benchmark, Caution, Parity, Progress, Verdict
from infer_opt.setting_up import Setup
from infer_opt.workers.messages import Check, Measure, Open
from infer_opt.workers.process import WorkerError
from infer_opt.workers.rounds import Watch, never_disturbed

STOCK = TrialConfig()
TUNED = TrialConfig(options=SessionOptions(intra_threads=1))
QUANTISED = TrialConfig(recipe=Recipe(quantise=Quantisation()), options=SessionOptions(intra_threads=1))
OPENED = dataclasses.replace(QUANTISED, recipe=Recipe())  # nothing more is done to the finished file


class Bench:
    """`infer-opt bench` in a world of fake workers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("INFER_OPT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("infer_opt.benchmarking.set_up", self._set_up)
        self.folder = tmp_path
        self.world = World(process_effect=0.002, noise=0.01)
        self.watch: Watch = never_disturbed
        self.requests: list[Request] = []
        self.facts = MODEL
        self.machine = dataclasses.replace(MACHINE, isa=("avx2",))

    def _set_up(self, request: Request, *rest: object, budget_s: float, exports: bool) -> Setup:
        self.requests.append(request)
        rig = make_rig(self.world, watch=self.watch, facts=self.facts, model=request.model, machine=self.machine)
        batches = request.batches
        rig = dataclasses.replace(
            rig,
            objective=request.objective,
            feeds={batch: Path(f"f{batch}") for batch in batches},
            references={batch: Path(f"/nowhere/r{batch}") for batch in batches},
        )
        return make_setup(rig)

    def run(self, subject: Path, against: Path | None = None, **changes: Any) -> Benchmark:
        seen: list[Progress] = []
        found = bench(Request(model=subject, **changes), against, budget=Budget(total_s=1e6), show=seen.append)
        assert seen
        assert all(worker.is_closed for worker in self.world.workers)
        return found

    def model(self, name: str = "model.onnx") -> Path:
        path = self.folder / name
        path.write_bytes(name.encode())
        return path

    def bundle(self, config: TrialConfig, *, baseline: TrialConfig = STOCK, **changes: Any) -> Path:
        """A bundle whose claim is a speed-up of 1.25, which a new measurement finds between 1.2 and 1.3."""
        original = self.model("original.onnx")
        record = {
            "verdict": "faster",
            "baseline": {"config": baseline.to_dict()},
            "speedup": {"estimate": 1.25, "low": 1.22, "high": 1.28, "remeasure_low": 1.2, "remeasure_high": 1.3},
            "comparison": {"epochs": [-0.22] * 4},
            "model": {"path": str(original), "content_hash": MODEL.content_hash},
            "dims": {"seq": 64},
        }
        settings: dict[str, Any] = {
            "name": "m",
            "summary": "s",
            "config": config,
            "files": (self.model("artefact.onnx"),),
            "default": (),
            "samples": None,
            "runtime_version": "1.32.0",
            "isa": ("avx2",),
            "record": record | changes.pop("record", {}),
            "inputs": MODEL.inputs,
            "outputs": MODEL.outputs,
            "picture": "<svg/>",
        }
        bundle.write(self.folder / "bundle", bundle.Contents(**(settings | changes)))
        return self.folder / "bundle"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


def cautions(found: Benchmark) -> set[Caution]:
    return {note.caution for note in found.notes}


# One configuration


def test_a_bundle_for_throughput_is_held_to_its_claim_at_its_own_batch(table: Bench) -> None:
    served = TrialConfig(options=SessionOptions(intra_threads=1), batch=8, instances=2)
    table.world.latency_ns = {STOCK: 1.0 * MS, served: 8.0 * MS / 1.25}

    found = table.run(table.bundle(served, record={"objective": "throughput"}))

    (asked,) = table.requests
    assert (asked.objective, asked.batches) == (Objective.THROUGHPUT, (1, 8))
    assert found.claim == "1.25x the throughput of stock; a new measurement gives 1.2 to 1.3"
    assert found.claim_holds


def test_one_model_is_known_by_its_median_over_fresh_processes(table: Bench) -> None:
    table.world.latency_ns = {STOCK: 3.0 * MS}

    found = table.run(table.model())

    assert found.median_ns is not None
    assert found.median_ns.value == pytest.approx(3 * MS, rel=0.01)
    assert found.median_ns.low < 3 * MS < found.median_ns.high
    assert found.trial.readings.items_per_s == pytest.approx(333.3, rel=0.01)
    assert (found.comparison, found.reference, found.claim, found.claim_holds) == (None, None, None, None)
    assert cautions(found) == set()
    assert found.processes is not None
    assert found.processes >= 5
    assert len(table.world.workers) == 1 + found.processes


def test_a_median_that_stays_uncertain_is_measured_longer_and_then_said_to_be(table: Bench) -> None:
    table.world.process_effect = 0.1

    found = table.run(table.model())

    assert found.processes == MOST_PROCESSES
    assert cautions(found) == {Caution.IMPRECISE}


def test_too_few_processes_for_a_claim_are_provisional(table: Bench) -> None:
    # Asked before each process, besides the beginning and the end of one.
    table.world.process_effect = 0.1
    moments = iter([0.0] * 12)

    found = bench(
        Request(model=table.model()),
        None,
        budget=Budget(total_s=50.0, clock=lambda: next(moments, 100.0)),
        show=lambda progress: None,
    )

    assert found.processes is not None
    assert found.processes < 5
    assert Caution.PROVISIONAL in cautions(found)


def test_an_interrupt_before_the_first_process_is_an_error(table: Bench) -> None:
    budget = Budget(total_s=60.0)
    budget.interrupt()

    with pytest.raises(EvidenceError, match="no process was measured"):
        bench(Request(model=table.model()), None, budget=budget, show=lambda progress: None)
    assert all(worker.is_closed for worker in table.world.workers)


def test_disturbed_rounds_of_one_model_do_not_count(table: Bench) -> None:
    number = -1

    def watch(pids: Sequence[int]) -> Callable[[], str | None]:
        nonlocal number
        number += 1
        # Every second round is disturbed, and twice as slow.
        reason = "steal" if number % 2 else None
        table.world.latency_ns = {STOCK: (2.0 if reason else 1.0) * MS}
        return lambda: reason

    table.watch = watch

    found = table.run(table.model())

    assert found.median_ns is not None
    assert found.median_ns.value == pytest.approx(MS, rel=0.02)


def test_a_batch_is_measured_as_a_batch(table: Bench) -> None:
    table.world.latency_ns = {TrialConfig(batch=8): 4.0 * MS}

    found = table.run(table.model(), batches=(8,))

    assert table.requests[0].batches == (8,)
    assert found.trial.readings.items_per_s == pytest.approx(2000.0, rel=0.02)


# Two models


def test_two_models_are_compared_in_fresh_paired_processes(table: Bench) -> None:
    found = table.run(table.model("new.onnx"), table.model("old.onnx"))

    assert found.comparison is not None
    assert found.comparison.verdict in (Verdict.EQUIVALENT, Verdict.INCONCLUSIVE)
    assert (found.claim, found.claim_holds) == (None, None)
    assert (Path(found.subject).name, Path(found.reference or "").name) == ("new.onnx", "old.onnx")
    assert table.requests[0].model.name == "old.onnx"  # its inputs and outputs are the reference's


def test_the_files_of_both_models_are_opened_and_not_one_of_them_twice(table: Bench) -> None:
    table.run(table.model("new.onnx"), table.model("old.onnx"))

    opened = [
        (worker.name.partition("#")[0], command.artefact.name)
        for worker in table.world.workers
        for command in worker.asked
        if isinstance(command, Open)
    ]
    assert set(opened[:2]) == {("trial", "old.onnx"), ("trial", "new.onnx")}  # stock, then the screen
    assert set(opened[2:]) == {("subject", "new.onnx"), ("baseline", "old.onnx"), ("clone", "old.onnx")}


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.8, Verdict.FASTER), (1.25, Verdict.SLOWER), (1.0, Verdict.EQUIVALENT)]
)
def test_a_bundle_against_a_model_has_a_verdict_and_no_claim(table: Bench, ratio: float, verdict: Verdict) -> None:
    table.world.latency_ns = {TUNED: ratio * MS}

    found = table.run(table.bundle(TUNED), table.model())

    assert found.comparison is not None
    assert found.comparison.verdict is verdict
    assert (found.claim, found.claim_holds) == (None, None)


def test_outputs_that_differ_are_reported_and_no_reason_to_refuse(table: Bench) -> None:
    parity = Parity(score=-0.4, passed=True, outputs=(), samples=8)
    table.world.scripts = {TUNED: {Check: parity}}

    found = table.run(table.bundle(TUNED), table.model())

    assert found.parity == parity
    (check,) = {c.tolerance for w in table.world.workers if w.config == TUNED for c in w.asked if isinstance(c, Check)}
    assert check == -math.inf, "a cosine may be negative"


def test_a_subject_that_does_not_run_is_an_error_with_both_names(table: Bench) -> None:
    table.world.scripts = {TUNED: {Open: ModelError("no kernel")}}

    with pytest.raises(ModelError, match=r"bundle cannot be compared with .*model\.onnx: no kernel"):
        table.run(table.bundle(TUNED), table.model())


def test_a_subject_that_dies_in_the_comparison_is_an_error(table: Bench) -> None:
    def dies_later(command: object, times: int) -> object:
        return WorkerError("killed for memory") if len(table.world.workers) > 3 else ...

    table.world.scripts = {TUNED: {Measure: dies_later}}

    with pytest.raises(EvidenceError, match="no comparison: killed for memory"):
        table.run(table.bundle(TUNED), table.model())


# A bundle's own claim


@pytest.mark.parametrize(
    ("speedup", "holds"),
    [
        (1.25, True),
        (1.29, True),  # inside of what the bundle printed for a new measurement
        (1.0, False),
        (0.8, False),
        (2.0, False),  # not what was claimed either
    ],
)
def test_a_bundle_is_held_to_its_own_claim(table: Bench, speedup: float, holds: bool) -> None:
    table.world.latency_ns = {TUNED: MS / speedup}

    found = table.run(table.bundle(TUNED))

    assert found.claim_holds is holds
    assert found.claim == "1.25x faster than stock; a new measurement gives 1.2 to 1.3"


def test_a_claim_that_noise_hides_cannot_be_told(table: Bench) -> None:
    table.world = World(process_effect=0.06, noise=0.05, latency_ns={TUNED: MS / 1.16})

    found = table.run(table.bundle(TUNED))

    assert found.claim is not None
    assert found.claim_holds is None


def test_a_claim_is_measured_over_as_many_epochs_as_it_rests_on(table: Bench) -> None:
    table.world.latency_ns = {TUNED: 0.8 * MS}

    few = table.run(table.bundle(TUNED))
    many = table.run(table.bundle(TUNED, record={"comparison": {"epochs": [-0.22] * 9}}))

    assert few.comparison is not None
    assert many.comparison is not None
    assert (len(few.comparison.epochs), len(many.comparison.epochs)) == (4, 9)


def test_a_bundle_is_compared_with_the_stock_that_its_claim_names(table: Bench) -> None:
    # The graph as given: its own artefact with stock settings is what it was compared with.
    found = table.run(table.bundle(TUNED))

    assert found.reference_trial is not None
    assert (found.trial.config, found.reference_trial.config) == (TUNED, STOCK)
    assert table.requests[0].model.name == "model.onnx"


def test_a_changed_graph_is_compared_with_the_original_file(table: Bench) -> None:
    table.world.latency_ns = {OPENED: 0.8 * MS}

    found = table.run(table.bundle(QUANTISED))

    assert table.requests[0].model.name == "original.onnx"
    assert found.claim_holds
    assert found.trial.config == QUANTISED  # what the bundle is, not how its file was opened


def test_the_default_inside_of_a_bundle_is_preferred_to_the_original_outside(table: Bench) -> None:
    table.run(table.bundle(QUANTISED, default=(table.model("kept.onnx"),)))

    assert table.requests[0].model.parts[-2:] == ("default", "model.onnx")


def test_an_original_that_is_gone_must_be_named(table: Bench) -> None:
    folder = table.bundle(QUANTISED)
    (table.folder / "original.onnx").unlink()

    with pytest.raises(ConfigError, match=r"is not at .*original\.onnx") as caught:
        table.run(folder)

    assert "--keep-default" in str(caught.value.hint)


def test_an_original_that_was_changed_since_is_no_reference_for_a_claim(table: Bench) -> None:
    folder = table.bundle(QUANTISED)
    table.facts = dataclasses.replace(MODEL, content_hash="retrained")

    with pytest.raises(ConfigError, match=r"original\.onnx was changed since"):
        table.run(folder)


def test_a_bundle_of_stock_makes_no_claim_and_is_measured_alone(table: Bench) -> None:
    found = table.run(table.bundle(STOCK, record={"verdict": "no-faster"}))

    assert (found.claim, found.claim_holds, found.comparison) == (NO_CLAIM, None, None)
    assert found.median_ns is not None


def test_a_bundle_brings_its_sizes_and_its_samples_unless_the_user_names_others(table: Bench, tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    samples.write_bytes(b"fed by fakes")
    folder = table.bundle(TUNED, samples=samples)

    table.run(folder)
    table.run(folder, dims={"seq": 8})
    table.run(folder, inputs=Path("mine.npz"))

    own, sized, given = table.requests
    assert (own.ready_feeds, dict(own.dims)) == (folder / "samples.npz", {"seq": 64})
    assert (sized.ready_feeds, dict(sized.dims)) == (None, {"seq": 8})
    assert (given.ready_feeds, given.inputs) == (None, Path("mine.npz"))


def test_a_bundle_brings_its_distribution_unless_the_user_names_sizes(table: Bench) -> None:
    shares = {"time": [[16, 0.75], [128, 0.25]]}
    folder = table.bundle(TUNED, record={"distributions": shares})

    table.run(folder)
    table.run(folder, dims={"seq": 8})
    table.run(folder, inputs=Path("mine.npz"))
    table.run(folder, distributions={"time": ((8, 0.5), (16, 0.5))})

    own, sized, given, other = [dict(request.distributions) for request in table.requests]
    assert own == given == {"time": ((16, 0.75), (128, 0.25))}
    assert sized == {}
    assert other == {"time": ((8, 0.5), (16, 0.5))}


def test_a_bundle_that_only_fills_up_inputs_is_compared_with_stock_on_its_own_file(table: Bench) -> None:
    padded = TrialConfig(recipe=Recipe(buckets=(("seq", (128,)),)))
    table.world.latency_ns = {padded: 0.8 * MS}

    found = table.run(table.bundle(padded))

    assert table.requests[0].model.name == "model.onnx"
    assert found.claim_holds
    assert found.trial.config == padded
    assert {worker.config for worker in table.world.workers} == {STOCK, padded}, "it is measured as it is applied"


# What load would refuse


def test_a_changed_bundle_is_refused_before_anything_is_measured(table: Bench) -> None:
    folder = table.bundle(TUNED)
    (folder / "model.onnx").write_bytes(b"other weights")

    with pytest.raises(ModelError, match="is not the file that was measured"):
        table.run(folder)
    assert table.requests == []


def test_a_bundle_that_would_give_wrong_answers_here_is_not_measured(table: Bench) -> None:
    with pytest.raises(UnavailableError, match="saturate"):
        table.run(table.bundle(QUANTISED, isa=("avx2", "avx512_vnni")))
    assert table.world.workers == []


def test_a_bundle_from_elsewhere_is_measured_with_the_cautions_that_load_gives(table: Bench) -> None:
    found = table.run(table.bundle(TUNED, isa=("avx2", "avx512f"), runtime_version="1.2.3"))
    alone = table.run(table.bundle(STOCK, runtime_version="1.2.3"))

    assert cautions(found) >= {Caution.OTHER_MACHINE, Caution.OTHER_RUNTIME}
    assert Caution.OTHER_RUNTIME in cautions(alone)


# PyTorch models

EAGER = TrialConfig(runtime="torch")


def test_the_onnx_winner_of_a_pytorch_model_is_compared_with_the_program_in_its_bundle(table: Bench) -> None:
    kept = table.model("kept.pt2")
    table.facts = dataclasses.replace(MODEL, content_hash="a program's, not that of its ONNX file")

    found = table.run(table.bundle(STOCK, baseline=EAGER, default=(kept,)))

    assert table.requests[0].model.parts[-2:] == ("default", "model.pt2")
    assert table.requests[0].runtime == "torch"
    assert found.reference_trial is not None
    assert found.reference_trial.config == EAGER


def test_a_program_is_opened_by_pytorch(table: Bench) -> None:
    found = table.run(table.model("net.pt2"))

    assert found.trial.config == EAGER


def test_a_function_is_measured_by_its_bundle_alone(table: Bench) -> None:
    with pytest.raises(ConfigError, match="is a function"):
        bench(Request(model=Path("nets:make_net")), None, budget=Budget(total_s=1.0), show=lambda progress: None)
