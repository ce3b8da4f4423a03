"""Ceilings are measured once, for what they were measured for."""

import dataclasses
import json
from pathlib import Path

import pytest

from infer_opt.errors import StorageError
from infer_opt.profiles.roofline import Ceilings
from infer_opt.roofline.keeping import Setting, keep, kept, the_most
from made_profiles import around, made_roofline

CEILINGS = made_roofline().ceilings
SETTING = Setting(machine="f00d", provider="cpu", threads=2, runtime="onnx", version="1.30.0")


def test_what_was_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    keep(tmp_path / "ceilings", SETTING, CEILINGS)

    assert kept(tmp_path / "ceilings", SETTING) == CEILINGS


@pytest.mark.parametrize(
    "changed",
    [{"machine": "beef"}, {"provider": "cuda"}, {"threads": 1}, {"runtime": "openvino"}, {"version": "1.31.0"}],
)
def test_whatever_they_hold_for_has_changed_they_are_not_there(tmp_path: Path, changed: dict[str, object]) -> None:
    keep(tmp_path, SETTING, CEILINGS)

    assert kept(tmp_path, dataclasses.replace(SETTING, **changed)) is None  # type: ignore[arg-type]


def test_a_file_that_another_setting_wrote_under_this_name_is_not_believed(tmp_path: Path) -> None:
    keep(tmp_path, SETTING, CEILINGS)
    other = dataclasses.replace(SETTING, machine="beef")
    (tmp_path / SETTING.file_name).rename(tmp_path / other.file_name)

    assert kept(tmp_path, other) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "else"}', "\x00\xff"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / SETTING.file_name).write_text(text, encoding="latin-1")

    assert kept(tmp_path, SETTING) is None


def test_a_file_with_a_field_of_another_kind_is_as_good_as_none(tmp_path: Path) -> None:
    keep(tmp_path, SETTING, CEILINGS)
    path = tmp_path / SETTING.file_name
    document = json.loads(path.read_text())
    document["ceilings"]["launch"] = "soon"
    path.write_text(json.dumps(document))

    assert kept(tmp_path, SETTING) is None


def test_nothing_half_written_is_left_and_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    keep(tmp_path, SETTING, CEILINGS)
    assert [path.name for path in tmp_path.iterdir()] == [SETTING.file_name]

    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written") as refused:
        keep(tmp_path / "file", SETTING, CEILINGS)
    assert "INFER_OPT_CACHE" in str(refused.value.hint)


def seen(float32: float, memory: float, launch: float, *, disturbed_by: str | None) -> Ceilings:
    far = dataclasses.replace(CEILINGS.bandwidths[-1], bytes_per_s=around(memory))
    return dataclasses.replace(
        CEILINGS,
        operations_per_s=(("float32", around(float32)),),
        bandwidths=(CEILINGS.bandwidths[0], far),
        launch=around(launch),
        disturbed_by=disturbed_by,
    )


def test_of_two_measurements_the_most_that_was_seen_counts() -> None:
    both = the_most(seen(100.0, 20.0, 500.0, disturbed_by="others"), seen(90.0, 30.0, 400.0, disturbed_by="steal"))

    assert dict(both.operations_per_s)["float32"].value == 100.0
    assert [one.bytes_per_s.value for one in both.bandwidths] == [CEILINGS.bandwidths[0].bytes_per_s.value, 30.0]
    assert both.launch.value == 400.0
    assert (both.measurements, both.disturbed_by) == (2, "steal")


def test_one_quiet_measurement_is_enough() -> None:
    noisy, quiet = seen(1.0, 1.0, 1.0, disturbed_by="others"), seen(1.0, 1.0, 1.0, disturbed_by=None)

    assert the_most(noisy, quiet).disturbed_by is None
    assert the_most(quiet, noisy).disturbed_by is None
