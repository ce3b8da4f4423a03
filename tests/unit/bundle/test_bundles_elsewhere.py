"""Bundles on another machine, or with another runtime."""

import dataclasses
from pathlib import Path

import pytest

import infer_opt
from infer_opt.bundle import BundleWarning, Manifest, foreign, write
from infer_opt.config import Provider, SessionOptions, TrialConfig
from infer_opt.errors import UnavailableError
from infer_opt.results import Caution
from made_bundles import INT7, INT8, ONE_THREAD, SAVED, X, contents


def manifest(config: TrialConfig, *sets: str, runtime_version: str = "1.32.0") -> Manifest:
    return Manifest(
        folder=Path("b"),
        config=config,
        artefact=Path("b/model.onnx"),
        files={},
        runtime_version=runtime_version,
        isa=sets,
        record={},
    )


CUDA_INT8 = dataclasses.replace(INT8, options=SessionOptions(provider=Provider.CUDA))


@pytest.mark.parametrize(
    ("config", "there", "here"),
    [
        (INT8, ("avx2", "avx512_vnni"), ("avx2", "avx512_vnni")),
        (INT8, ("avx2", "avx512_vnni"), ("avx2", "avx512_vnni", "amx_int8")),  # more is fine
        (INT8, ("avx2",), ("avx2",)),
        (CUDA_INT8, ("avx2", "avx512_vnni"), ("avx2",)),  # the GPU does the work
        (SAVED, ("avx2",), ("avx2",)),
    ],
)
def test_a_machine_that_has_all_the_other_had_is_no_reason_for_care(
    config: TrialConfig, there: tuple[str, ...], here: tuple[str, ...]
) -> None:
    assert foreign(manifest(config, *there), runtime_version="1.32.0", isa_here=here) == ()


def test_eight_bit_weights_are_refused_where_their_products_saturate() -> None:
    with pytest.raises(UnavailableError, match="no 8-bit dot product") as caught:
        foreign(manifest(INT8, "avx2", "avx512_vnni"), runtime_version="1.32.0", isa_here=("avx2",))

    assert caught.value.hint == "run infer-opt tune on this machine"


@pytest.mark.parametrize(
    ("config", "there", "here"),
    [
        (INT7, ("avx2", "avx512_vnni"), ("avx2",)),  # 7-bit weights do not saturate
        (INT8, ("avx2", "avx512_vnni"), ("avx2", "avx_vnni")),  # another dot product is one too
        (INT8, ("avx2", "avx512f"), ("avx2",)),
        (ONE_THREAD, ("avx2", "avx512f"), ("avx2",)),
    ],
)
def test_a_machine_that_lacks_something_harmless_is_a_caution(
    config: TrialConfig, there: tuple[str, ...], here: tuple[str, ...]
) -> None:
    (note,) = foreign(manifest(config, *there), runtime_version="1.32.0", isa_here=here)

    assert note.caution is Caution.OTHER_MACHINE
    assert ", ".join(sorted(set(there) - set(here))) in note.text


def test_a_graph_that_was_laid_out_for_another_cpu_is_refused() -> None:
    with pytest.raises(UnavailableError, match="laid out for a CPU with avx512f"):
        foreign(manifest(SAVED, "avx2", "avx512f"), runtime_version="1.32.0", isa_here=("avx2",))


def test_loading_asks_this_machine(made: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(made, contents(source, config=INT8, isa=("avx2", "avx512_vnni")))
    monkeypatch.setattr("infer_opt.bundle.isa", lambda: ("avx2",))

    with pytest.raises(UnavailableError, match="saturate"):
        infer_opt.load(made)

    monkeypatch.setattr("infer_opt.bundle.isa", lambda: ("avx2", "avx_vnni"))
    with pytest.warns(BundleWarning, match="avx512_vnni"):
        session = infer_opt.load(made)
    assert [note.caution for note in session.notes] == [Caution.OTHER_MACHINE]
    assert session.run({"x": X})["scores"].shape == (5, 3)


def test_another_version_of_the_runtime_is_a_warning(tmp_path: Path, source: Path) -> None:
    write(tmp_path / "out", contents(source, runtime_version="1.2.3"))

    with pytest.warns(BundleWarning, match=r"measured with onnx runtime 1\.2\.3") as caught:
        infer_opt.load(tmp_path / "out")

    assert caught[0].filename == __file__  # it points at the user's own line
