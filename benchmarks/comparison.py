"""infer-opt beside what else there is: stock, each uniform quantisation, Olive, NNCF with OpenVINO; all in one run.

For each model every tool makes its file in an environment of its own, with the calibration inputs that infer-opt has
too, and infer-opt tunes once, with its default preset and the budget given. Then all files are held against stock's
outputs on held-out inputs with one bound for all, and those that agree are measured together as `tune` confirms: fresh
processes in every epoch, rounds in random order, a second stock as the control. Who does not agree is shown with its
agreement and a first look at its speed, and is out; in geometric means over models it counts as stock.

`--prepare` makes the environments and the files beforehand, so that a run only tunes and measures. A run that was cut
off goes on where it was when the same command is given again: each model's contest is kept as soon as it is over.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import calls, record
from benchmarks.calls import Model
from benchmarks.claims import claim_of
from benchmarks.proof_table import put
from benchmarks.record import Target
from benchmarks.rivals import building, environments, showing
from benchmarks.rivals.contest import Terms, hold, make_all, say
from benchmarks.rivals.standings import HINDSIGHT, Contest, Kind, duels, lead, names, speed
from tabulate import tabulate

from infer_opt.errors import EvidenceError, InferOptError
from infer_opt.machine.describe import describe
from infer_opt.parties import Party, open_party
from infer_opt.presets import parse_duration
from infer_opt.request import Request, versions
from infer_opt.results import Verdict
from infer_opt.stats.confirm import LOOKS

NAME = "comparison"
FURTHER = ("minilm", "light_resnet50", "digits_depthwise", "digits_gru", "digits_encoder")
MODELS = (*calls.SHIPPED, *(f"large/{name}" for name in FURTHER))
MARKS = ("<!-- comparison -->", "<!-- /comparison -->")


def code_digest() -> str:
    """Differs for every state of what is measured and of what measures."""
    digest = hashlib.sha256()
    for folder in ("src/infer_opt", "configs", "benchmarks/rivals"):
        for path in sorted((record.ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".yaml", ".txt"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()


def digest_of(parts: Mapping[str, Any]) -> str:
    """16 hex digits, equal for equal parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def plan_of(model: Model, options: argparse.Namespace) -> dict[str, Any]:
    """What must be equal for a tuning to be taken again."""
    files = [model.path] if model.inputs is None else [model.path, model.inputs]
    return {
        "content": [hashlib.sha256(path.read_bytes()).hexdigest() for path in files],
        "code": code_digest(),
        "versions": versions(),
        "machine": describe(gpus=(), versions=versions()).fingerprint,
        "parity": parity_of(model, options),
        "budget": options.tune_budget,
        "preset": options.preset,
        "seed": options.seed,
    }


def parity_of(model: Model, options: argparse.Namespace) -> float:
    """The bound for one model, the same for everybody."""
    own = dict(options.parity_of)
    return float(own.get(model.name, options.parity))


def terms_of(model: Model, options: argparse.Namespace) -> Terms:
    return Terms(
        parity=parity_of(model, options),
        epochs=options.epochs,
        time_s=parse_duration(options.time),
        seed=options.seed,
        folder=options.folder,
    )


def tuned(model: Model, options: argparse.Namespace) -> tuple[Party, dict[str, Any]]:
    """infer-opt's own answer: a whole `tune` with nothing to go on, or the bundle of one that was cut off after it.

    Raises:
        EvidenceError: the tuning failed; it says how.
    """
    bundle = options.folder / "bundles" / f"{model.name}-{digest_of(plan_of(model, options))}"
    note = bundle.with_suffix(".json")
    if not note.is_file():
        say(f"{model.name}: infer-opt tune, {options.tune_budget}")
        note.parent.mkdir(parents=True, exist_ok=True)
        arguments = ["tune", *model.arguments, "--budget", options.tune_budget, "--preset", options.preset]
        arguments += ["--min-parity", f"{parity_of(model, options):g}", "--seed", str(options.seed)]
        arguments += ["--out", str(bundle), "--force", "--format", "json"]
        with calls.private_state() as (_, environment):
            finished = calls.call(arguments, environment=environment, program=options.program)
        if finished.exit_code != 0:
            raise EvidenceError(f"infer-opt failed on {model.name}: {finished.error}", hint="nothing is compared then")
        claim = {"budget": options.tune_budget, "preset": options.preset} | asdict(claim_of(finished))
        note.write_text(json.dumps(claim) + "\n")
    party = open_party(bundle, Request(model=model.path))
    return party, json.loads(note.read_text())


