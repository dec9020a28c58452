"""Choose the clips of the bundled captioner from a corpus, and write their vectors by libre-base.

Three lists, none with a recording group of another one:

    test    clips of the test split without speech, at most 6 per class, 500 drawn with seed 0
    dev     the validation clips without speech, and up to 200 clips of held-out training groups of the second edition,
            which libre-base was not trained on, at most 3 per class; settings are chosen by them
    audio   other training clips: per class at most 8 that libre-base has learned ("seen") and 12 that it has not, which
            describe its errors better, and 60 with speech
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aural.data.libre.cards import SOURCES
from aural.data.manifest import Row, read_manifest
from pack_clips import chosen as learned_clips

TEST, TEST_PER_CLASS = 500, 6
DEV, DEV_PER_CLASS = 200, 3
SEEN_PER_CLASS, UNSEEN_PER_CLASS, SPEECH = 8, 12, 60
LONGEST_S = 20.0
"""Longer clips are left out: they are few, and most hold several sounds."""


def drawn(rows: Sequence[Row], per_class: int, most: int) -> list[Row]:
    """Return up to `most` rows with at most `per_class` of each class, in an order drawn with seed 0."""
    taken: Counter[str] = Counter()
    chosen: list[Row] = []
    for place in np.random.default_rng(0).permutation(len(rows)):
        row = rows[int(place)]
        if taken[row.class_name or row.label] < per_class and len(chosen) < most:
            taken[row.class_name or row.label] += 1
            chosen.append(row)
    return chosen


def learned(rows: Sequence[Row]) -> set[str]:
    """Return the paths of the clips that libre-base was trained on."""
    return {row.path for row, _ in learned_clips([row for row in rows if SOURCES[row.source].edition == 1])}


def lists(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the three lists."""
    usable = sorted((row for row in rows if row.caption_short and row.duration_s <= LONGEST_S), key=lambda r: r.path)
    sounds = [row for row in usable if not row.language and row.family != "speech"]
    of_split = {split: [row for row in sounds if row.split == split] for split in ("train", "valid", "test")}
    groups = sorted({row.group for row in of_split["train"] if SOURCES[row.source].edition > 1})
    held = {groups[i] for i in np.random.default_rng(1).permutation(len(groups))[: len(groups) // 4]}
    dev = drawn([row for row in of_split["train"] if row.group in held], DEV_PER_CLASS, DEV)
    spoken = [row for row in usable if row.split == "train" and (row.language or row.family == "speech")]
    rest, seen = [row for row in of_split["train"] if row.group not in held], learned(rows)
    train = drawn([row for row in rest if row.path not in seen], UNSEEN_PER_CLASS, len(rest))
    train += drawn([row for row in rest if row.path in seen], SEEN_PER_CLASS, len(rest))
    return {
        "test": drawn(of_split["test"], TEST_PER_CLASS, TEST),
        "dev": [*of_split["valid"], *dev],
        "audio": [*train, *drawn(spoken, SPEECH, SPEECH)],
    }


def clips(args: argparse.Namespace) -> None:
    """Write NAME.json and NAME.npy of each list."""
    import aural

    corpus, out = Path(args.corpus), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    model = aural.load("libre-base", engine="onnx")
    manifest = list(read_manifest(corpus))
    seen = learned(manifest)
    for name, rows in lists(manifest).items():
        kept, vectors = [], []
        for result, row in zip(model.stream_audio(corpus / row.path for row in rows), rows, strict=True):
            if result.embedding is not None:
                label = row.class_name or row.label
                kept.append({"path": row.path, "label": label, "group": row.group, "seen": row.path in seen})
                vectors.append(result.embedding)
        (out / f"{name}.json").write_text(json.dumps(kept))
        np.save(out / f"{name}.npy", np.stack(vectors).astype(np.float16))
        print(f"{name}: {len(kept)} of {len(rows)} clips, {len({row['label'] for row in kept})} classes", flush=True)
