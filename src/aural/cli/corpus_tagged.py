"""`aural corpus contradictions` and `aural corpus pseudo-labels`: labels of the free corpus compared with a tagger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aural.cli.corpus_words import FolderArgument
from aural.cli.files import progress
from aural.core.errors import ConfigError
from aural.core.files import atomic_write, write_text
from aural.core.names import DEFAULT_TAGGER
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.data.libre.tagged import Scored
    from aural.data.manifest import Manifest

ScoresOption = Annotated[
    Path | None, typer.Option("--scores", help="File of the tagger's scores (.npz); written if it does not exist.")
]


def contradictions(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="List to write (TSV).")],
    scores: ScoresOption = None,
) -> None:
    """List the training clips whose labels the tagger contradicts, with counts per tag and class."""
    from aural.data.libre.tagged import WINDOW_S, contradictions
    from aural.data.manifest import read_manifest

    listed = contradictions(_scored(read_manifest(folder), scores))
    lines = [
        f"{c.score:.3f}\t{c.agreed:.3f}\t{c.row.duration_s:.2f}\t{c.tag}\t{c.row.class_name}\t{c.row.caption_label}\t"
        f"{c.row.path}\n"
        for c in listed
    ]
    write_text(out, "score\tagreed\tseconds\ttag\tclass\tlabel\tpath\n" + "".join(lines))
    short = sum(c.row.duration_s < WINDOW_S for c in listed)
    print(f"{out}: {len(listed)} labels, {short} of them of clips shorter than {WINDOW_S} s")
    for title, names in (("tag", [c.tag for c in listed]), ("class", [c.row.class_name for c in listed])):
        print(f"by {title}: " + ", ".join(f"{name} {count}" for name, count in Counter(names).most_common(12)))


def pseudo_labels(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="Manifest to write; its paths are those of the corpus.")],
    scores: ScoresOption = None,
) -> None:
    """Write a manifest in which training clips whose names say little have a label from the tagger, marked as such."""
    from aural.data.libre.tagged import pseudo_labels, vague_classes
    from aural.data.manifest import read_manifest, write_manifest

    manifest = read_manifest(folder)
    if (
        out.parent.resolve() != manifest.folder.resolve()
        or out.resolve() == (out.parent / "manifest.parquet").resolve()
    ):
        raise ConfigError(
            f"{out}: write the manifest next to that of the corpus under another name; paths are relative"
        )
    clips = _scored(manifest, scores)
    labeled, threshold = pseudo_labels(clips)
    changed = {row.path: row for row in labeled}
    write_manifest(out, [changed.get(row.path, row) for row in manifest])
    print(f"names that say little: {', '.join(sorted(vague_classes(clips)))}")
    counts = ", ".join(f"{right} of {total}" for right, total in (threshold.chosen_on, threshold.held_out))
    print(f"threshold {threshold.score:.2f}; right on named clips: {counts} (groups it was chosen on, other groups)")
    print(f"{out}: {len(labeled)} pseudo-labels")
    for row in labeled:
        print(f"  {row.path} [{row.class_name}] {row.captions[-1]}")


def _scored(manifest: Manifest, file: Path | None) -> Scored:
    """Return the recordings without speech with the tagger's scores, from the file if it has them."""
    import numpy as np

    from aural.data.libre.tagged import recordings, scored
    from aural.models.load import load
    from aural.models.tagging import TaggingModel

    rows = recordings(manifest)
    tagger = load(DEFAULT_TAGGER, engine="auto")
    assert isinstance(tagger, TaggingModel)
    by_path = {}
    if file is not None and file.is_file():
        with np.load(file) as stored:
            by_path = dict(zip(stored["paths"].tolist(), stored["scores"], strict=True))
    missing = [row for row in rows if row.path not in by_path]
    results = tagger.tag([manifest.file(row) for row in missing])
    for row, result in zip(missing, progress(results, len(missing), "tagging"), strict=True):
        if result.scores is not None:
            by_path[row.path] = result.scores.astype(np.float32)
    rows = [row for row in rows if row.path in by_path]
    if not rows:
        raise ConfigError(f"{manifest.folder}: no training clip is a recording without speech")
    scores = np.stack([by_path[row.path] for row in rows])
    if file is not None and missing:
        with atomic_write(file) as part, part.open("wb") as out:
            np.savez(out, paths=[row.path for row in rows], scores=scores)
    return scored(rows, scores, tagger.classes)
