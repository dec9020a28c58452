"""Draw an effect as SVG: each check a row, each seed a dot, the 95% interval a bar, the bound a dashed line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aural.evaluate.report.svg import line, svg, text

WIDTH: Final = 760.0
LABELS: Final = 330.0
RIGHT: Final = 100.0
ROW: Final = 30.0
COLORS: Final = {"shown": "#2a7d4f", "not shown": "#8a8a8a", "reversed": "#b3372c"}


def picture(effect: Mapping[str, Any]) -> str:
    """Return a drawing of all checks; differences between arms and scores of single arms have an axis each."""
    differences = [check for check in effect["checks"] if is_difference(check)]
    levels = [check for check in effect["checks"] if not is_difference(check)]
    body: list[str] = ['<rect width="100%" height="100%" fill="#ffffff"/>']
    top = 8.0
    for title, checks in (("difference between arms", differences), ("score of one arm", levels)):
        if checks:
            body += _panel(title, checks, top)
            top += ROW * len(checks) + 46
    return svg(WIDTH, top, body)


def is_difference(check: Mapping[str, Any]) -> bool:
    """Return whether a check compares arms."""
    return " - " in check["of"]


def _panel(title: str, checks: Sequence[Mapping[str, Any]], top: float) -> list[str]:
    low, high = _range(checks)
    scale = (WIDTH - LABELS - RIGHT) / (high - low)

    def at(value: float) -> float:
        return LABELS + scale * (value - low)

    bottom = top + ROW * len(checks) + 4
    body = []
    for tick in ticks(low, high):
        body.append(line(at(tick), top, at(tick), bottom, "#dddddd" if tick else "#555555"))
        body.append(text(at(tick), bottom + 13, f"{tick:.10g}", "middle"))
    body.append(text((LABELS + WIDTH - RIGHT) / 2, bottom + 29, title, "middle"))
    for number, check in enumerate(checks):
        body += _row(check, top + ROW * (number + 0.5) + 2, at)
    return body


def _row(check: Mapping[str, Any], y: float, at: Any) -> list[str]:
    color = COLORS[check["verdict"]]
    star = "* " if check["primary"] else ""
    body = [
        text(LABELS - 12, y - 2, _short(star + check["what"]), "end", check["what"]),
        text(LABELS - 12, y + 10, _short(f"{check['of']}, {check['task']}"), "end"),
        f'<rect x="{at(check["low"]):.1f}" y="{y - 5:.1f}" width="{at(check["high"]) - at(check["low"]):.1f}" '
        f'height="10" rx="2" fill="{color}" fill-opacity="0.3"/>',
        line(at(check["value"]), y - 8, at(check["value"]), y + 8, color, 2.5),
        line(at(check["bound"]), y - 13, at(check["bound"]), y + 13, "#333333", 1, "3 3"),
        text(WIDTH - RIGHT + 12, y - 2, check["verdict"]),
        text(WIDTH - RIGHT + 12, y + 10, f"{check['value']:.3f}"),
    ]
    for place, value in enumerate(check["per_seed"]):
        offset = 4.0 * ((place % 3) - 1) if len(check["per_seed"]) > 1 else 0.0
        body.append(f'<circle cx="{at(value):.1f}" cy="{y + offset:.1f}" r="3" fill="{color}" fill-opacity="0.85"/>')
    return body


def _short(words: str) -> str:
    return words if len(words) < 54 else words[:51] + "..."


def _range(checks: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    values = [v for c in checks for v in (*c["per_seed"], c["low"], c["high"], c["bound"])]
    values += [0.0] if any(is_difference(check) for check in checks) else []
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room


def ticks(low: float, high: float) -> list[float]:
    """Return about five round numbers between two values.

    >>> ticks(-0.02, 0.11)
    [0.0, 0.05, 0.1]
    """
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]
