"""Whether two sessions give the same answers: per output, over several inputs, with the reason when they do not."""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from infer_opt.protocols import Array
from infer_opt.results import OutputParity, Parity

Answers = Sequence[Mapping[str, Array]]  # one mapping from output name to array for each checked input

CLASSES = range(2, 100_001)  # sizes of a last axis that may be scores
TINY = 1e-12


def compare(reference: Answers, answers: Answers, *, tolerance: float) -> Parity:
    """How `answers` agree with the stock session's `reference`, input by input.

    Arguments:
        tolerance: the smallest score that passes; 0.99 asks every output for a cosine of 0.99 over each input.
    """
    names = tuple(reference[0]) if reference else ()
    outputs = tuple(_output(name, [r[name] for r in reference], [a.get(name) for a in answers]) for name in names)
    score = min((_score(output) for output in outputs), default=0.0)
    reason = next((f"output {output.name}: {output.problem}" for output in outputs if output.problem), None)
    if reason is None and score < tolerance:
        worst = min(outputs, key=_score)
        word = "cosine" if worst.cosine is not None else "agreement"
        reason = f"output {worst.name} has {word} {score:.4f} to stock, below {tolerance:g}"
    if reason is None:
        reason = next((text for output in outputs if (text := _off_scale(output, tolerance))), None)
    return Parity(score=score, passed=reason is None, outputs=outputs, samples=len(reference), reason=reason)


def _off_scale(output: OutputParity, tolerance: float) -> str | None:
    """A cosine does not see a wrong scale: an output of twice stock's has cosine 1.

    Outputs of equal length and cosine c are sqrt(2 (1 - c)) apart; twice that is allowed.
    """
    allowed = max(2 * math.sqrt(2 * max(0.0, 1 - tolerance)), 1e-3)
    if output.relative_l2 is None or output.relative_l2 <= allowed:
        return None
    return f"output {output.name} is {output.relative_l2:.3f} of its length away from stock's, above {allowed:.3f}"


def _score(output: OutputParity) -> float:
    if output.problem is not None:
        return 0.0
    return output.cosine if output.cosine is not None else output.agreement or 0.0


def _output(name: str, reference: Sequence[Array], answers: Sequence[Array | None]) -> OutputParity:
    problem = next((p for p in map(_problem, reference, answers) if p is not None), None)
    empty = OutputParity(name=name, cosine=None, relative_l2=None, largest_difference=None)
    if problem is not None:
        return OutputParity(name=name, cosine=None, relative_l2=None, largest_difference=None, problem=problem)
    if not all(isinstance(r, np.ndarray) and _is_float(r) for r in reference):
        pairs = [(_listed(r), _listed(a)) for r, a in zip(reference, answers, strict=True)]
        # Pooled over all inputs: with one label an input, the worst input alone would be all or nothing.
        equal, total = sum(_equal(r, a) for r, a in pairs), sum(int(r.size) for r, _ in pairs)
        return OutputParity(
            name=name,
            cosine=None,
            relative_l2=None,
            largest_difference=None,
            agreement=equal / total if total else 1.0,
        )
    pairs64 = [_finite(r, a) for r, a in zip(reference, answers, strict=True)]
    if not pairs64:
        return empty
    return OutputParity(
        name=name,
        cosine=min(_cosine(r, a) for r, a in pairs64),
        relative_l2=max(_relative_l2(r, a) for r, a in pairs64),
        largest_difference=max(float(np.max(np.abs(r - a), initial=0.0)) for r, a in pairs64),
        top1=_top1(pairs64),
    )


def _problem(reference: Array, answer: Array | None) -> str | None:
    if answer is None:
        return "missing"
    if not isinstance(reference, np.ndarray) or not isinstance(answer, np.ndarray):
        return None if type(reference) is type(answer) else "another type than stock's"
    if reference.shape != answer.shape:
        return f"shape {list(answer.shape)} where stock gives {list(reference.shape)}"
    if _is_float(reference) and not _is_float(answer):
        return f"type {answer.dtype} where stock gives {reference.dtype}"
    if _is_float(reference):
        # Masks of minus infinity are honest outputs: what stock gives itself, in the same place, is no fault.
        r, a = np.asarray(reference, np.float64), np.asarray(answer, np.float64)
        strange = ~np.isfinite(a) & ~((a == r) | (np.isnan(a) & np.isnan(r)))
        if bool(np.any(strange)):
            return f"{int(np.sum(strange))} of {a.size} values are NaN or infinite where stock's are not"
        if a.size and not bool(np.any(np.isfinite(r))):
            return "stock itself gives nothing but NaN or infinity"
    return None


