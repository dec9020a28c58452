"""Test drawn folds: each recording is in one fold, classes are spread, and impossible probes are reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import RandomEmbedder

from aural.core.errors import DataError
from aural.data.manifest import Row, write_manifest
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.examples import Examples, examples
from aural.evaluate.run import evaluate
from aural.evaluate.runners.folds import clips_without_peer, drawn_folds

CARD = cards.task("libre-scratch-animals")


def corpus(folder: Path, groups: dict[str, list[str]]) -> DataRoot:
    """Return clips of classes with the given groups, one clip per named group."""
    rows = [
        Row(
            path=f"clips/scratch/{name}-{n}.wav",
            source="scratch",
            split="eval-only",
            family="animal",
            class_name=name,
            group=group,
        )
        for name, some in groups.items()
        for n, group in enumerate(some)
    ]
    for row in rows:
        path = folder / "libre" / row.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row.path.encode())
    write_manifest(folder / "libre" / "manifest.parquet", rows)
    return DataRoot(folder)


def folds_of(found: Examples, seed: int = 0) -> dict[str, set[str]]:
    """Map each group to its folds."""
    where: dict[str, set[str]] = {}
    for row, fold in zip(found.rows, drawn_folds(found, seed), strict=True):
        where.setdefault(f"{row.class_name} {row.group}", set()).add(fold)
    return where


def test_groups_stay_whole_and_classes_are_spread(tmp_path: Path) -> None:
    root = corpus(tmp_path, {"dog": [f"d{n // 3}" for n in range(30)], "cat": [f"c{n}" for n in range(10)]})
    found = examples(CARD, root)
    where = folds_of(found)
    assert all(len(folds) == 1 for folds in where.values())
    assert found.targets is not None
    folds = np.array(drawn_folds(found, 0))
    for k in np.flatnonzero(found.targets.sum(axis=0)):
        counts = [int(found.targets[folds == fold, k].sum()) for fold in "12345"]
        assert counts in ([6] * 5, [2] * 5)  # 10 groups of 3, 10 of 1, dealt to five folds
    assert drawn_folds(found, 0) == drawn_folds(found, 0)
    assert drawn_folds(found, 0) != drawn_folds(found, 1)


def test_a_class_of_one_group_is_cut_by_clips(tmp_path: Path) -> None:
    root = corpus(tmp_path, {"dog": ["one"] * 10, "cat": [f"c{n}" for n in range(10)], "owl": ["o"]})
    found = examples(CARD, root)
    assert folds_of(found)["dog one"] == set("12345")
    assert clips_without_peer(found) == 1
    run = evaluate(RandomEmbedder(), [CARD], root, tmp_path / "out", methods=["linear-probe"], resamples=10)
    notes = run.scores["libre-scratch-animals@linear-probe"]["notes"]
    assert any(note.startswith("1 of 21 clips") for note in notes)


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    root = corpus(tmp_path, {"dog": ["a"], "cat": ["b"], "owl": ["c"]})
    with pytest.raises(DataError, match="no class of this task has two clips"):
        drawn_folds(examples(CARD, root), 0)
