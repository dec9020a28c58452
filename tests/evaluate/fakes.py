"""Embedders for tests (chance, oracle) and synthetic data sets for every task card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aural.core.types import FloatArray
from aural.data import cards as datasets
from aural.data.manifest import Row, write_manifest
from aural.evaluate.cards import TaskCard
from aural.evaluate.data_root import DataRoot
from aural.evaluate.examples import captions, examples, meta, table_rows
from aural.evaluate.kinds import KINDS

WORDS = ("bell", "rain", "dog", "saw", "door", "horn", "frog", "glass")


class RandomEmbedder:
    """An embedder that returns random unit vectors drawn from the hash of each input."""

    sample_rate_hz, embed_dim = 16_000, 64

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.revision, self.calls = seed, f"random {seed}", 0

    def _vector(self, key: str) -> FloatArray:
        digest = hashlib.sha256(f"{self.seed} {key}".encode()).digest()
        draw = np.random.default_rng(list(digest)).standard_normal(self.embed_dim)
        return (draw / np.linalg.norm(draw)).astype(np.float32)

    def embed_audio(self, clips: Iterable[Any]) -> FloatArray:
        self.calls += 1
        return np.stack([self._vector("/".join(Path(clip).parts[-3:])) for clip in clips])

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        return np.stack([self._vector(f"text {text}") for text in texts])

    def embed_frames(self, clip: Any) -> tuple[FloatArray, list[tuple[float, float]]]:
        names = [f"{Path(clip).name} {second}" for second in range(10)]
        return np.stack([self._vector(name) for name in names]), [(s, s + 1.0) for s in range(10)]


class Oracle:
    """An embedder that contains one task's truth: a sound's vector is the sum of the axes of its true texts."""

    sample_rate_hz = 16_000

    def __init__(self, card: TaskCard, root: DataRoot) -> None:
        self.revision = f"oracle of {card.name}"
        self.axes: dict[str, dict[int, float]] = {}
        self.sounds: dict[str, dict[int, float]] = {}
        self.events: dict[str, list[list[Any]]] = {}
        self.card = card
        found = examples(card, root)
        if KINDS[card.kind].labelled:
            for k, name in enumerate(found.classes):
                self.axes[card.prompt.replace("{}", card.words(name))] = {k: 1.0}
            self.neutral = len(found.classes)
            self.axes[card.prompt.replace("{}", "something")] = {self.neutral: 1.0}
            self.embed_dim = len(found.classes) + 1
            assert found.targets is not None
            for one, target in zip(found.rows, found.targets, strict=True):
                true = {int(k): 1.0 for k in np.flatnonzero(target)}
                self.sounds[str(found.corpus.folder / one.path)] = true | {self.neutral: 0.5}
                self.events[str(found.corpus.folder / one.path)] = meta(one).get("events", [])
            self.classes = found.classes
            return
        self.embed_dim = len(found.rows)
        for n, one in enumerate(found.rows):
            self.sounds[str(found.corpus.folder / one.path)] = {n: 1.0}
            for text in captions(one, card) if card.kind != "entailment" else ():
                self.axes.setdefault(text, {})[n] = 1.0
        if card.table is not None:
            for split in {*card.split, *card.train}:
                self._hypotheses(card, root, split)

    def _hypotheses(self, card: TaskCard, root: DataRoot, split: str) -> None:
        assert card.table is not None
        corpus = root.corpus(card.dataset, [split])
        self.embed_dim += 2 * len(corpus.rows)
        for number, record in table_rows(card.table, [split], root, corpus):
            axis = self.embed_dim - 1 - 2 * number
            self.sounds[str(corpus.file(number))] = {axis: 1.0, axis - 1: 0.5}
            for level, columns in enumerate(card.classes.values()):
                self.axes[record[columns[0]]] = {axis: 1.0} if level == 2 else {axis - 1: 1.0} if level == 1 else {}

    def _row(self, parts: dict[int, float]) -> FloatArray:
        row = np.zeros(self.embed_dim, np.float32)
        for axis, value in parts.items():
            row[axis] = value
        return row / max(float(np.linalg.norm(row)), 1e-12)

    def embed_audio(self, clips: Iterable[Any]) -> FloatArray:
        return np.stack([self._row(self.sounds.get(str(clip), {})) for clip in clips])

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        return np.stack([self._row(self.axes.get(text, {})) for text in texts])

    def embed_frames(self, clip: Any) -> tuple[FloatArray, list[tuple[float, float]]]:
        rows = []
        for second in range(10):
            sounding = [label for on, off, label in self.events[str(clip)] if on < second + 1 and off > second]
            rows.append(self._row({self.classes.index(name): 1.0 for name in sounding} | {self.neutral: 0.5}))
        return np.stack(rows), [(float(s), s + 1.0) for s in range(10)]

    def caption(self, clips: Sequence[Any]) -> list[str]:
        by_clip = {next(iter(axes)): text for text, axes in reversed(self.axes.items())}
        return [by_clip[next(iter(self.sounds[str(clip)]))] for clip in clips]


class RandomWriter:
    """A captioner that writes a caption of the task drawn by the hash of the clip's name."""

    sample_rate_hz, embed_dim = 16_000, 1

    def __init__(self, card: TaskCard, root: DataRoot) -> None:
        self.revision = f"random writer of {card.name}"
        self.captions = [text for one in examples(card, root).rows for text in captions(one, card)]

    def caption(self, clips: Sequence[Any]) -> list[str]:
        digests = (hashlib.sha256("/".join(Path(clip).parts[-3:]).encode()).digest() for clip in clips)
        return [self.captions[int.from_bytes(digest[:8], "big") % len(self.captions)] for digest in digests]