def _finite(reference: Array, answer: Array | None) -> tuple[Array, Array]:
    r, a = np.asarray(reference, np.float64), np.asarray(answer, np.float64)
    finite = np.isfinite(r)
    return (r, a) if bool(np.all(finite)) else (np.where(finite, r, 0.0), np.where(finite, a, 0.0))


def _is_float(value: Array) -> bool:
    # ml_dtypes' bfloat16 and float8 are of kind V and convert to float64 all the same.
    return bool(value.dtype.kind == "f" or value.dtype.name.startswith(("bfloat16", "float8")))


def _cosine(reference: Array, answer: Array) -> float:
    r, a = reference.ravel(), answer.ravel()
    norms = float(np.linalg.norm(r)) * float(np.linalg.norm(a))
    if norms < TINY:
        # Nothing has a direction: two zero outputs agree, one zero output does not.
        return 1.0 if np.allclose(r, a, atol=1e-6) else 0.0
    if r.size == 1:
        # The cosine of two numbers is their sign; their relative difference says more.
        return max(0.0, 1.0 - abs(float(a[0] - r[0])) / max(abs(float(r[0])), TINY))
    return min(1.0, float(r @ a) / norms)


def _relative_l2(reference: Array, answer: Array) -> float:
    return float(np.linalg.norm(reference - answer)) / max(float(np.linalg.norm(reference)), TINY)


def _top1(pairs: Sequence[tuple[Array, Array]]) -> float | None:
    """The share of equal arg-max, where every output looks like scores: (items, classes) with 2 classes or more."""
    if any(r.ndim != 2 or r.shape[-1] not in CLASSES or r.shape[0] == 0 for r, _ in pairs):
        return None
    same = [np.argmax(r, axis=-1) == np.argmax(a, axis=-1) for r, a in pairs]
    return float(np.mean(np.concatenate(same)))


def _listed(value: Array | None) -> Array:
    """Sequences and maps (ai.onnx.ml's ZipMap) as an array of their reprs, numbers rounded to 3 significant digits."""
    if isinstance(value, np.ndarray):
        return value
    items = value if isinstance(value, list | tuple) else [value]
    return np.array([_rounded(item) for item in items], dtype=object)


def _rounded(item: object) -> str:
    if isinstance(item, Mapping):
        return str({key: _rounded(value) for key, value in sorted(item.items(), key=lambda pair: str(pair[0]))})
    if isinstance(item, float | np.floating) and math.isfinite(item):
        return f"{float(item):.3g}"
    if isinstance(item, np.ndarray):
        return str([_rounded(value) for value in item.ravel()])
    return str(item)


def _equal(reference: Array, answer: Array) -> int:
    """How many elements are equal; none where the shapes differ (sequences may be longer or shorter)."""
    return int(np.sum(np.asarray(reference == answer, bool))) if reference.shape == answer.shape else 0


def find_stale(reference: Answers, answers: Answers) -> str | None:
    """A sentence when answers repeat although the reference's differ from input to input; None when all is well.

    A CUDA graph that is replayed without its inputs being copied gives the previous call's outputs.
    """
    for name in reference[0] if reference else ():
        pairs = list(zip(reference, answers, strict=True))
        for (r0, a0), (r1, a1) in itertools.pairwise(pairs):
            if not _same(r0[name], r1[name]) and _same(a0[name], a1[name]):
                return f"output {name} stays the same when the inputs change: a stale replay"
    return None


def _same(left: Array, right: Array) -> bool:
    if not isinstance(left, np.ndarray) or not isinstance(right, np.ndarray):
        return bool(left == right)
    return left.shape == right.shape and bool(np.array_equal(left, right))
