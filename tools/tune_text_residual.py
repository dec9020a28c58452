"""Train a low-rank residual on the text vectors of `libre-base`, with and without toggles of sentence vectors.

    aural corpus build libre --out libre
    aural corpus captions libre/manifest.parquet --out captions.json
    python tools/make_libre_base.py libre/manifest.parquet base --features base.npz --tuned ...
    python tools/tune_text_residual.py libre/manifest.parquet base.npz captions.json FOLDER --dev DEV/manifest.parquet
    python tools/compare_tuned.py FOLDER base twins letters paraphrases entailed ranked

A cheap form of the question that `tune_libre_base.py` answers with its toggles: all vectors of the bundled model stay
fixed, so a run takes seconds on one core once the vectors are there (`--vectors` keeps them). An arm trains
unit(v + B A v) on captions, and a toggle adds its loss. Test splits are not read.

Legend: B clips or texts, E joint dimensions, K graded variants.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.data.manifest import Row, read_manifest
from aural.data.text import Example
from aural.data.text.world import TextConfig, TextExamples
from aural.data.text_views import mask_span, misspelled, reorder_spans
from aural.models.load import load
from aural.models.pipeline import Model
from aural.nn.functional import unit
from aural.objectives.sentences.contrast import sentence_contrast
from aural.objectives.sentences.ranks import list_mle
from make_libre_base import Windows, captions_of
from tune_libre_base import ranked, read_captions, summary

ARMS = ("base", "twins", "letters", "paraphrases", "entailed", "ranked")
RANK, STEPS, BATCH, RATE, EXAMPLES, WEIGHT = 64, 400, 256, 1e-3, 64, 0.3
SENTENCES = 600
"""Sentences of the text world."""
REWORDED = 4
"""Captions of the file per clip."""


class Residual(nn.Module):
    """unit(v + B A v) of vectors (B, E)."""

    def __init__(self, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(RANK, dim, generator=generator) / dim**0.5)
        self.b = nn.Parameter(torch.zeros(dim, RANK))

    def forward(self, vectors: Tensor) -> Tensor:
        return unit(vectors + vectors @ self.a.T @ self.b.T)


@dataclass
class Vectors:
    """Vectors of texts by the fixed text tower, kept in a file."""

    model: Model
    file: Path | None
    stored: dict[str, np.ndarray] = field(default_factory=dict)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors (B, E) of texts."""
        missing = sorted({text for text in texts if text not in self.stored}, key=len)
        for at in range(0, len(missing), 128):
            part = missing[at : at + 128]
            self.stored.update(zip(part, self.model.embed_text(part), strict=True))
        if missing and self.file is not None:
            self.file.write_bytes(pickle.dumps(self.stored))
        return torch.from_numpy(np.stack([self.stored[text] for text in texts]))


