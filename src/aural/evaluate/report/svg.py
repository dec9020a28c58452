"""Draw small pictures as SVG text, without scripts: bars, intervals, curves, confusion matrices, points in a plane."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

COLORS = ("#3366aa", "#dd7733", "#339966", "#aa3377", "#887722", "#555555")
MOST_WORDS = 15  # texts of a plane that are written out
TEXT = 'font-family="system-ui, sans-serif" font-size="11" fill="#333"'


def color(number: int) -> str:
    """Return the color of the n-th run, the same in every drawing."""
    return COLORS[number % len(COLORS)]


def svg(width: float, height: float, body: Sequence[str]) -> str:
    """Return a drawing; width and height are in pixels."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
    return head + "".join(body) + "</svg>"


def text(x: float, y: float, words: str, anchor: str = "start", title: str = "") -> str:
    """Return a line of text; `title` is shown on hover."""
    inner = html.escape(words) + (f"<title>{html.escape(title)}</title>" if title else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {TEXT}>{inner}</text>'


def line(x: float, y: float, x2: float, y2: float, stroke: str = "#999", width: float = 1, dash: str = "") -> str:
    """Return a straight line."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{stroke}" stroke-width="{width}"{dashed}/>'


def box(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    """Return a filled rectangle; `title` is shown on hover."""
    hover = f"<title>{html.escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{fill}">{hover}</rect>'
    )


def bars(labels: Sequence[str], series: Sequence[Sequence[float | None]], *, width: float = 520) -> str:
    """Return horizontal bars from 0 to 1, with one group per label and one bar per run."""
    left, step = 190.0, 7.0 * len(series) + 6
    scale = width - left - 40
    body = []
    for n, label in enumerate(labels):
        top = n * step + 2
        body.append(text(left - 6, top + step / 2 + 2, label[:30], "end", label))
        for m, values in enumerate(series):
            if (value := values[n]) is not None:
                body.append(box(left, top + 7 * m, scale * value, 6, color(m), f"{label}: {value:.3f}"))
    foot = len(labels) * step + 2
    grid = [line(left + scale * tick, 0, left + scale * tick, foot, "#e4e4e4") for tick in (0.25, 0.5, 0.75, 1)]
    ticks = [text(left + scale * tick, foot + 13, f"{tick:g}", "middle") for tick in (0, 0.5, 1)]
    return svg(width, foot + 18, [*grid, *body, line(left, 0, left, foot), *ticks])


def scores(
    rows: Sequence[tuple[float, float, float] | None],
    marks: Sequence[tuple[float, str]],
    chance: float | None,
    *,
    width: float = 330,
) -> str:
    """Return the scores of one task.

    Each run's (score, low, high) is a dot with whiskers, published values are diamonds, chance is a dashed line.
    """
    height, pad = 10.0 * len(rows) + 12, 6.0
    scale = width - 2 * pad

    def at(value: float) -> float:
        return pad + scale * min(max(value, 0.0), 1.0)

    body = [line(at(v), 2, at(v), height - 8, "#e4e4e4") for v in (0, 0.25, 0.5, 0.75, 1)]
    if chance is not None:
        body.append(line(at(chance), 0, at(chance), height - 6, "#888", 1, "2 2"))
    for n, row in enumerate(rows):
        if row is None:
            continue
        score, low, high = row
        y = 7 + 10.0 * n
        body.append(line(at(low), y, at(high), y, color(n), 2))
        body.append(
            f'<circle cx="{at(score):.1f}" cy="{y}" r="3.5" fill="{color(n)}"><title>{score:.3f}</title></circle>'
        )
    for value, name in marks:
        x, y = at(value), height - 6
        hover = html.escape(f"{name}: {value:.3f}")
        body.append(f'<path d="M{x:.1f} {y - 4} l4 4 l-4 4 l-4 -4 z" fill="#b59b00"><title>{hover}</title></path>')
    return svg(width, height, body)


def axis(*, width: float = 330) -> str:
    """Return the axis above a column of `scores`."""
    pad = 6.0
    places = ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    return svg(width, 14, [text(pad + (width - 2 * pad) * v, 11, f"{v:g}", anchor) for v, anchor in places])


def curves(
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]], x_name: str, *, logarithmic: bool = False
) -> str:
    """Return lines of values from 0 to 1 over a common x axis; each series is (name, xs, ys)."""
    width, height, left, bottom = 372.0, 220.0, 36.0, 34.0
    xs = sorted({x for _, some, _ in series for x in some})
    low, high = xs[0], xs[-1] if xs[-1] > xs[0] else xs[0] + 1

    def at_x(x: float) -> float:
        share = math.log(x / low) / math.log(high / low) if logarithmic else (x - low) / (high - low)
        return left + share * (width - left - 20)

    def at_y(y: float) -> float:
        return (height - bottom) - y * (height - bottom - 10)

    body = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        body += [
            line(left, at_y(tick), width - 20, at_y(tick), "#e4e4e4"),
            text(left - 4, at_y(tick) + 4, f"{tick:g}", "end"),
        ]
    last = -99.0
    for x in xs:
        if at_x(x) - last > 28:
            body.append(text(at_x(x), height - bottom + 14, f"{x:g}", "middle"))
            last = at_x(x)
    body.append(text((left + width) / 2, height - 4, x_name, "middle"))
    for n, (name, some, ys) in enumerate(series):
        points = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in zip(some, ys, strict=True))
        body.append(
            f'<polyline points="{points}" fill="none" stroke="{color(n)}" stroke-width="2">'
            f"<title>{html.escape(name)}</title></polyline>"
        )
        body += [
            f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="2.5" fill="{color(n)}"/>'
            for x, y in zip(some, ys, strict=True)
        ]
    return svg(width, height, body)


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Return a confusion matrix: rows are true, columns predicted classes; darker cells hold more of their row."""
    size = len(names)
    cell = max(5.0, min(26.0, 420.0 / size))
    left, top = 130.0, 8.0
    body = []
    for i, row in enumerate(counts):
        total = sum(row)
        if cell >= 9:
            body.append(text(left - 5, top + cell * (i + 0.5) + 4, names[i][:20], "end", names[i]))
        for j, count in enumerate(row):
            share = count / total if total else 0.0
            shade = f"rgb({245 - 195 * share:.0f},{246 - 144 * share:.0f},{248 - 78 * share:.0f})"
            body.append(
                box(
                    left + cell * j,
                    top + cell * i,
                    cell - 0.5,
                    cell - 0.5,
                    shade,
                    f"{names[i]} -> {names[j]}: {count} of {total}",
                )
            )
            if cell >= 20 and count:
                fill = "#fff" if share > 0.55 else "#333"
                body.append(
                    f'<text x="{left + cell * (j + 0.5):.1f}" y="{top + cell * (i + 0.5) + 3.5:.1f}" font-size="10" '
                    f'text-anchor="middle" font-family="system-ui, sans-serif" fill="{fill}" pointer-events="none">'
                    f"{count}</text>"
                )
    bottom = top + cell * size
    if cell >= 9:
        for j, name in enumerate(names):
            x = left + cell * (j + 0.5)
            body.append(
                f'<g transform="rotate(-60 {x:.1f} {bottom + 12:.1f})">{text(x, bottom + 12, name[:20], "end")}</g>'
            )
    longest = max((len(name[:20]) for name in names), default=0)
    return svg(left + cell * size + 10, bottom + (18 + 5.2 * longest if cell >= 9 else 8), body)


def plane(
    sounds: Sequence[Sequence[float]], texts: Sequence[Sequence[float]], names: Sequence[str], labels: Sequence[str]
) -> str:
    """Return sounds as dots and texts as crosses, each class in its color, with names on hover.

    names: of the sounds; labels: of the texts, written out if there are few.
    """
    size, pad = 400.0, 14.0
    points = [*sounds, *texts]
    if not points:
        return ""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    span_x, span_y = (max(xs) - min(xs)) or 1.0, (max(ys) - min(ys)) or 1.0

    def at(point: Sequence[float]) -> tuple[float, float]:
        x = pad + (size - 2 * pad) * (point[0] - min(xs)) / span_x
        return x, pad + (size - 2 * pad) * (point[1] - min(ys)) / span_y

    order = {name: n for n, name in enumerate(dict.fromkeys([*labels, *names]))}
    few = len(labels) <= MOST_WORDS

    def shade(name: str) -> str:
        return f"hsl({(137.5 * order[name]) % 360:.0f},65%,{45 if few else 50}%)"

    taken: dict[bool, list[float]] = {True: [], False: []}
    body = [f'<rect width="{size}" height="{size}" fill="#fbfbfc" stroke="#ddd"/>']
    for n, point in enumerate(sounds):
        x, y = at(point)
        name = names[n] if n < len(names) else ""
        body.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{shade(name) if name else "#3366aa"}" '
            f'fill-opacity="0.65"><title>{html.escape(name)}</title></circle>'
        )
    for n, point in enumerate(texts):
        x, y = at(point)
        name = labels[n] if n < len(labels) else ""
        stroke = shade(name) if name and few else "#111"
        body.append(
            f'<path d="M{x - 4:.1f} {y:.1f}h8M{x:.1f} {y - 4:.1f}v8" stroke="{stroke}" stroke-width="{2 if few else 1}"'
            f"><title>{html.escape(name)}</title></path>"
        )
        if few and name:
            left = x < size / 2
            row = _free_row(y + 4, taken[left], size)
            body.append(text(x + (6 if left else -6), row, name[:24], "start" if left else "end"))
    return svg(size, size, body)


def _free_row(y: float, taken: list[float], size: float) -> float:
    """Return the height nearest to y that is free of text, and mark it as taken."""
    steps = [0.0] + [sign * 3.0 * n for n in range(1, 60) for sign in (1, -1)]
    free = [y + d for d in steps if 12 <= y + d <= size - 4 and all(abs(y + d - other) >= 11 for other in taken)]
    taken.append(free[0] if free else y)
    return taken[-1]
