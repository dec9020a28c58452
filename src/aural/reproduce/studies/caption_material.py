"""Scenes with captions for studies of captioners: features by a small pair of towers, references, and the decoder.

No training scene has the set of classes of a test scene of two or more events, so compositions are held out.

Legend: N scenes, E joint dimensions, T frames, F columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.data.simulate.claims import Judge
from aural.data.simulate.read_back import Names
from aural.data.simulate.truth import SceneTruth
from aural.reproduce.scene_world import SCENES, Scenes, SceneWorld, Sizes, load_scenes
from aural.reproduce.short_captions import separate, write_captions
from aural.reproduce.studies.scene_pair import TEXT, ScenePair, Texts, Training, base_pair, captioned, smaller
from aural.reproduce.studies.word_decoder import Reading, WordDecoder, learn_words
from aural.reproduce.study import StudyContext
from aural.train.draw import ITEM, generator
from aural.train.tokens import tokenizer_of

CAPTIONS = 4
"""References per scene."""


@dataclass(frozen=True)
class Side:
    """The scenes of a split: features, captions and truth."""

    vector: Tensor
    """(N, E), unit rows of the sound tower."""
    tagger: Tensor
    """(N, T, F), frames of the frozen tagger."""
    tower: Tensor
    """(N, T, 128), states of the sound tower."""
    captions: list[list[str]]
    text: Tensor
    """(N, CAPTIONS, E), unit rows of the captions."""
    judges: list[Judge]

    def __len__(self) -> int:
        return len(self.captions)

    def labels(self, number: int) -> set[str]:
        """Return the classes of a scene."""
        return set(self.judges[number].events)

    def frames(self, which: str) -> Tensor:
        """Return the frames (N, T, F) of the tagger, of the tower, or both side by side."""
        if which == "both":
            return torch.cat([self.tagger, self.tower], dim=2)
        return self.tagger if which == "tagger" else self.tower


@dataclass(frozen=True)
class Material:
    """Both splits, the pair of towers, the frozen decoder, and what classes are called."""

    train: Side
    test: Side
    pair: ScenePair
    decoder: WordDecoder
    names: Mapping[str, str]
    spoken: Names
    fresh: NDArray[np.int64]
    """Numbers of the training scenes that the towers did not learn from."""

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Return unit rows (M, E) of texts that need not be in the table of texts."""
        tokens = tokenizer_of(TEXT)(list(texts))
        device = self.train.vector.device
        rows = self.pair.text(tokens.ids.to(device), tokens.mask.to(device))
        return torch.nn.functional.normalize(rows, dim=-1)


def material(
    context: StudyContext,
    base: Training,
    reading: Reading,
    sizes: Sizes,
    *,
    overlaps: bool = False,
    detailed: bool = False,
    fresh: int = 0,
) -> Material:
    """Return the material of a seed.

    overlaps: keep scenes whose sounds overlap (captions state an order). detailed: captions of two sounds say which one
    is loud, and that they are heard together where they overlap. fresh: the towers do not learn from every so many-th
    training scene; 0: they learn from all.
    """
    world = load_scenes(context, sizes)
    test = _written(world.test, 1, set(), overlaps=overlaps, detailed=detailed)
    held_out = {classes for record in test.records if len(classes := _classes(record)) > 1}
    train = _written(world.train, 0, held_out, overlaps=overlaps, detailed=detailed)
    phrases = _phrases(world)
    names = dict(world.names)
    texts = Texts(
        [text for one in (train, test) for record in one.records for text in record["captions"]], train.frames.device
    )
    aside = np.arange(0, len(train.records), fresh) if fresh else np.zeros(0, np.int64)
    learned = captioned(without(train, aside), texts)
    pair = base_pair(context, world.train.frames.shape[2], texts, learned, smaller(base, context), moment=True)
    pair.requires_grad_(False)
    labels = {name.lower(): label for label, one in phrases.items() for name in (*one, names[label])}
    return Material(
        train=_side(train, pair, texts),
        test=_side(test, pair, texts),
        pair=pair,
        decoder=learn_words(context, phrases, names, reading),
        names=names,
        spoken=Names(labels),
        fresh=aside,
    )


def without(scenes: Scenes, numbers: NDArray[np.int64]) -> Scenes:
    """Return the scenes without those of these numbers."""
    kept = np.setdiff1d(np.arange(len(scenes.records)), numbers)
    return Scenes(scenes.frames[kept], [scenes.records[n] for n in kept])


def _classes(record: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(record["truth"]["classes"])


def _written(scenes: Scenes, part: int, held_out: set[frozenset[str]], *, overlaps: bool, detailed: bool) -> Scenes:
    kept = [
        n
        for n, record in enumerate(scenes.records)
        if (overlaps or separate(record["truth"])) and _classes(record) not in held_out
    ]
    records = []
    for n in kept:
        truth = scenes.records[n]["truth"]
        rng = generator(0, ITEM, 12, part, n)
        captions, _ = write_captions(truth, rng, loudness=detailed, together=detailed, count=CAPTIONS)
        records.append({"captions": captions, "negatives": [], "truth": truth})
    return Scenes(scenes.frames[kept], records)


def _phrases(world: SceneWorld) -> dict[str, list[str]]:
    """Return what each class is called anywhere in the scenes; the decoder knows these words."""
    said: dict[str, set[str]] = {label: {name} for label, name in world.names.items()}
    for record in (*world.train.records, *world.test.records):
        for event in record["truth"]["events"]:
            said[event["label"]].update(event["phrases"])
    return {label: sorted(one) for label, one in sorted(said.items())}


@torch.no_grad()
def _side(scenes: Scenes, pair: ScenePair, texts: Texts) -> Side:
    captions = [list(record["captions"]) for record in scenes.records]
    parts = scenes.frames.split(512)
    numbers = texts.of(text for one in captions for text in one)
    rows = torch.cat([pair.embed_texts(numbers[at : at + 512]) for at in range(0, len(numbers), 512)])
    return Side(
        vector=torch.cat([pair.embed_audio(part) for part in parts]),
        tagger=scenes.frames,
        tower=torch.cat([pair.audio(part) for part in parts]),
        captions=captions,
        text=rows.unflatten(0, (len(captions), CAPTIONS)),
        judges=[Judge(SceneTruth.from_facts(record["truth"]), SCENES) for record in scenes.records],
    )


def percent(name: str, scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the scores of the arm "75-percent-of-ours": those of "ours" times 0.75.

    >>> percent("50-percent-of-ours", {"ours": {"accuracy": 0.8}})["accuracy"].tolist()
    0.4
    """
    share, _, arm = name.partition("-percent-of-")
    return {task: float(share) / 100 * np.asarray(values, np.float64) for task, values in scores[arm].items()}