class Material:
    """The clips with their vectors, their texts, and the views of these that toggles compare."""

    def __init__(self, rows: list[Row], heard: Tensor, more: dict[str, list[str]], vectors: Vectors) -> None:
        self.vectors, self.heard = vectors, heard
        self.train = [i for i, row in enumerate(rows) if row.split == "train" and captions_of(row)]
        self.valid = [i for i, row in enumerate(rows) if row.split == "valid" and row.class_name]
        self.rows = rows
        both = [*self.train, *self.valid]
        self.classes = sorted({rows[i].class_name for i in both} - {""})
        self.captions = {i: captions_of(rows[i]) for i in both}
        rng = np.random.default_rng(0)
        texts = sorted({text for i in self.train for text in self.captions[i]})
        self.masked, self.letters = {}, {}
        for text in texts:
            words = text.split()
            self.masked[text] = " ".join(mask_span(words, rng))
            self.letters[text] = [" ".join(misspelled(words, rng, 0.5)), " ".join(reorder_spans(words, rng))]
        self.reworded = {}
        for i in both:
            others = more.get(rows[i].path, [])
            self.reworded[i] = [others[k] for k in rng.permutation(len(others))[:REWORDED]]
        world = TextExamples(TextConfig(seed=0))
        self.world = [world.example(place) for place in range(SENTENCES)]
        self.named = np.array([rows[i].class_name for i in self.train])
        counts = Counter(self.named)
        weight = np.array([1 / math.sqrt(counts[name] if name else 50) for name in self.named])
        self.weight = weight / weight.sum()
        self.prompts = vectors(prompts_of(self.classes))
        vectors([*texts, *self.masked.values(), *(t for pair in self.letters.values() for t in pair)])
        vectors([text for i in self.train for text in self.reworded[i]])
        vectors([text for example in self.world for text in texts_of(example)])

    def loss(self, model: Residual, scale: Tensor, batch: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Return InfoNCE against captions plus half of the cross-entropy of class names, for clips (B,)."""
        size = len(batch)
        rows = self.heard[[self.train[i] for i in batch]]
        texts = model(self.vectors([rng.choice(self.captions[self.train[i]]) for i in batch]))
        named = self.named[batch]
        same = (named[:, None] == named[None]) & (named != "")[:, None]
        same |= batch[:, None] == batch[None]
        same &= ~np.eye(size, dtype=bool)
        cosines = (scale * rows @ texts.T).masked_fill(torch.from_numpy(same), -1e4)
        truth = torch.arange(size)
        loss = (cross_entropy(cosines, truth) + cross_entropy(cosines.T, truth)) / 2
        has = torch.from_numpy(named != "")
        target = torch.tensor([self.classes.index(name) for name in named if name])
        return loss + 0.5 * cross_entropy(scale * rows[has] @ model(self.prompts).T, target)

    def toggle(self, name: str, model: Residual, batch: np.ndarray, draws: Draws) -> Tensor:
        """Return the loss of a toggle on sentences of the text world or on captions, one clip per class."""
        rng = draws.rng
        if name in ("entailed", "ranked"):
            chosen = [self.world[k] for k in rng.choice(SENTENCES, EXAMPLES, replace=False)]
            anchors = model(self.vectors([one.text for one in chosen]))
            if name == "entailed":
                hard = model(self.vectors([one.contradicted for one in chosen]))
                return sentence_contrast(anchors, model(self.vectors([one.entailed for one in chosen])), hard=hard)
            variants = model(self.vectors([text for one in chosen for text, _ in one.ranked]))
            scores = torch.einsum("be,bke->bk", anchors, variants.view(EXAMPLES, -1, variants.shape[1]))
            gold = torch.tensor([[score for _, score in one.ranked] for one in chosen])
            return list_mle(scores, gold, temperature=0.05)
        clips = [self.train[i] for i in {self.named[i] or i: i for i in batch}.values()][:EXAMPLES]
        texts = [str(rng.choice(self.captions[i])) for i in clips]
        if name == "letters":
            positives = [self.letters[text][int(rng.integers(2))] for text in texts]
        elif name == "paraphrases":
            positives = [rng.choice(self.reworded[i] or self.captions[i]) for i in clips]
        else:
            positives = [self.masked[text] for text in texts]
        share = 0.1 if name == "twins" else 0.0
        pairs = (draws.dropped(self.vectors(part), share) for part in (texts, positives))
        return sentence_contrast(*(model(vectors) for vectors in pairs))

    @torch.inference_mode()
    def ranks(self, model: nn.Module, fresh: tuple[Tensor, list[str]] | None) -> dict[str, np.ndarray]:
        """Return the ranks of the checks, named as those of `tune_libre_base.py`."""
        heard, rows = self.heard[self.valid], [self.rows[i] for i in self.valid]
        ranks = {"valid": ranked(heard, model(self.prompts), [self.classes.index(row.class_name) for row in rows])}
        captions = [(text, k) for k, i in enumerate(self.valid) for text in self.captions[i]]
        typos = [
            (" ".join(misspelled(text.split(), np.random.default_rng((1, n)), 0.5)), k)
            for n, (text, k) in enumerate(captions)
        ]
        reworded = [(text, k) for k, i in enumerate(self.valid) for text in self.reworded[i]]
        for kind, pairs in {"retrieval": captions, "typos": typos, "paraphrase": reworded}.items():
            vectors = self.vectors([text for text, _ in pairs])
            ranks[f"valid_{kind}"] = ranked(model(vectors), heard, [k for _, k in pairs])
            ranks[f"valid_{kind}_clip"] = np.array([k for _, k in pairs])
        if fresh is not None:
            names = sorted(set(fresh[1]))
            truth = [names.index(name) for name in fresh[1]]
            ranks["dev"] = ranked(fresh[0], model(self.vectors(prompts_of(names))), truth)
        return ranks


@dataclass
class Draws:
    """Random choices of one run."""

    seed: int

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng((self.seed, 1))
        self.generator = torch.Generator().manual_seed(self.seed)

    def dropped(self, vectors: Tensor, share: float) -> Tensor:
        """Return vectors with a share of their values set to zero, the others scaled."""
        if not share:
            return vectors
        return vectors * (torch.rand(vectors.shape, generator=self.generator) >= share) / (1 - share)


def prompts_of(names: Sequence[str]) -> list[str]:
    return [f"the sound of {name}" for name in names]


def texts_of(example: Example) -> list[str]:
    return [example.text, example.entailed, example.contradicted, *(text for text, _ in example.ranked)]


def fit(material: Material, arm: str, seed: int) -> Residual:
    """Train one arm and return the residual with averaged weights."""
    draws, rng = Draws(seed), np.random.default_rng(seed)
    model = Residual(material.prompts.shape[1], draws.generator)
    log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
    parameters = [*model.parameters(), log_scale]
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-3)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 30) * (0.5 + 0.5 * math.cos(math.pi * step / STEPS))
        batch = rng.choice(len(material.train), BATCH, p=material.weight)
        loss = material.loss(model, log_scale.exp().clamp(max=60), batch, rng)
        if arm != "base":
            loss = loss + WEIGHT * material.toggle(arm, model, batch, draws)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay = min(0.99, (step + 1) / (step + 10))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - decay)
    for parameter, value in zip(parameters, average, strict=True):
        parameter.data.copy_(value)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("features", type=Path, help="file of make_libre_base.py")
    parser.add_argument("captions", type=Path, help="file of `aural corpus captions`")
    parser.add_argument("out", type=Path)
    parser.add_argument("--dev", type=Path, help="manifest of further sounds, with a class, that are scored too")
    parser.add_argument("--vectors", type=Path, help="file that keeps the vectors of texts")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    model = load("libre-base", engine="torch", device="cpu")
    assert isinstance(model, Model)
    stored = pickle.loads(options.vectors.read_bytes()) if options.vectors and options.vectors.is_file() else {}
    vectors = Vectors(model, options.vectors, stored)
    windows, rows = Windows.read(options.features), {row.path: row for row in read_manifest(options.manifest)}
    listed = [i for i, path in enumerate(windows.paths) if path in rows]
    tower = model.audio_tower
    features = torch.from_numpy(windows.features)
    with torch.inference_mode():
        small = tower.projection(features[:, : tower.encoder.dim])
        rows_of = unit(tower.branch.add_to(small, features[:, tower.encoder.dim :]))
        heard = unit(torch.stack([rows_of[windows.clip == i].mean(0) for i in listed]))
    material = Material(
        [rows[windows.paths[i]] for i in listed], heard.clone(), read_captions(options.captions), vectors
    )
    fresh = None
    if options.dev:
        manifest = read_manifest(options.dev)
        sounds = torch.from_numpy(model.embed_audio([manifest.file(row) for row in manifest]))
        fresh = sounds, [row.class_name for row in manifest]
    before = material.ranks(nn.Identity(), fresh)
    print(json.dumps({"name": "start", **summary(before)}), flush=True)
    for seed in range(options.seeds):
        np.savez(options.out / f"start-{seed}.ranks.npz", **before)
        for arm in ARMS:
            file, begin = options.out / f"{arm}-{seed}.ranks.npz", time.monotonic()
            if file.is_file():
                continue
            ranks = material.ranks(fit(material, arm, seed), fresh)
            np.savez(file, **ranks)
            report = {"name": arm, "seed": seed, **summary(ranks), "seconds": round(time.monotonic() - begin)}
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