def made_up(card: TaskCard, root: Path, count: int = 60) -> DataRoot:
    """Write a data set that fits the card: `count` clips per split, or one per class where files name classes."""
    generator = np.random.default_rng(len(card.name))
    folder = root / card.dataset
    rows = [
        row
        for split in dict.fromkeys((*(card.split if "split" in card.columns else ["eval-only"]), *card.train))
        for row in _rows(card, split, count, generator)
    ]
    for row in rows:
        path = folder / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row.path.encode())
    write_manifest(folder / "manifest.parquet", rows)
    if card.table is not None:
        _table(card, root, rows)
    return DataRoot(root)


def _rows(card: TaskCard, split: str, count: int, generator: np.random.Generator) -> list[Row]:
    values = _values(card)
    fixed = {name: some[0] for name, some in card.columns.items() if name != "split" and not name.startswith("meta.")}
    rows = []
    for n in range(len(values) if card.by in ("file", "folder") else max(count, 2 * len(values))):
        value = values[n % len(values)]
        several = [values[int(k)] for k in generator.permutation(len(values))[: 1 + n % 3]]
        facts: dict[str, Any] = {"fold": str(1 + n // len(values) % 5)}
        fields: dict[str, Any] = dict(fixed)
        source = str(fields.get("source", card.dataset))
        path = f"clips/{source}/{split}/{n}.wav"
        if card.by in ("file", "folder"):
            path = f"clips/{source}/{value}.wav" if card.by == "file" else f"clips/{source}/{value}/{n}.wav"
        elif card.by.startswith("meta."):
            facts[card.by[5:]] = card.separator.join(several) if card.separator else value
        elif card.by == "tags":
            fields["tags"] = several if card.kind in ("zero-shot-multi-label", "frames") else [value]
        else:
            fields[card.by] = value
        facts |= {name[5:]: some[0] for name, some in card.columns.items() if name.startswith("meta.")}
        facts["events"] = [[float(s), s + 1.0 + n % 2, several[s % len(several)]] for s in (1, 4, 7)]
        said = [f"{WORDS[n % 8]} {k} of clip {split} {n}" for k in range(5)]
        facts["negatives"] = [[kind, f"not {kind} {said[0]}"] for kind in card.pair_kinds]
        columns = card.captions or ["captions"]
        fields |= {name: said if name == "captions" else said[i] for i, name in enumerate(columns)}
        rows.append(
            Row(**({"source": source} | fields), path=path, split=split, duration_s=10.0, meta=json.dumps(facts))
        )
    return rows


def _values(card: TaskCard) -> list[str]:
    if card.classes and card.kind != "entailment":
        return [value for some in card.classes.values() for value in some]
    known = datasets.card(card.dataset).classes if card.dataset in datasets.names() else ()
    return list(known) or [f"class {k}" for k in range(12)]


def _table(card: TaskCard, root: Path, rows: list[Row]) -> None:
    assert card.table is not None
    for split, name in card.table.files.items():
        path = root / card.table.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ["Audio file,Caption,Entailment,Neutral,Contradiction"]
        for row in rows:
            if row.split == split:
                n = f"{split} {Path(row.path).stem}"
                lines.append(f"{Path(row.path).name},c,follows {n},may follow {n},contradicts {n}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
