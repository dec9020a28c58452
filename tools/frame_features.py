"""Frames of simulated scenes of the free corpus, computed once per model, for tune_frame_head.py and tune_order.py.

Training scenes come from the training split, validation and test scenes from held-out clips.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import aural
from aural.data.manifest import read_manifest
from aural.evaluate.scenes import HELD_OUT, VALIDATION, build_scenes
from aural.models.embedding import EmbeddingModel

PARTS: Final = {"train": (("train",), 500, 7), "valid": (VALIDATION, 150, 0), "test": (HELD_OUT, 200, 0)}
"""Splits of the clips, number of scenes, seed."""


@dataclass(frozen=True)
class SceneFrames:
    """Scenes of one part: vectors (W, E) and times (W, 2) in seconds, events [onset_s, offset_s, label], captions."""

    vectors: list[NDArray[np.float32]]
    times_s: list[NDArray[np.float64]]
    events: list[list[list[Any]]]
    captions: list[list[str]]

    @property
    def tags(self) -> list[str]:
        """Return the labels that sound in these scenes, sorted."""
        return sorted({label for of_scene in self.events for *_, label in of_scene})


def scene_frames(model: EmbeddingModel, corpus: Path, folder: Path, part: str) -> SceneFrames:
    """Return the frames of a part, from `folder` if they are there."""
    file = folder / f"{part}.npz"
    if not file.is_file():
        splits, count, seed = PARTS[part]
        place = folder / f"scenes-{part}"
        if not place.is_dir():
            build_scenes(read_manifest(corpus), place, count=count, seed=seed, splits=splits)
        rows = list((manifest := read_manifest(place)).rows())
        embedded = [model.embed_frames(manifest.file(row)) for row in rows]
        np.savez(
            file,
            v=np.concatenate([vectors.astype(np.float16) for vectors, _ in embedded]),
            t=np.concatenate([np.asarray(times, np.float32) for _, times in embedded]),
            n=[len(vectors) for vectors, _ in embedded],
            e=json.dumps([json.loads(row.meta)["events"] for row in rows]),
            c=json.dumps([row.captions for row in rows]),
        )
    stored = np.load(file)
    ends = np.cumsum(stored["n"])[:-1]
    vectors = [rows.astype(np.float32) for rows in np.split(stored["v"], ends)]
    times = np.split(stored["t"].astype(np.float64), ends)
    return SceneFrames(vectors, times, json.loads(str(stored["e"])), json.loads(str(stored["c"])))


def open_run(
    doc: str, options: Mapping[str, float]
) -> tuple[argparse.Namespace, EmbeddingModel, dict[str, SceneFrames]]:
    """Return the arguments of a tool (options: name to default), its model and the frames of all parts."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path, help="Keeps scenes and frames.")
    parser.add_argument("--model", default="libre-base")
    for name, default in {"seeds": 3, **options}.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    model = aural.load(arguments.model, device="cpu")
    return arguments, model, {part: scene_frames(model, arguments.corpus, arguments.folder, part) for part in PARTS}
