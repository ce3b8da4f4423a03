"""The pictures of docs/report.md and docs/profile.md: parts of pages that --report wrote, as Chromium shows them.

    python -m scripts.draw_report_pictures                  # tunes a shipped model first: two minutes
    python -m scripts.draw_report_pictures --page run.html  # of a page that is there already
    python -m scripts.draw_report_pictures --made-up        # of the results that the tests make up
    python -m scripts.draw_report_pictures --profile minilm.html   # profile_minilm.png and profile_minilm_floors.png

Needs the extra [test] and a Chromium at /usr/bin/chromium.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
MODEL, INPUTS = "models/digits_cnn.onnx", "models/digits_cnn.npz"
MARGIN = 28  # pixels around sections, which end where their text does
COLOURS = 128  # of a picture: a page has few, and the file is a third of the size


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture: of the first so many pixels of a page, or of some sections below each other."""

    name: str
    scheme: str
    width: int
    height: int | None = None
    sections: tuple[str, ...] = ()


SHOTS = (
    Shot(name="report", scheme="light", width=1240, height=1000),
    Shot(name="report_settings", scheme="dark", width=1000, sections=("confirmation", "knobs")),
    Shot(name="report_trials", scheme="light", width=1240, sections=("trials",)),
)

PROFILE_SHOTS = (
    Shot(name="", scheme="light", width=1240, height=1150),
    Shot(name="_floors", scheme="dark", width=1000, sections=("floors", "memory")),
)


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="A page that `tune --report` wrote.")
    parser.add_argument("--budget", default="120s", help="Of the tuning, where there is no page.")
    parser.add_argument("--profile", type=Path, help="A page that `profile --report` wrote.")
    parser.add_argument("--made-up", action="store_true", help="Of results that were never measured.")
    chosen = parser.parse_args(words)
    if chosen.profile is not None:
        keep(
            chosen.profile, [replace(shot, name=f"profile_{chosen.profile.stem}{shot.name}") for shot in PROFILE_SHOTS]
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        page = chosen.page or (made_up if chosen.made_up else tuned)(Path(folder), chosen.budget)
        keep(page, SHOTS)


def keep(page: Path, shots: Sequence[Shot]) -> None:
    """Draw the pictures of that page, and say how large they are."""
    for shot, picture in drawn(page, shots):
        path = PICTURES / f"{shot.name}.png"
        picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS).save(path, optimize=True)
        print(f"{path.relative_to(ROOT)}: {picture.width} x {picture.height}, {path.stat().st_size / 1e3:.0f} kB")


def tuned(folder: Path, budget: str) -> Path:
    """The page of a tuning of a shipped model, as a user would have it."""
    page = folder / "report.html"
    command = [sys.executable, "-m", "infer_opt", "tune", MODEL, "--inputs", INPUTS, "--preset", "quick"]
    command += ["--budget", budget, "--out", str(folder / "bundle"), "--report", str(page)]
    command += ["--store", f"sqlite:///{folder / 'store.db'}"]
    subprocess.run(command, cwd=ROOT, check=True)
    return page


def made_up(folder: Path, budget: str) -> Path:
    """The page of a tuning that nobody measured; it says so where the name of the model stands."""
    sys.path.insert(0, str(ROOT / "tests"))
    from infer_opt.reports.html.pages import render
    from made_reports import made_tuning

    page = folder / "report.html"
    page.write_text(render(made_tuning(path="made-up.onnx")), encoding="utf-8")
    return page


def drawn(page: Path, shots: Sequence[Shot]) -> list[tuple[Shot, Image.Image]]:
    """Each picture of the page; a section that it lacks is left out."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        found = []
        for shot in shots:
            window = browser.new_page(
                viewport={"width": shot.width, "height": shot.height or 900},
                color_scheme="dark" if shot.scheme == "dark" else "light",
            )
            window.goto(page.absolute().as_uri())
            found.append((shot, whole(window, shot)))
            window.close()
        browser.close()
    return found


def whole(window: Page, shot: Shot) -> Image.Image:
    if not shot.sections:
        return opened(window.screenshot())
    parts = [
        opened(window.locator(f"#{name}").screenshot()) for name in shot.sections if window.locator(f"#{name}").count()
    ]
    size = (max(part.width for part in parts) + 2 * MARGIN, sum(part.height for part in parts) + 2 * MARGIN)
    picture = Image.new("RGB", size, parts[0].getpixel((0, 8)))
    top = MARGIN
    for part in parts:
        picture.paste(part, (MARGIN, top))
        top += part.height
    return picture


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


if __name__ == "__main__":
    main(sys.argv[1:])
