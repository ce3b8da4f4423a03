from pathlib import Path

import pytest

from infer_opt.errors import ConfigError
from infer_opt.presets import LOOKS, Preset, load_preset, names, parse_duration
from infer_opt.stats import confirm

WHOLE = "description: d\nbudget: 30s\ntrials: 3\nentrants: 2\nrivals: 1\nepochs: 6\n"


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", ["quick", "default", "thorough"])
def test_the_presets_that_come_along_are_sound(name: str) -> None:
    preset = load_preset(name)

    assert name in names()
    assert preset.description
    assert parse_duration(preset.budget) >= 60.0


def test_more_thorough_presets_try_more() -> None:
    quick, default, thorough = (load_preset(name) for name in ("quick", "default", "thorough"))

    for less, more in ((quick, default), (default, thorough)):
        assert parse_duration(less.budget) < parse_duration(more.budget)
        assert (less.trials, less.entrants, less.rivals, less.epochs) < (
            more.trials,
            more.entrants,
            more.rivals,
            more.epochs,
        )


def test_a_preset_may_end_at_any_look_of_the_confirmation_and_nowhere_else() -> None:
    assert LOOKS == confirm.LOOKS


def test_a_preset_of_the_users_own_is_named_by_its_path(tmp_path: Path) -> None:
    assert load_preset(write(tmp_path, WHOLE)) == Preset(
        description="d", budget="30s", trials=3, entrants=2, rivals=1, epochs=6
    )


def test_a_misspelt_key_is_refused_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE.replace("trials", "trails"))

    with pytest.raises(ConfigError) as caught:
        load_preset(path)

    assert caught.value.what == f"{path}, line 3: unknown key 'trails'"
    assert caught.value.hint == "did you mean 'trials'?"


def test_a_key_that_resembles_none_is_refused_with_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 7: unknown key 'zzz'") as caught:
        load_preset(write(tmp_path, WHOLE + "zzz: 1\n"))

    assert (
        caught.value.hint
        == "the keys are description, budget, search, space, precision, trials, entrants, rivals, epochs"
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (WHOLE.replace("trials: 3", "trials: many"), r"Expected `int`, got `str`.*trials"),
        (WHOLE.replace("trials: 3\n", ""), "missing required field `trials`"),
        (WHOLE.replace("epochs: 6", "epochs: 7"), "epochs must be one of .* got 7"),
        (WHOLE.replace("trials: 3", "trials: 0"), "trials and entrants must be 1 or more"),
        (WHOLE.replace("entrants: 2", "entrants: 0"), "trials and entrants must be 1 or more"),
        (WHOLE.replace("rivals: 1", "rivals: -1"), "rivals 0 or more"),
        (WHOLE + "search: luck\n", "search must be one of gp, tpe, exhaustive, random, got 'luck'"),
        (WHOLE + "space: vast\n", "space must be one of usual, wide, got 'vast'"),
        (WHOLE.replace("30s", "soon"), "'soon' is not a duration"),
        ("a: [", "is not YAML"),
        ("", "Expected `object`"),
        ("- a\n- b\n", "Expected `object`"),
    ],
)
def test_a_preset_that_makes_no_sense_is_refused(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        load_preset(write(tmp_path, text))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(b"\x80\x81\xff\x00")

    with pytest.raises(ConfigError, match=r"model\.yaml is not YAML"):
        load_preset(str(path))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("quik", "did you mean 'quick'?"),
        ("zzz", "choose from default, quick, thorough, or name a .yaml file"),
        ("nowhere/zzz.yaml", "choose from default, quick, thorough, or name a .yaml file"),
    ],
)
def test_an_unknown_preset_is_refused_with_the_nearest_one(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="there is no preset") as caught:
        load_preset(name)

    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("3m", 180.0), ("1.5h", 5400.0), (" 2 m ", 120.0)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "3d", "0", "0s", "-3m", "1e3", "3m30s", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)
