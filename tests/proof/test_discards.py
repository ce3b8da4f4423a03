"""Row 10: which rounds are discarded does not depend on any latency."""

import numpy as np
from benchmarks.simulation.workings import MS, blind_discards, discards, disturbed_host

ROUNDS = 30


def test_the_same_rounds_are_discarded_when_latencies_change_places() -> None:
    rate = blind_discards(np.random.default_rng(601), repeats=40)

    assert rate.hits == rate.trials == 40


def test_rounds_that_were_robbed_of_cpu_time_are_discarded_and_no_others() -> None:
    stolen = [0.0, 0.05, 0.0, 0.05]

    found = discards(np.full((4, 3), float(MS)), disturbed_host(stolen))

    assert found == [None, "steal", None, "steal"]


def test_discarding_slow_rounds_would_follow_the_latencies() -> None:
    rng = np.random.default_rng(602)
    latency = MS * np.exp(0.3 * rng.standard_normal((ROUNDS, 3)))
    permuted = rng.permutation(latency.reshape(-1)).reshape(latency.shape)

    slow = [(found.max(axis=1) > 1.5 * np.median(found)).tolist() for found in (latency, permuted)]

    assert slow[0] != slow[1]
