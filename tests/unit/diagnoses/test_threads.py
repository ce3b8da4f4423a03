from dataclasses import replace

import pytest

from infer_opt.causes import Cause, Diagnosis
from infer_opt.config import SessionOptions, Spin
from infer_opt.diagnoses import Circumstances, diagnose
from infer_opt.profiles.profile import Profile
from made_cases import products


def found(cause: Cause, profile: Profile, around: Circumstances) -> Diagnosis | None:
    return next((one for one in diagnose(profile, around) if one.cause is cause), None)


def with_threads(threads: int, *, instances: int = 1) -> Profile:
    profile = products().profile(options=SessionOptions(intra_threads=threads))
    return replace(profile, config=replace(profile.config, instances=instances))


def test_more_threads_than_cores_are_found_and_told_how_many_fit() -> None:
    diagnosis = found(Cause.OVERSUBSCRIBED, with_threads(8), Circumstances(allowed_cores=2.0))

    assert diagnosis is not None
    assert diagnosis.evidence == ("8 threads on 2 cores",)
    assert "intra_op_num_threads = 2" in diagnosis.action
    assert found(Cause.OVERSUBSCRIBED, with_threads(2), Circumstances(allowed_cores=2.0)) is None


def test_instances_count_with_all_their_threads() -> None:
    assert found(Cause.OVERSUBSCRIBED, with_threads(1, instances=2), Circumstances(allowed_cores=2.0)) is None
    assert found(Cause.OVERSUBSCRIBED, with_threads(2, instances=2), Circumstances(allowed_cores=2.0)) is not None


def test_without_a_number_of_threads_stock_has_one_a_physical_core() -> None:
    profile = products().profile()  # on a machine of two physical cores

    assert found(Cause.OVERSUBSCRIBED, profile, Circumstances(allowed_cores=1.0)) is not None
    assert found(Cause.OVERSUBSCRIBED, profile, Circumstances(allowed_cores=1.0, threads=1)) is None


def test_a_quota_below_the_threads_is_one_finding_and_not_two() -> None:
    around = Circumstances(allowed_cores=8.0, quota=1.5)

    diagnosis = found(Cause.CPU_QUOTA, with_threads(4), around)

    assert diagnosis is not None
    assert diagnosis.gain_ns is None
    assert "a quota of 1.50 cores" in diagnosis.evidence[0]
    assert found(Cause.OVERSUBSCRIBED, with_threads(4), around) is None


def test_what_threads_were_held_back_for_is_what_there_is_to_win() -> None:
    around = Circumstances(
        allowed_cores=8.0, quota=2.0, periods=50, throttled_periods=20, throttled_share=0.3, threads=2
    )
    profile = with_threads(2)

    diagnosis = found(Cause.CPU_QUOTA, profile, around)

    assert diagnosis is not None
    assert diagnosis.gain_ns == pytest.approx(0.3 * profile.call.latency.value)
    assert "20 of 50 periods used it up" in diagnosis.evidence


def test_a_quota_that_is_never_used_up_is_no_finding() -> None:
    around = Circumstances(allowed_cores=8.0, quota=4.0, periods=50, throttled_periods=0, throttled_share=0.0)

    assert found(Cause.CPU_QUOTA, with_threads(2), around) is None
    assert found(Cause.CPU_QUOTA, with_threads(2), Circumstances(allowed_cores=8.0)) is None


def test_cores_that_stay_busy_after_a_call_are_found() -> None:
    diagnosis = found(Cause.SPINNING, with_threads(2), Circumstances(cores_after=0.9))

    assert diagnosis is not None
    assert diagnosis.gain_ns is None
    assert diagnosis.knobs == ("spin",)
    assert found(Cause.SPINNING, with_threads(2), Circumstances(cores_after=0.02)) is None
    assert found(Cause.SPINNING, with_threads(2), Circumstances()) is None
    quiet = products().profile(options=SessionOptions(spin=Spin.NEVER))
    assert found(Cause.SPINNING, quiet, Circumstances(cores_after=0.9)) is None
