"""Write a comparison as one self-contained HTML page: no script, no font, no network."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aural.core.files import write_text
from aural.evaluate.records import published, seeds_text
from aural.evaluate.report import svg
from aural.evaluate.report.compare import Scored, against, cell, keys, published_text

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; color: #222 }
table { border-collapse: collapse; margin: .6rem 0; max-width: 100% }
th, td { text-align: left; padding: 3px 10px; vertical-align: top }
thead th { border-bottom: 2px solid #ccc } tbody tr { border-bottom: 1px solid #eee } h2 { margin-top: 2rem }
details { margin: .3rem 0; border: 1px solid #ddd; border-radius: 6px; padding: .4rem .8rem }
summary { cursor: pointer; font-weight: 600 }
.row { display: flex; flex-wrap: wrap; gap: 24px; align-items: flex-start }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 5px }
small, .dim { color: #666 } details td small { white-space: nowrap }
details > table th, details > table td { padding: 3px 6px }
.notes { font-size: 12px; color: #666 }
figure { margin: 0 } figcaption { font-size: 12px; color: #555 }
.num { font-variant-numeric: tabular-nums }
"""
MOST_BARS = 60
NOTHING = "<div class=notes></div>"
MOST_CLASSES = 60


def write_page(runs: Sequence[Scored], path: str | Path, seed: int = 0) -> Path:
    """Write the complete comparison to one file and return its path."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>aural compare</title><style>{STYLE}</style>",
        "<h1>Scores</h1>",
        _legend(runs),
        "<p class=dim>Dot: score. Line: 95% bootstrap interval over clips. Diamond: published score (hover). "
        "Dashed: chance. *: differs from the first run on the same clips "
        "(paired bootstrap, p &lt; 0.05, not corrected for many tasks).</p>",
        _overview(runs, seed),
        _costs(runs),
        "<h2>Task by task</h2>",
        *(_task(runs, key, seed) for key in keys(runs)),
        _robustness(runs),
        _missing(runs),
    ]
    path = Path(path)
    write_text(path, "\n".join(parts))
    return path


def _e(value: object) -> str:
    return html.escape(str(value))


def _key(number: int, name: str) -> str:
    return f'<span class=key style="background:{svg.color(number)}"></span>{_e(name)}'


def _legend(runs: Sequence[Scored]) -> str:
    return "<p>" + " &nbsp; ".join(_key(n, run.name) for n, run in enumerate(runs)) + "</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its cells are HTML already."""
    top = "".join(f"<th>{one}</th>" for one in head)
    body = "".join("<tr>" + "".join(f"<td class=num>{one}</td>" for one in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _marks(record: dict[str, Any]) -> list[tuple[float, str]]:
    return [(float(k["value"]), str(k["model"])) for k in published(record)]


def _overview(runs: Sequence[Scored], seed: int) -> str:
    rows, any_published = [], False
    for key in keys(runs):
        records = [run.records.get(key) for run in runs]
        one = next(record for record in records if record is not None)
        drawn = [None if r is None else (r["score"], *r["interval"]) for r in records]
        numbers = []
        for n, record in enumerate(records):
            test = against(runs[0], runs[n], key, seed) if n else None
            star = " *" if test and test[0].p < 0.05 else ""
            numbers.append(_key(n, cell(record)) + star)
        picture = svg.scores(drawn, _marks(one), one["chance"])
        published_scores = "<br>".join(_e(text) for text in published_text(one))
        any_published |= bool(published_scores)
        link = f'<a href="#{_e(key)}">{_e(key.removesuffix("@zero-shot"))}</a>'
        rows.append([link, _e(one["metric"]), "<br>".join(numbers), picture, f"<small>{published_scores}</small>"])
    head = ["task", "metric", "score [95%]", svg.axis(), "published"]
    return _table(head, rows) if any_published else _table(head[:4], [row[:4] for row in rows])


def _costs(runs: Sequence[Scored]) -> str:
    rows = []
    for n, run in enumerate(runs):
        d = run.details
        packages = ", ".join(f"{name} {version}" for name, version in d["versions"].items())
        clips = d["clips_embedded"]
        rate = f"{clips / d['seconds_embedding']:.1f} clips/s" if clips and d["seconds_embedding"] else "from cache"
        rows.append(
            [
                _key(n, run.name),
                _e(d["model_hash"]),
                f"{d['seconds']:.1f} s",
                f"{d['seconds_embedding']:.1f} s, {rate}",
                f"{d['peak_memory_mb']:.0f} MB",
                f"<small>{_e(d['machine'])}<br>{_e(packages)}</small>",
            ]
        )
    head = ["run", "model hash", "time", "of it embedding", "peak memory", "machine and versions"]
    return "<h2>Time, memory, versions</h2>" + _table(head, rows)


def _task(runs: Sequence[Scored], key: str, seed: int) -> str:
    some = [(n, run.records[key]) for n, run in enumerate(runs) if key in run.records]
    one = some[0][1]
    parts = [
        f'<details id="{_e(key)}"><summary>{_e(one["title"])} <small>{_e(key)}</small></summary>',
        f"<p>{_e(one['definition'])}</p>",
        f"<p class=dim>{_e(one['dataset'])}: {one['clips']:,} clips, {one['clips_missing']:,} missing; data revision "
        f"{_e(one['data_revision'])}; license: {_e(one['license'])}; {_e(one['citation'])}</p>",
        _all_metrics(runs, some),
        _paired(runs, key, seed),
        _row(_per_class(some), _curve(some), *(_layers(runs[n].name, r) for n, r in some)),
        _row(*(_row(_picture(runs[n].name, r)) for n, r in some)),
        "</details>",
    ]
    return "\n".join(part for part in parts if part)


def _row(*figures: str) -> str:
    inner = "".join(figures)
    return f'<div class="row">{inner}</div>' if inner else ""


def _all_metrics(runs: Sequence[Scored], some: Sequence[tuple[int, dict[str, Any]]]) -> str:
    names = list(dict.fromkeys(name for _, record in some for name in record["scores"]))
    rows = []
    for n, record in some:
        cells = []
        for name in names:
            value, within = record["scores"].get(name), record["intervals"].get(name)
            complete = value is not None and within and within[0] is not None
            cells.append(_value(value, within) if complete else "-")
        extra = [f"fold {fold}: {value:.3f}" for fold, value in record["folds"].items()]
        extra += [f"&quot;{_e(prompt)}&quot;: {value:.3f}" for prompt, value in record["prompts"].items()]
        if over_seeds := seeds_text(record):
            extra.append(_e(over_seeds.removeprefix(", ")))
        extra += [_e(note) for note in record["notes"]]
        rows.append([_key(n, runs[n].name), *cells, f"<div class=notes>{'<br>'.join(extra)}</div>"])
    head = ["run", *map(_e, names), "folds, prompts, notes"]
    return _table(head, rows) if any(row[-1] != NOTHING for row in rows) else _table(head[:-1], [r[:-1] for r in rows])


def _value(value: float, within: Sequence[float]) -> str:
    score, low, high = (f"{one:.3f}" if one < 10 else f"{one:.0f}" for one in (value, *within))
    return f"{score}<br><small>[{low}, {high}]</small>"


def _paired(runs: Sequence[Scored], key: str, seed: int) -> str:
    lines = []
    for run in runs[1:]:
        if test := against(runs[0], run, key, seed):
            both, exact = test
            text = (
                f"{_e(run.name)} minus {_e(runs[0].name)}: {both.difference:+.3f} [{both.low:+.3f}, {both.high:+.3f}], "
            )
            lines.append(text + f"p {both.p:.3f}" + ("" if exact is None else f", McNemar p {exact:.3g}"))
    return f"<p>{'<br>'.join(lines)}</p>" if lines else ""


def _per_class(some: Sequence[tuple[int, dict[str, Any]]]) -> str:
    names = list(dict.fromkeys(name for _, record in some for name in record["per_class"]))
    if not names:
        return ""
    first = some[0][1]["per_class"]
    names.sort(key=lambda name: -first.get(name, 0.0))
    shown = names if len(names) <= MOST_BARS else names[: MOST_BARS // 2] + names[-MOST_BARS // 2 :]
    left_out = f" (the best and the worst {MOST_BARS // 2} of {len(names)})" if len(names) > MOST_BARS else ""
    series: list[list[float | None]] = [[] for _ in range(some[-1][0] + 1)]
    for n in range(len(series)):
        record = next((r for m, r in some if m == n), None)
        series[n] = [None if record is None else record["per_class"].get(name) for name in shown]
    caption = f"{_e(some[0][1]['per_class_metric'])} per class{left_out}"
    return f"<figure>{svg.bars(shown, series)}<figcaption>{caption}</figcaption></figure>"


def _curve(some: Sequence[tuple[int, dict[str, Any]]]) -> str:
    series = [(str(n), r["curve"]["k"], r["curve"]["R@k"]) for n, r in some if r["curve"]]
    if not series:
        return ""
    return f"<figure>{svg.curves(series, 'k', logarithmic=True)}<figcaption>R@k</figcaption></figure>"


def _layers(name: str, record: dict[str, Any]) -> str:
    """Return the table and the curve of `--method layer-probe`: what each layer holds of the classes."""
    layers = record["details"].get("layers")
    if not layers:
        return ""
    columns = list(next(iter(layers.values())))
    table = _table(
        ["layer", *map(_e, columns)],
        [[_e(layer), *(f"{values[column]:.3f}" for column in columns)] for layer, values in layers.items()],
    )
    places = list(range(1, len(layers) + 1))
    curves = [column for column in columns if column in ("linear", "knn", "cca") or column.endswith("-shot")]
    drawn = [(column, places, [min(one[column], 1.0) for one in layers.values()]) for column in curves]
    keys = " ".join(_key(number, column) for number, column in enumerate(curves))
    caption = f"{_e(name)}, rows of the table from left to right: {keys} (cca: canonical correlation with the classes)"
    return f"<figure>{svg.curves(drawn, 'row')}<figcaption>{caption}</figcaption>{table}</figure>"


def _picture(name: str, record: dict[str, Any]) -> str:
    parts = []
    if record["confusion"] and len(record["classes"]) <= MOST_CLASSES:
        drawn = svg.matrix(record["confusion"], record["classes"])
        parts.append(f"<figure>{drawn}<figcaption>{_e(name)}: rows true, columns predicted</figcaption></figure>")
    if space := record["space"]:
        drawn = svg.plane(space["sounds"], space["texts"], space["names"], space["text_names"])
        facts = [f"{what.replace('_', ', ')} {space[what]:.3f}" for what in SPACE if space.get(what) is not None]
        text = f"{_e(name)}: sounds (dots) and texts (crosses), first two principal components<br>{'; '.join(facts)}"
        parts.append(f"<figure>{drawn}<figcaption>{text}</figcaption></figure>")
    return "".join(parts)


SPACE = ("gap", "alignment", "uniformity_audio", "uniformity_text")


def _robustness(runs: Sequence[Scored]) -> str:
    """Return the curves of `aural evaluate --robustness`, one drawing per task and change."""
    curves = {}
    for n, run in enumerate(runs):
        if (run.folder / "robustness.json").is_file():
            curves[n] = json.loads((run.folder / "robustness.json").read_text(encoding="utf-8"))
    if not curves:
        return ""
    parts = ["<h2>Robustness</h2><p class=dim>The same task on changed sounds or words, in the colors of the runs.</p>"]
    for task in dict.fromkeys(task for one in curves.values() for task in one):
        parts.append(f"<h3>{_e(task)}</h3><div class=row>")
        for change in dict.fromkeys(c for one in curves.values() for c in one.get(task, {})):
            kept = {n: one[task][change] for n, one in curves.items() if change in one.get(task, {})}
            first = next(iter(kept.values()))
            clean = "; unchanged " + ", ".join(f"{one['clean']:.3f}" for one in kept.values())
            if first["numeric"]:
                blank: list[tuple[str, list[float], list[float]]] = [("", [], [])] * len(runs)
                for n, one in kept.items():
                    blank[n] = (runs[n].name, [float(x) for x in one["levels"]], one["scores"])
                drawn = svg.curves(blank, str(first["axis"]))
            else:
                rows: list[list[float | None]] = [[None] * len(first["levels"]) for _ in runs]
                for n, one in kept.items():
                    rows[n] = list(one["scores"])
                drawn = svg.bars([str(level) for level in first["levels"]], rows, width=372)
            parts.append(f"<figure>{drawn}<figcaption>{_e(change)}: {_e(first['metric'])}{clean}</figcaption></figure>")
        parts.append("</div>")
    return "\n".join(parts)


def _missing(runs: Sequence[Scored]) -> str:
    rows = [
        [_key(n, r.name), _e(key), f"<small>{_e(why)}</small>"]
        for n, r in enumerate(runs)
        for key, why in r.details["missing"].items()
    ]
    rows += [
        [_key(n, r.name), _e(path), f"<small>{_e(why)}</small>"]
        for n, r in enumerate(runs)
        for path, why in r.details["unreadable"].items()
    ]
    return "<h2>Not scored</h2>" + _table(["run", "task or sound", "why"], rows) if rows else ""
