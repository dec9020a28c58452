"""Show the contents of a corpus: tables of counts, and an HTML page with a spectrogram and a player per clip."""

from __future__ import annotations

import html
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aural.audio.io import read
from aural.core.errors import AudioError
from aural.core.files import atomic_write
from aural.data.listen import spectrogram_png
from aural.data.manifest import SPLITS, Manifest, Row

WIDTH, HEIGHT = 120, 40  # of a spectrogram, in pixels
TABLES: Final = (("family", "class_name"), ("source",), ("license",), ("language",))
STYLE: Final = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; background: #fafafa; color: #222 }
h2 { margin: 1.5rem 0 .4rem; font-size: 1.05rem } section { display: flex; flex-wrap: wrap; gap: 8px }
figure { margin: 0; width: 200px; background: #fff; border: 1px solid #ddd; border-radius: 6px; padding: 6px }
img { width: 100%; height: 48px; image-rendering: pixelated } audio { width: 100%; height: 28px }
figcaption { font-size: 12px; overflow-wrap: anywhere } small { color: #777 }
"""


def counts(manifest: Manifest) -> str:
    """Return Markdown tables: totals, then clips per split by class, source, license and language."""
    rows = list(manifest)
    parts = [_totals(rows)]
    titles = {"class_name": "By class", "source": "By source", "license": "By license", "language": "By language"}
    for columns in TABLES:
        labeled = [row for row in rows if getattr(row, columns[-1])]
        if labeled:
            parts.append(f"### {titles[columns[-1]]}\n\n{_table(labeled, columns)}")
    return "\n".join(parts)


def is_recording(row: Row) -> bool:
    """Return whether a clip is neither speech nor a rendered note."""
    return not row.language and "velocity" not in row.meta


def _totals(rows: list[Row]) -> str:
    recordings = [row for row in rows if is_recording(row)]
    notes = [row for row in rows if "velocity" in row.meta]
    speech = [row for row in rows if row.language]
    lines = [
        "| what | clips | minutes | train | valid | test | eval-only | kinds |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, members, kinds in (
        ("recordings, no speech", recordings, f"{len({r.class_name for r in recordings})} classes"),
        ("rendered instrument notes", notes, f"{len({r.group for r in notes})} programs"),
        (
            "speech",
            speech,
            f"{len({r.language.split('-')[0] for r in speech})} languages, "
            f"{len({r.language.split('-')[0] for r in speech if r.transcript})} with transcripts",
        ),
        ("all", rows, f"{len({r.source for r in rows})} sources"),
    ):
        lines.append(f"| {name} | {_numbers(members)} | {kinds} |")
    return "\n".join(lines) + "\n"


def _numbers(rows: list[Row]) -> str:
    splits = Counter(row.split for row in rows)
    cells = [f"{len(rows):,}", f"{sum(r.duration_s for r in rows) / 60:,.1f}", *(f"{splits[s]:,}" for s in SPLITS)]
    return " | ".join(cells)


def _table(rows: list[Row], columns: tuple[str, ...]) -> str:
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(str(getattr(row, column)) for column in columns)].append(row)
    names = [column.removesuffix("_name") for column in columns]
    head = [f"| {' | '.join(names)} | clips | minutes | {' | '.join(SPLITS)} |"]
    head.append("|---" * len(columns) + "|--:" * 6 + "|")
    return "\n".join([*head, *(f"| {' | '.join(key)} | {_numbers(groups[key])} |" for key in sorted(groups))]) + "\n"


def write_page(manifest: Manifest, path: Path, *, most_per_class: int = 0) -> Path:
    """Write the listening page and return its path.

    The page contains everything except the sounds, which it links by relative paths. `most_per_class` limits the clips
    per class; 0 shows all.
    """
    with atomic_write(path) as part, part.open("w", encoding="utf-8") as out:
        out.writelines(_page(manifest, path.parent, most_per_class))
    return path


def _page(manifest: Manifest, folder: Path, most: int) -> Iterator[str]:
    by_class: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in manifest:
        by_class[row.family, row.class_name].append(row)
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>Corpus</title><style>{STYLE}</style>\n"
    yield f"<h1>{len(manifest):,} clips in {len(by_class)} classes</h1>\n"
    for (family, class_name), rows in sorted(by_class.items()):
        yield f"<h2>{html.escape(family)}: {html.escape(class_name)} <small>{len(rows)}</small></h2><section>\n"
        for row in rows[: most or None]:
            yield _figure(row, manifest.file(row), folder)
        yield "</section>\n"
    yield "</html>\n"


def _figure(row: Row, file: Path, folder: Path) -> str:
    link = html.escape(Path(os.path.relpath(file, folder)).as_posix().replace("%", "%25").replace("#", "%23"))
    try:
        pixels = spectrogram_png(read(file, mono=True), WIDTH, HEIGHT)
        picture = f'<img loading=lazy alt="" src="data:image/png;base64,{pixels}">'
    except AudioError as error:
        picture = f"<p>{html.escape(str(error))}</p>"
    words = html.escape(row.transcript or row.caption_short)
    about = html.escape(f"{row.split}, {row.source}, {row.duration_s:.1f} s, {row.license}")
    return (
        f'<figure>{picture}<audio controls preload=none src="{link}"></audio>'
        f"<figcaption>{words}<br><small>{about}<br>{html.escape(row.path)}</small></figcaption></figure>\n"
    )
