"""Sounds of two events in both orders, or with exchanged levels, and clips, embedded once for tune_order.py.

Events of training sounds are training clips; validation and test sounds are made of held-out clips. Every sound fits
into one window of the model, shorter ones are filled as the model fills them. Half of them have a background.

Legend: Q quadruples, F forms of a caption, N clips, E joint dimensions, D width of the moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from aural.audio.length import fit_shorter, windows
from aural.core.errors import ConfigError
from aural.core.files import atomic_write
from aural.core.scoring import label_prompts
from aural.core.types import FloatArray
from aural.data.manifest import Manifest, Row
from aural.data.simulate import SceneConfig, SceneSimulator
from aural.data.simulate.corpus import clips_of
from aural.data.simulate.render import render
from aural.data.simulate.truth import SceneTruth
from aural.evaluate.scenes import HELD_OUT, VALIDATION
from aural.models.clap import AudioTower
from aural.models.pipeline import Model
from aural.nn.functional import unit
from aural.reproduce.quadruples import KINDS, Quadruple, quadruple_of
from aural.reproduce.short_captions import in_order, loudness_words, quadruple_captions
from aural.train.draw import ITEM, generator

FORMS: Final = 4
"""Captions of each quadruple: one in the words of the simulator, the others short, "a, then b"."""
PARTS: Final[dict[str, tuple[tuple[str, ...], int | None, dict[str, int], int]]] = {
    "train": (("train",), 8, {"order": 700, "attribute": 300}, 7),
    "valid": (VALIDATION, None, {"order": 150, "attribute": 100}, 0),
    "test": (HELD_OUT, 6, {"order": 250, "attribute": 150}, 0),
}
"""Splits, clips per class for scenes, quadruples of each kind, seed."""
TRAINING, SPARE, TEST = 2400, 800, 500
"""Clips with captions: those whose similarities are held, training clips that are kept for validation, test clips."""
LONGEST_S: Final = 4.0
BATCH: Final = 8


@dataclass(frozen=True)
class Part:
    """Unit vectors of sounds without the residual, the moments of their features, and vectors of their captions."""

    quadruples: dict[str, tuple[Tensor, Tensor, Tensor]]
    """Of each kind: (Q, 2, E), (Q, 2, D), (Q, F, 2, E); caption i of a form is true of sound i alone."""
    clips: tuple[Tensor, Tensor, Tensor]
    """(N, E), (N, D), (N, 2, E): the caption of each, and the prompt of `aural classify` with its label."""


def load_part(model: Model, tower: AudioTower, manifest: Manifest, file: Path, name: str) -> Part:
    """Return the vectors of a part, from `file` if they are there."""
    if not file.is_file():
        with atomic_write(file, ConfigError) as unfinished, unfinished.open("wb") as out:
            np.savez(out, **_build(model, tower, manifest, name))
    with np.load(file) as stored:
        data = {key: torch.from_numpy(values).float() for key, values in stored.items()}
    return Part(
        {
            kind: (
                data[f"{kind}_sounds"].unflatten(0, (-1, 2)),
                data[f"{kind}_moments"].unflatten(0, (-1, 2)),
                data[f"{kind}_texts"].unflatten(0, (-1, FORMS, 2)),
            )
            for kind in KINDS
        },
        (data["clip_sounds"], data["clip_moments"], data["clip_texts"]),
    )


def _build(model: Model, tower: AudioTower, manifest: Manifest, name: str) -> dict[str, FloatArray]:
    splits, per_class, counts, seed = PARTS[name]
    rate, window_s, shorter = model.sample_rate_hz, model.window_s, model.config.audio.shorter
    config = SceneConfig(
        sample_rate_hz=rate, duration_s=(3.0, window_s), events=(2, 2), event_s=(0.1, 2.0), overlap_chance=0.0,
        repeat_chance=0.2, background_chance=0.5, room_chance=0.0,
    )  # fmt: skip
    clips = clips_of(manifest, rate, split=splits, per_class=per_class, longest_s=LONGEST_S)
    simulator = SceneSimulator(clips, config, seed=seed)
    result: dict[str, FloatArray] = {}
    for kind in KINDS:
        pairs, texts, waves = [], [], []
        for one, rng in islice(_quadruples(simulator, kind), counts[kind]):
            pairs.append(one)
            forms = [one.captions, *(quadruple_captions(kind, one.truths, rng) for _ in range(FORMS - 1))]
            texts += [caption for form in forms for caption in form]
            sounds = (render(SceneTruth.from_facts(truth), simulator.bank, ())[0].samples[0] for truth in one.truths)
            waves += [fit_shorter(sound, round(window_s * rate), shorter) for sound in sounds]
        result[f"{kind}_sounds"], result[f"{kind}_moments"] = _embedded(tower, waves)
        result[f"{kind}_texts"] = model.embed_text(texts)
    rows = _clips(manifest, name)
    firsts = (
        next(iter(windows(manifest.file(row), rate, window_s, shorter=shorter, longer="first"))).samples for row in rows
    )
    result["clip_sounds"], result["clip_moments"] = _embedded(tower, firsts)
    captions = [row.caption_short or row.caption_label for row in rows]
    prompts = label_prompts([row.caption_label for row in rows])
    result["clip_texts"] = np.stack([model.embed_text(captions), model.embed_text(prompts)], axis=1)
    return result


def _quadruples(simulator: SceneSimulator, kind: str) -> Iterator[tuple[Quadruple, np.random.Generator]]:
    """Yield the quadruples of a kind without end; each scene is used for one kind."""
    number = KINDS.index(kind)
    while True:
        rng = generator(simulator.seed, ITEM, number)
        one = quadruple_of(kind, simulator.plan(number).truth, simulator.config, rng)
        number += len(KINDS)
        if one is not None and (kind == "order" or loudness_words(in_order(one.truths[0]))):
            yield one, rng


def _clips(manifest: Manifest, name: str) -> list[Row]:
    """Return clips without speech in random order. Validation adds training clips, of which its split has few."""

    def drawn(splits: tuple[str, ...]) -> list[Row]:
        rows = [row for row in manifest.filter(split=list(splits)) if row.caption_label and not row.language]
        return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]

    if name == "train":
        return drawn(("train",))[:TRAINING]
    if name == "valid":
        return drawn(VALIDATION) + drawn(("train",))[TRAINING:][-SPARE:]
    return drawn(HELD_OUT)[:TEST]


@torch.inference_mode()
def _embedded(tower: AudioTower, waves: Iterable[FloatArray]) -> tuple[Any, Any]:
    """Return unit vectors (N, E) without the residual and moments (N, D)."""
    waves, rows = iter(waves), []
    while batch := list(islice(waves, BATCH)):
        rows.append(tower.parts(torch.from_numpy(np.stack(batch))))
    vectors, moments = (torch.cat(part) for part in zip(*rows, strict=True))
    return unit(vectors).numpy(), moments.numpy()
