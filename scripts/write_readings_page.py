"""Writes docs/readings.md, every reading there is, from the catalogue: `python -m scripts.write_readings_page`."""

from pathlib import Path

from infer_opt.readings.catalogue import CATALOGUE, Quantity, key_of

PAGE = Path(__file__).parents[1] / "docs" / "readings.md"

BEGINNING = """# Readings

Every reading that infer-opt's monitors take: its unit, what exactly it is, and a public command that gives the same.
This page is written from `readings/catalogue.py`.

- A key is `family.name`, or `family[instance].name` where there are several of a kind: `cpu[3].busy`,
  `disk[vda].busy`, `process[4711].rss_bytes`, `gpu[0].power_watts`.
- Shares are ratios from 0 to 1. Sizes are bytes, never kB or KiB.
- What this machine does not tell is not available: n/a, and never 0.
- "Since the sample before" is a difference of the kernel's own counters over the time that passed: nothing is
  missed between samples. It is not available in the first sample, and after a counter began anew (a disk or an
  interface that was replaced).
- Counters only grow until their source starts anew: take differences.
"""

TITLES = {
    "cpu": "CPU: `cpu`, and `busy` and `frequency_hertz` as `cpu[N]` for each CPU",
    "pressure": "Pressure stall information: `pressure`",
    "memory": "Main memory: `memory`",
    "disk": "Disks: `disk`, and `disk[NAME]` for each whole disk",
    "filesystem": "Local file systems of the root, the current folder and the user's data: `filesystem[PLACE]`",
    "network": "Network: `network`, and `network[NAME]` for each interface",
    "cgroup": "Control group of the monitor: `cgroup`",
    "process": "Chosen processes: `process`, and `process[PID]` for each tree where there are several",
    "monitor": "The monitor itself: `monitor`",
    "gpu": "NVIDIA GPUs: `gpu[N]`, and `gpu[N.migM]` for each MIG instance",
}


def page() -> str:
    """The page in Markdown."""
    families = dict.fromkeys(family for family, _ in CATALOGUE)
    return "\n".join((BEGINNING, *(_section(family) for family in families)))


def _section(family: str) -> str:
    rows = [_row(quantity) for quantity in CATALOGUE.values() if quantity.family == family]
    return "\n".join(
        (f"## {TITLES[family]}", "", "| reading | unit | what it is | the same by |", "|---|---|---|---|", *rows, "")
    )


def _row(quantity: Quantity) -> str:
    unit = f"{quantity.unit}, counter" if quantity.is_counter else str(quantity.unit)
    cells = (f"`{key_of(quantity.family, quantity.name)}`", unit, quantity.definition, f"`{quantity.command}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page())
