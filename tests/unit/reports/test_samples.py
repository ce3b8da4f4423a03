import csv
import io
import json

from infer_opt.readings.findings import AlertEvent, AlertState, Finding, FindingKind, Severity
from infer_opt.readings.samples import Observation, ProcessReading, Sample
from infer_opt.reports.samples import HEADING_EVERY, Csv, JsonLines, Lines, gpus_of

VALUES = {
    "cpu.busy": 0.25,
    "cpu.steal": None,
    "memory.used_bytes": 3_210_000_000.0,
    "memory.available_bytes": 20e9,
    "disk.read_bytes_per_second": 0.0,
}
LEAK = Finding(
    kind=FindingKind.TREND,
    name="memory-leak",
    key="process.rss_bytes",
    what="memory of the processes grows by 20 MB/s",
    at_s=100.0,
    since_s=70.0,
    confidence=0.97,
    causes=("a cache without a bound",),
)
HOT = AlertEvent(
    rule="hot",
    state=AlertState.FIRING,
    severity=Severity.CRITICAL,
    key="gpu[0].temperature_celsius",
    value=91.0,
    what="gpu[0] is at 91 °C",
    at_s=100.0,
    since_s=70.0,
)


def sample(number: int = 0, **changes: float | None) -> Sample:
    return Sample(number=number, at_s=1_000_000.0 + number, clock_s=float(number), values={**VALUES, **changes})


def lines_of(*observations: Observation) -> list[str]:
    writer = Lines(local=False)
    return [text for observation in observations for text in writer.texts(observation)]


def test_a_line_shows_what_this_machine_has_and_nothing_else() -> None:
    heading, line = lines_of(Observation(sample=sample()))

    assert heading.split() == ["time", "cpu", "mem", "used", "mem", "free", "read"]
    assert line.split() == ["13:46:40", "25", "%", "3.21", "GB", "20", "GB", "0", "B/s"]


def test_values_stand_under_their_titles() -> None:
    heading, line = lines_of(Observation(sample=sample()))

    assert len(heading) == len(line)


def test_a_reading_that_goes_missing_is_not_available_and_not_zero() -> None:
    texts = lines_of(Observation(sample=sample()), Observation(sample=sample(1, **{"cpu.busy": None})))

    assert texts[-1].split()[1] == "n/a"


def test_the_heading_comes_again_on_every_screenful() -> None:
    texts = lines_of(*(Observation(sample=sample(number)) for number in range(HEADING_EVERY + 1)))

    assert [number for number, text in enumerate(texts) if text.startswith("time")] == [0, HEADING_EVERY + 1]


def test_gpus_get_columns_of_their_own_and_mig_instances_do_not() -> None:
    gpus: dict[str, float | None] = {f"gpu[{name}].memory_used_bytes": 1e9 for name in ("0", "0.mig1", "1")}
    found = sample(0, **gpus)

    assert gpus_of(found) == ("0", "1")
    assert "gpu1 mem" in lines_of(Observation(sample=found))[0]


def test_findings_alerts_and_notices_stand_beside_their_sample() -> None:
    texts = lines_of(Observation(sample=sample(), findings=(LEAK,), alerts=(HOT,), notices=("gpu 0 was lost",)))

    assert texts[0] == "  . gpu 0 was lost"
    assert texts[-2].startswith("  ! warning: memory of the processes grows by 20 MB/s (memory-leak, 97 % sure).")
    assert texts[-1] == "  ! alert hot (critical): gpu[0] is at 91 °C"


def test_a_json_line_is_whole_and_has_null_for_what_is_not_available() -> None:
    process = ProcessReading(pid=7, name="python", cpu_cores=0.5)
    observed = Observation(
        sample=Sample(number=3, at_s=5.0, clock_s=1.0, values=VALUES, processes=(process,)), findings=(LEAK,)
    )

    [text] = JsonLines().texts(observed)
    plain = json.loads(text)

    assert plain["values"]["cpu.steal"] is None
    assert plain["values"]["cpu.busy"] == 0.25
    assert plain["processes"][0]["pid"] == 7
    assert plain["findings"][0]["kind"] == "trend"


def test_csv_has_a_row_a_sample_and_an_empty_field_for_what_is_not_available() -> None:
    writer = Csv()
    texts = [text for number in range(2) for text in writer.texts(Observation(sample=sample(number)))]
    rows = list(csv.reader(io.StringIO("\n".join(texts))))

    assert rows[0] == ["at_s", *VALUES]
    assert rows[2] == ["1000001.000", "0.25", "", "3210000000", "2e+10", "0"]


def test_columns_of_a_csv_stay_as_they_are_when_readings_come_and_go() -> None:
    writer = Csv()
    first = list(writer.texts(Observation(sample=sample())))
    late = sample(1, **{"gpu[0].power_watts": 90.0})
    second = list(writer.texts(Observation(sample=late)))

    assert first[0].count(",") == second[0].count(",")
