"""What stands in the stored databases. `python tests/store_files/contents.py FILE` writes one in the current schema.

`v1.db` was written by schema 0001, `v2.db` by 0002, `v3.db` by 0003, with a whole tuning beside the others. They are
never written again: they show that databases of users can still be opened.
"""

import sys

from golden.tunings import FASTER
from infer_opt.config import Provider, SessionOptions, Spin, TrialConfig
from infer_opt.recipes import Calibration, GraphLevel, Quantisation, Recipe, WeightType
from infer_opt.reports.documents import tuning_document
from infer_opt.results import (
    Block,
    Caution,
    FailureKind,
    Note,
    OutputParity,
    Parity,
    Placement,
    Quantile,
    Readings,
    Trial,
    TrialFailure,
    TrialResult,
)
from infer_opt.store.database import Store

READINGS = Readings(
    quantiles=(
        Quantile(q=0.5, value_ns=2_100_000.5, low_ns=2_050_000.0, high_ns=2_200_000.0),
        Quantile(q=0.99, value_ns=None, missing_runs=310),
    ),
    items_per_s=476.19,
    open_ns=81_000_000,
    first_run_ns=9_000_000,
    artefact_bytes=1_234_567,
    peak_rss_bytes=210_000_000,
    steady_rss_bytes=190_000_000,
    device_memory_bytes=512_000_000,
    cpu_cores_running=1.9,
    cpu_cores_after=0.7,
    gpu_utilisation=0.42,
    power_watts=71.5,
    energy_joules=0.15,
)

PARITY = Parity(
    score=0.9991,
    passed=True,
    outputs=(
        OutputParity(
            name="logits",
            cosine=0.9991,
            relative_l2=0.02,
            largest_difference=0.3,
            top1=1.0,
            agreement=0.5,
            problem="close call",
        ),
    ),
    samples=8,
    metric=0.97,
    drop=0.002,
    reason="within tolerance",
)

FULL = TrialResult(
    config=TrialConfig(
        recipe=Recipe(
            normalise=True,
            fixed_shapes=True,
            fuse="bert",
            quantise=Quantisation(
                calibration=Calibration.ENTROPY, per_channel=True, reduce_range=True, weight_type=WeightType.UINT8
            ),
            saved_level=GraphLevel.EXTENDED,
        ),
        options=SessionOptions(
            provider=Provider.CUDA,
            intra_threads=2,
            inter_threads=1,
            spin=Spin.RUNS,
            parallel=True,
            io_binding=True,
            graph_level=GraphLevel.BASIC,
            cuda_graph=True,
            cudnn_search="HEURISTIC",
            tf32=True,
            nhwc=False,
        ),
        batch=8,
    ),
    readings=READINGS,
    parity=PARITY,
    log_ratio=-0.65,
    log_ratio_error=0.0123,
    blocks=(Block(latency_ns=(2_100_000, 2_099_999, 2_200_001)), Block(latency_ns=()), Block(latency_ns=(2**62,))),
    placement=Placement(nodes=(("CUDAExecutionProvider", 61), ("CPUExecutionProvider", 2))),
    notes=(Note(caution=Caution.NO_STEADY_STATE, text="still drifting after 3 s"),),
)

FAILED = TrialFailure(
    config=TrialConfig(recipe=Recipe(quantise=Quantisation())),
    kind=FailureKind.PARITY,
    reason="cosine 0.61 is below 0.99",
    parity=Parity(
        score=0.0,
        passed=False,
        outputs=(OutputParity(name="y", cosine=0.61, relative_l2=float("inf"), largest_difference=None),),
        samples=1,
    ),
    readings=READINGS,
)

STOCK = TrialResult(
    config=TrialConfig(),
    readings=Readings(quantiles=(), items_per_s=200.0, open_ns=1, first_run_ns=2, artefact_bytes=3),
    parity=Parity(score=1.0, passed=True, outputs=(), samples=0),
    log_ratio=0.0,
    log_ratio_error=0.0,
    blocks=(),
)

HUNG = TrialFailure(
    config=TrialConfig(options=SessionOptions(spin=Spin.NEVER)), kind=FailureKind.TIMEOUT, reason="no answer in 30 s"
)

TRIALS: tuple[Trial, ...] = (STOCK, FULL, FAILED, HUNG)
REQUEST_KEY = "model-and-options"
SUBJECT_KEY = "model-on-machine"
REQUEST = {"model": "model.onnx", "batch": [1, 8]}
ROUND = {"round": 3, "values": {"a": [0.1, -0.2]}}
EPOCH = {
    "values": {"clone": 0.002, FASTER.winner.config.key: -0.83},
    "blocks": {
        name: [{"latency_ns": [value, value + 1_000], "spacing_ns": None, "shapes": []} for value in values]
        for name, values in (
            ("baseline", (26_400_000, 26_500_000)),
            ("clone", (26_450_000, 26_350_000)),
            (FASTER.winner.config.key, (11_400_000, 11_300_000)),
        )
    },
    "rounds": 2,
    "discarded": 0,
    "setup_s": 1.5,
    "cost_s": 2.5,
}
RESULT = {"verdict": "faster", "speedup": {"estimate": 1.92}}


def write(url: str) -> None:
    """One finished tuning and one that was cut off."""
    with Store.open(url) as store:
        finished = store.begin(REQUEST_KEY, REQUEST, subject_key=SUBJECT_KEY)
        for trial in TRIALS:
            store.save_trial(finished, trial, phase="screen")
        store.save_rounds(finished, "race", 0, ROUND)
        store.finish(finished, RESULT)
        store.save_trial(store.begin(REQUEST_KEY, REQUEST, subject_key=SUBJECT_KEY), STOCK, phase="screen")


def write_whole(url: str) -> None:
    """A tuning as `tune` leaves it: its document, its trials and an epoch of its confirmation."""
    with Store.open(url) as store:
        whole = store.begin("whole", {"model": FASTER.model.path}, subject_key=SUBJECT_KEY)
        store.save_trial(whole, FASTER.baseline, phase="stock")
        for standing in FASTER.standings[1:]:
            store.save_trial(whole, standing.trial, phase="screen")
        store.save_rounds(whole, "confirm", 0, EPOCH)
        store.finish(whole, tuning_document(FASTER))


if __name__ == "__main__":
    write(f"sqlite:///{sys.argv[1]}")
    write_whole(f"sqlite:///{sys.argv[1]}")