def contest_of(model: Model, options: argparse.Namespace) -> Contest:
    """The contest of one model, held now or taken from the journal of an earlier call."""
    terms = {"epochs": options.epochs, "time": options.time}
    kept = options.folder / "contests" / f"{model.name}-{digest_of(plan_of(model, options) | terms)}.json"
    if kept.is_file():
        say(f"{model.name}: measured already, on {kept}")
        return Contest.from_dict(json.loads(kept.read_text()))
    party, claim = tuned(model, options)
    say(f"{model.name}: checking everybody")
    found = hold(model, party, claim, terms_of(model, options))
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_text(json.dumps(found.to_dict()) + "\n")
    part.replace(kept)
    return found


def targets_of(contests: Sequence[Contest]) -> list[Target]:
    """Never proven behind, nowhere seemingly behind, and ahead of everybody in the geometric mean."""
    found = [duel for contest in contests for duel in duels(contest)]
    others = [*(name for name in names(contests) if name not in _ours(contests)), *HINDSIGHT]
    tools = [name for name in others if HINDSIGHT.get(name) is not Kind.UNIFORM]
    leads = [lead(contests, name).estimate for name in tools]
    missing = [contest.model for contest in contests if not contest.ours.is_in]
    count = None if missing or not contests else float(sum(duel.verdict is Verdict.SLOWER for duel in found))
    seeming = None if missing or not contests else float(sum(duel.seems_behind for duel in found))
    return [
        Target(name="duels in which infer-opt is proven behind", unit=f"of {len(found)}", measured=count, at_most=0.0),
        Target(
            name="duels in which infer-opt seems behind by more than the margin",
            unit=f"of {len(found)}",
            measured=seeming,
            at_most=0.0,
        ),
        Target(
            name="infer-opt's speed over that of the nearest contestant, geometric mean, low end",
            unit="times",
            measured=min((estimate.low for estimate in leads), default=None),
            at_least=1.0,
        ),
    ]


def _ours(contests: Sequence[Contest]) -> set[str]:
    return {contest.ours.name for contest in contests}


def document(contests: Sequence[Contest], folder: Path) -> dict[str, Any]:
    """Everything as plain types: over all models, and model by model."""
    everybody = [*names(contests), *HINDSIGHT]
    return {
        "geometric_means": [
            {"name": name, "speedup": asdict(speed(contests, name)), "infer_opt_over_it": asdict(lead(contests, name))}
            for name in everybody
        ],
        "models": {contest.model: _model_document(contest) for contest in contests},
        "tools": building.versions(),
    }


def _model_document(contest: Contest) -> dict[str, Any]:
    duel_of = {duel.rival: duel for duel in duels(contest)}
    standings = [
        {
            "name": one.name,
            "kind": one.kind,
            "configuration": one.configuration,
            "agreement": one.score,
            "is_in": one.is_in,
            "out_because": one.reason,
            "speedup": None if one.speedup is None else asdict(one.speedup),
            "made_s": one.made_s,
            "infer_opt_over_it": asdict(duel_of[one.name].ratio) if one.name in duel_of else None,
            "infer_opt_is": showing.WORDS.get(duel_of[one.name].verdict) if one.name in duel_of else None,
            "infer_opt_seems_behind": duel_of[one.name].seems_behind if one.name in duel_of else None,
        }
        for one in contest.standings
    ]
    plain = contest.to_dict()
    return {name: plain[name] for name in plain if name not in {"standings", "clone"}} | {
        "margin": contest.margin,
        "standings": standings,
    }


