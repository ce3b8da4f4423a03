"""Courses of readings as one SVG picture: small charts one below the other, the mean a line in a band of extremes."""

from collections.abc import Sequence
from html import escape

from infer_opt.readings.catalogue import Unit, quantity_of
from infer_opt.readings.summaries import Course
from infer_opt.readings.texts import text_of
from infer_opt.reports.samples import clock_time

# Pixels. The card is white whatever the page around it, so the colours hold in light and dark themes.
_WIDTH, _CHART, _GAP, _LEFT, _RIGHT, _TOP = 960, 64, 30, 28, 932, 58
_INK, _FAINT, _RULE, _LINE, _BAND = "#1f2328", "#59636e", "#d1d9e0", "#0969da", "#ddf4ff"


def picture(courses: Sequence[Course], *, title: str) -> str:
    """One SVG document. Each chart begins at 0; shares end at 100 %, all else at the highest value seen."""
    height = _TOP + len(courses) * (_CHART + _GAP) + 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{_INK}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#ffffff" stroke="{_RULE}"/>',
        f'<text x="{_LEFT}" y="32" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    for number, course in enumerate(courses):
        parts += _chart(course, _TOP + number * (_CHART + _GAP))
    if courses:
        begin, end = courses[0].points[0][0], courses[0].points[-1][0]
        y = height - 12
        parts.append(f'<text x="{_LEFT}" y="{y}" fill="{_FAINT}">{clock_time(begin)}</text>')
        parts.append(f'<text x="{_RIGHT}" y="{y}" fill="{_FAINT}" text-anchor="end">{clock_time(end)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _chart(course: Course, top: int) -> list[str]:
    unit = quantity_of(course.key).unit
    highest = 1.0 if unit is Unit.RATIO and course.high <= 1 else course.high
    base, ceiling = top + 18 + _CHART - 14, top + 18
    begin, end = course.points[0][0], course.points[-1][0]

    def x(at_s: float) -> float:
        return _LEFT + (at_s - begin) / (end - begin) * (_RIGHT - _LEFT) if end > begin else _LEFT

    def y(value: float) -> float:
        return base - max(0.0, value) / highest * (base - ceiling) if highest > 0 else base

    upper = [f"{x(at_s):.1f},{y(high):.1f}" for at_s, _, _, high in course.points]
    lower = [f"{x(at_s):.1f},{y(low):.1f}" for at_s, _, low, _ in reversed(course.points)]
    means = [f"{x(at_s):.1f},{y(mean):.1f}" for at_s, mean, _, _ in course.points]
    numbers = f"mean {text_of(course.mean, unit)}, {text_of(course.low, unit)} to {text_of(course.high, unit)}"
    return [
        f'<text x="{_LEFT}" y="{top + 10}" font-weight="600">{escape(course.key)}</text>',
        f'<text x="{_RIGHT}" y="{top + 10}" fill="{_FAINT}" text-anchor="end">{escape(numbers)}</text>',
        f'<polygon points="{" ".join([*upper, *lower])}" fill="{_BAND}"/>',
        f'<polyline points="{" ".join(means)}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>',
        f'<line x1="{_LEFT}" y1="{base}" x2="{_RIGHT}" y2="{base}" stroke="{_RULE}"/>',
    ]
