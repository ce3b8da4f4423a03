from pathlib import Path

import pytest

from infer_opt.cli.profile import command
from infer_opt.errors import ConfigError


def refused(*words: str) -> str:
    with pytest.raises(ConfigError) as error:
        command.main(list(words), standalone_mode=False)
    assert error.value.hint
    return error.value.what


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "there is nothing to profile"),
        (("net.onnx", "--command", "true"), "MODEL and --command are both given"),
        (("--command", "true", "--function", "a:b"), "--command and --function are both given"),
        (("net.onnx", "--function", "a:b"), "MODEL and --function are both given"),
        (("--command", "true", "--batch", "2"), "--batch goes with a MODEL, not with --command"),
        (("--function", "a:b", "--against", "o.onnx"), "--against goes with a MODEL, not with --function"),
        (("--command", "true", "--seed", "0"), "--seed goes with a MODEL, not with --command"),
        (("net.onnx", "--for", "3s"), "--for goes with a --command or --function, not with MODEL"),
        (("net.onnx", "--flame", "f.html"), "--flame goes with a --command or --function, not with MODEL"),
        (("net.onnx", "--memory"), "--memory goes with a --command or --function, not with MODEL"),
        (("--function", "nothing"), "--function nothing names no function"),
        (("net.onnx", "--against", "o.onnx", "--by", "block"), "profiles are not compared by block"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_runs(words: tuple[str, ...], what: str) -> None:
    assert refused(*words) == what


def test_files_that_exist_are_refused_before_the_program_starts(tmp_path: Path) -> None:
    (tmp_path / "flame.html").touch()
    marker = tmp_path / "started"

    what = refused("--command", f"touch {marker}", "--flame", str(tmp_path / "flame.html"))
    assert what.endswith("flame.html exists already")
    assert not marker.exists()
