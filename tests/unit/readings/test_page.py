"""The page of all readings, docs/readings.md, is what the catalogue says."""

from pathlib import Path

from scripts.write_readings_page import page

from infer_opt.readings.catalogue import CATALOGUE, key_of

PAGE = Path(__file__).parents[3] / "docs" / "readings.md"


def test_the_page_is_what_the_script_writes() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m scripts.write_readings_page"


def test_every_reading_is_there_with_its_unit_definition_and_command() -> None:
    lines = PAGE.read_text().splitlines()

    for (family, name), quantity in CATALOGUE.items():
        row = next(line for line in lines if line.startswith(f"| `{key_of(family, name)}` |"))
        for part in (quantity.unit, quantity.definition, quantity.command):
            assert part.replace("|", "\\|") in row