def samples(contests: Sequence[Contest]) -> dict[str, Any]:
    """ln(time / stock's time) of everybody and of the second stock, epoch by epoch."""
    return {
        contest.model: {"second stock": contest.clone}
        | {one.name: one.epochs for one in contest.standings if one.epochs}
        for contest in contests
    }


def keep(begun: record.Record, options: argparse.Namespace, contests: Sequence[Contest], *, is_complete: bool) -> None:
    """Write what there is so far."""
    begun.write(
        options.result,
        method=__doc__ or "",
        targets=targets_of(contests),
        results=document(contests, options.folder),
        samples=samples(contests),
        is_complete=is_complete,
    )


def prepare(models: Sequence[Model], options: argparse.Namespace) -> None:
    """Make every environment and every file that is not there yet."""
    for name in environments.NAMES:
        say(f"environment {name}: {environments.place(name, options.folder)}")
        environments.prepare(name, options.folder)
    for model in models:
        say(f"{model.name}:")
        make_all(model, terms_of(model, options))


def publish(contests: Sequence[Contest], options: argparse.Namespace) -> None:
    """The picture and the table of the documentation, where they are asked for."""
    if options.picture is not None:
        showing.draw(contests, options.picture)
    if options.table is not None:
        put(options.table, showing.markdown(contests, building.versions()), marks=MARKS)


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = record.parser(NAME, __doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="names in models/, or paths")
    parser.add_argument("--parity", type=float, default=0.99, help="agreement with stock asked of all (default 0.99)")
    parser.add_argument(
        "--parity-of", nargs="*", type=_pair, default=[], metavar="MODEL=0.9", help="another bound for some models"
    )
    parser.add_argument("--tune-budget", default="75s", help="of infer-opt, each model (default 75s)")
    parser.add_argument("--preset", default="default", help="of infer-opt (default: default)")
    parser.add_argument(
        "--epochs", type=int, choices=LOOKS, default=6, help="of the comparison, each model (default 6)"
    )
    parser.add_argument(
        "--time", default="4m", help="for a model's epochs; four take what they take, up to twice of it (default 4m)"
    )
    parser.add_argument("--prepare", action="store_true", help="make environments and files, and measure nothing")
    parser.add_argument("--folder", type=Path, default=environments.FOLDER, help="for what is made (build/rivals)")
    parser.add_argument("--program", type=Path, default=calls.INFER_OPT, help="the infer-opt to compare")
    parser.add_argument("--picture", type=Path, help="draw everybody's speeds into this SVG")
    parser.add_argument("--table", type=Path, help=f"put the tables between {MARKS[0]} and {MARKS[1]} in this file")
    options = parser.parse_args(argv)
    options.folder = options.folder.resolve()
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    models = calls.models(options.models)
    if options.prepare:
        prepare(models, options)
        return 0
    lacking = [name for name in environments.NAMES if not environments.is_ready(name, options.folder)]
    if lacking:
        say(f"no environment for {', '.join(lacking)}: python -m benchmarks.{NAME} --prepare makes them")
        return 1
    begun = record.begin(NAME, argv)
    contests: list[Contest] = []
    for model in models:
        try:
            contests.append(contest_of(model, options))
        except KeyboardInterrupt:
            say("stopped; the same command goes on from here")
            return 130
        except InferOptError as error:
            say(f"{model.name}: {error.what}; the same command tries again")
            continue
        keep(begun, options, contests, is_complete=len(contests) == len(models))
    if len(contests) < len(models):
        return 1
    publish(contests, options)
    print(tabulate(showing.reasons(contests), ["model", "out", "agreement", "because"], maxcolwidths=[16, 36, 9, 60]))
    print()
    return record.report(showing.HEADINGS, showing.rows(contests), targets_of(contests), options.result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
