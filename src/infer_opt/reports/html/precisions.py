"""Precision by layer: time saved against agreement, of whole models and of each layer alone."""

from infer_opt.reports import sentences
from infer_opt.reports.html.layout import Cell, Figure, Table
from infer_opt.reports.quantities import NOT_KNOWN, agreement, duration, percent
from infer_opt.results import Frontier

_LEAST_ERROR = 1e-9


def figures(frontier: Frontier, place: int) -> list[Figure]:
    """Whole models between float and fewer bits, and each layer alone, of one way to quantise."""
    found = [_models(frontier, place)] if frontier.points else []
    known = [layer for layer in frontier.layers if layer.saved_ns is not None and layer.error is not None]
    return found + ([_layers(frontier, place)] if known else [])


def _models(frontier: Frontier, place: int) -> Figure:
    points = frontier.points
    return Figure(
        identity=f"precision-models-{place}",
        kind="frontier",
        title=f"{frontier.recipe.label}: whole models between float and fewer bits",
        summary="; ".join(sentences.precision(frontier)[:1]) + ".",
        data={
            "x_axis": "saved of a call, per cent",
            "y_axis": "parity with stock",
            "points": [
                {
                    "x": 100 * point.saved_ns / frontier.call_ns if frontier.call_ns else 0.0,
                    "y": point.score,
                    "passed": point.passed,
                    "name": f"{point.layers} of {len(frontier.layers)} layers",
                }
                for point in points
            ],
        },
        tables=(
            Table(
                caption=f"Whole models of {frontier.recipe.label}",
                headings=("layers with fewer bits", "nodes in float", "saves", "of a call", "parity", "agrees"),
                rows=tuple(
                    (
                        str(point.layers),
                        str(len(point.floats)),
                        Cell(text=duration(point.saved_ns), order=point.saved_ns),
                        percent(point.saved_ns / frontier.call_ns) if frontier.call_ns else NOT_KNOWN,
                        Cell(text=agreement(point.score), order=point.score),
                        "yes" if point.passed else "no",
                    )
                    for point in points
                ),
                texts=frozenset({5}),
            ),
        ),
        legend=(("subject-dot", "agrees with stock as asked"), ("cross", "does not")),
    )


def _layers(frontier: Frontier, place: int) -> Figure:
    best = next((point for point in frontier.points if point.passed), None)
    floats = set(best.floats) if best is not None else set()
    known = [layer for layer in frontier.layers if layer.saved_ns is not None and layer.error is not None]
    return Figure(
        identity=f"precision-layers-{place}",
        kind="layers",
        title=f"{frontier.recipe.label}: each layer alone",
        summary=f"What {len(known)} layers save a call with fewer bits, and how far each alone moves the outputs. Down "
        "and to the right is worth having.",
        data={
            "x_axis": "saved a call, µs",
            "y_axis": "1 − parity of the outputs, with this layer alone",
            "points": [
                {
                    "x": (layer.saved_ns or 0.0) / 1e3,
                    "y": max(_LEAST_ERROR, layer.error or 0.0),
                    "kept": set(layer.nodes) <= floats,
                    "name": sentences.one_line(layer.name),
                }
                for layer in known
            ],
        },
        tables=(
            Table(
                caption=f"Layers of {frontier.recipe.label}, each alone",
                headings=("layer", "nodes", "saves", "1 − parity", "in the best whole model"),
                rows=tuple(
                    (
                        sentences.one_line(layer.name),
                        str(len(layer.nodes)),
                        Cell(text=duration(layer.saved_ns), order=layer.saved_ns),
                        Cell(text=NOT_KNOWN if layer.error is None else f"{layer.error:.2g}", order=layer.error),
                        NOT_KNOWN if best is None else "float" if set(layer.nodes) <= floats else "fewer bits",
                    )
                    for layer in frontier.layers
                ),
                texts=frozenset({0, 4}),
            ),
        ),
        legend=(("subject-dot", "has fewer bits in the best whole model"), ("hollow-dot", "stays in float there")),
    )
