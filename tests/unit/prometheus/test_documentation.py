"""docs/prometheus.md names metrics that there are."""

import re
from pathlib import Path

from infer_opt.prometheus.collecting import MOST_PROCESSES, PROCESS_FIELDS
from infer_opt.prometheus.names import FAMILIES, reading_names

TEXT = (Path(__file__).parents[3] / "docs" / "prometheus.md").read_text()
OTHERS = {"build_info", "sample_age_seconds", "sample_timestamp_seconds", "alert_firing", "finding_active"}


def test_every_metric_that_is_named_exists_and_every_other_one_than_readings_is_named() -> None:
    others = {f"infer_opt_{name}" for name in OTHERS} | {
        f"infer_opt_process_{name}" for name, _, _ in PROCESS_FIELDS.values()
    }
    named = set(re.findall(r"`(infer_opt_[a-z0-9_]+)`", TEXT)) - {"infer_opt_family_name"}

    assert named - others - reading_names() == set()
    assert others - named == set()
    assert f"only the {MOST_PROCESSES} that hold most memory" in TEXT


def test_the_labels_of_parts_are_described() -> None:
    table = TEXT.partition("## Names")[2].partition("\n- ")[0]

    assert {label for _, _, label in FAMILIES.values()} <= set(re.findall(r"`(\w+)`", table))
