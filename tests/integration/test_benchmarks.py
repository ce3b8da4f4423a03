"""Every benchmark program runs, in miniature. That promises are kept is for the programs themselves to say."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks import budget, calls, claims, coordinator_cost, harness_overhead, help_time

# Tunes to a claim of 2 [1.8, 2.2]; measures it again as 2.0, then as 3.0, and then gives no answer.
FAKE_INFER_OPT = f"""#!{sys.executable}
import json, pathlib, sys
arguments = dict(zip(sys.argv[1:], sys.argv[2:]))
if sys.argv[1] == "tune":
    pathlib.Path(arguments["--out"]).mkdir()
    speedup = {{"estimate": 2.0, "low": 1.9, "high": 2.1, "remeasure_low": 1.8, "remeasure_high": 2.2}}
    print(json.dumps({{"verdict": "faster", "reason": "r", "winner": {{"label": "w"}}, "speedup": speedup,
                       "comparison": {{"epochs": [0.7] * 4}}}}))
elif arguments["--seed"] == "3":
    print("Error: no comparison", file=sys.stderr)
    sys.exit(5)
else:
    value = {{"1": 2.0, "2": 3.0}}[arguments["--seed"]]
    print(json.dumps({{"verdict": "faster", "claim_holds": True, "comparison": {{"epochs": [0.7] * 4}},
                       "speedup": {{"estimate": value, "low": value, "high": value}}}}))
"""


# Tunes until its budget of seconds is over or it is interrupted, and then writes a bundle.
PATIENT_INFER_OPT = f"""#!{sys.executable}
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
import json, pathlib, sys
arguments = dict(zip(sys.argv[1:], sys.argv[2:]))
found = signal.sigtimedwait([signal.SIGINT], float(arguments["--budget"]))
out = pathlib.Path(arguments["--out"])
out.mkdir()
(out / "bundle.json").write_text("{{}}")
print(json.dumps({{"verdict": "faster" if found is None else "no-faster"}}))
"""


def fake(folder: Path, text: str) -> str:
    """The path of a program with this text."""
    program = folder / "infer-opt"
    program.write_text(text)
    program.chmod(0o755)
    return str(program)


@pytest.fixture(autouse=True)
def _private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFER_OPT_CACHE", str(tmp_path / "cache"))


def written(path: Path, name: str) -> dict[str, Any]:
    """The result at `path`, with what every result must hold."""
    document: dict[str, Any] = json.loads(path.read_text())
    assert document["benchmark"] == name
    assert document["command"].startswith(f"python -m benchmarks.{name} ")
    assert document["method"] and document["machine"]["versions"]["infer-opt"]
    assert all(isinstance(target["is_met"], bool) for target in document["targets"])
    return document


def test_harness_overhead_reports_both_sessions_in_both_shapes(tmp_path: Path) -> None:
    path = tmp_path / "result.json"

    harness_overhead.main(["--turns", "3", "--result", str(path)])

    document = written(path, "harness_overhead")
    cases = document["results"]["cases"]
    assert [(case["session"], case["block"]) for case in cases] == [
        ("nothing", "one run a sample"),
        ("nothing", "as planned"),
        ("one node", "one run a sample"),
        ("one node", "as planned"),
    ]
    assert cases[1]["runs_per_sample"] > 1  # too short to be timed one by one
    assert all(len(lists["bare_ns"]) == len(lists["whole_ns"]) == 3 for lists in document["samples"].values())
    assert len(document["targets"]) == 8


def test_help_time_compares_with_bare_python(tmp_path: Path) -> None:
    path = tmp_path / "result.json"

    help_time.main(["--turns", "2", "--result", str(path)])

    document = written(path, "help_time")
    assert set(document["results"]) == {"infer-opt --help", "python -c pass", "python -c 'import click'"}
    assert document["results"]["infer-opt --help"]["help_over_this"]["value"] == pytest.approx(1.0)
    assert document["results"]["python -c pass"]["help_over_this"]["value"] > 1.0
    assert document["targets"][0]["at_most"] == 150


def test_coordinator_cost_meters_blocks_and_samples_a_whole_tuning(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    arguments = ["--models", "policy_mlp", "--rounds", "3", "--budget", "3s", "--preset", "quick"]

    coordinator_cost.main([*arguments, "--result", str(path)])

    document = written(path, "coordinator_cost")
    found, samples = document["results"]["policy_mlp"], document["samples"]["policy_mlp"]
    assert found["tuning_exit_code"] == 0
    assert len(samples["wait_cpu_ns"]) == len(samples["request_cpu_ns"]) == 2 * 3
    assert len(samples["round_cpu_ns"]) == 3
    assert found["tuning_peak_rss_bytes"] == max(samples["tuning_peak_rss_kb"]) * 1024 > 10_000_000


def test_budget_times_a_call_to_its_end_and_an_interrupted_one(tmp_path: Path) -> None:
    path, program = tmp_path / "result.json", fake(tmp_path, PATIENT_INFER_OPT)
    arguments = ["--models", "policy_mlp", "--budget", "1.2", "--interrupt-after", "0.6", "--program", program]

    budget.main([*arguments, "--result", str(path)])

    document = written(path, "budget")
    whole, interrupted = document["results"]["calls"]
    assert (whole["interrupted_after_s"], whole["verdict"]) == (None, "faster")
    assert whole["wall_s"] >= 1.2
    assert 0.6 <= interrupted["interrupted_after_s"] <= interrupted["wall_s"]
    assert interrupted["verdict"] == "no-faster"  # the signal arrived
    assert whole["has_bundle"] and interrupted["has_bundle"]
    assert [target["at_most"] for target in document["targets"]] == [pytest.approx(1.32), None]


def test_a_call_that_fails_is_no_answer(tmp_path: Path) -> None:
    path, program = tmp_path / "result.json", fake(tmp_path, f"#!{sys.executable}\nraise SystemExit('Error: no')\n")
    arguments = ["--models", "policy_mlp", "--budget", "9s", "--program", program]

    code = budget.main([*arguments, "--result", str(path)])

    document = written(path, "budget")
    assert code == 1
    assert [target["is_met"] for target in document["targets"]] == [True, False]
    assert document["results"]["calls"][0]["error"] == "Error: no"


def test_claims_counts_what_was_found_again_inside_the_printed_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, program = tmp_path / "result.json", fake(tmp_path, FAKE_INFER_OPT)

    code = claims.main(["--models", "policy_mlp", "--repeats", "3", "--program", program, "--result", str(path)])

    found = written(path, "claims")["results"]["policy_mlp"]
    assert (found["inside"], found["without_answer"], found["repeats"]) == (1, 1, 3)
    assert code == 1
    assert "1 of 3" in capsys.readouterr().out


def test_the_program_that_is_measured_is_installed() -> None:
    assert calls.INFER_OPT.is_file()
