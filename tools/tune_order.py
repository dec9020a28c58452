"""Teach order to a model with heads on its frames and texts, and report order and what it costs in retrieval.

    python tools/tune_order.py CORPUS FOLDER --model libre-base --hold 300

A sound is the mean of its frames plus a head on their first moment in time; a text is its vector plus a head on it.
Loss: each sound of two events and the same with the events exchanged against the captions "a, then b" and "b, then a",
plus `hold` times the squared change of all other similarities, those of scenes and their captions included. The report
has the accuracy of order (chance 0.50) and recall of scenes by their captions. FOLDER keeps the frames.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.models.embedding import EmbeddingModel
from aural.nn.functional import unit
from aural.reproduce.short_captions import JOINTS
from frame_features import SceneFrames, open_run

BATCH, STEPS, RATE, DECAY, RANK, WEIGHT, PAUSE_S = 64, 400, 1e-3, 0.05, 64, 2.0, 0.1


class OrderHeads(nn.Module):
    """Residuals of sounds (..., 2 E), mean and first moment of their frames, and of texts (..., E)."""

    def __init__(self, dim: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.dim = dim
        self.parts = nn.ModuleDict(
            {name: nn.Sequential(nn.Linear(dim, RANK), nn.GELU(), nn.Linear(RANK, dim)) for name in ("audio", "text")}
        )
        for part in self.parts.values():
            nn.init.normal_(part[2].weight, std=0.02)
            nn.init.zeros_(part[2].bias)
        self.scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def audio(self, pooled: Tensor) -> Tensor:
        moment = self.parts["audio"](math.sqrt(self.dim) * pooled[..., self.dim :])
        return unit(unit(pooled[..., : self.dim]) + moment)

    def text(self, rows: Tensor) -> Tensor:
        return unit(rows + self.parts["text"](math.sqrt(self.dim) * rows))


def pooled(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean and the first moment in time of frames (W, E)."""
    time = np.linspace(-1, 1, len(frames), dtype=np.float32)[:, None]
    return np.concatenate([frames.mean(0), 2 * (frames * time).mean(0)])


def quadruples(model: EmbeddingModel, data: SceneFrames) -> tuple[Tensor, Tensor]:
    """Return sounds (Q, 2, 2 E) of two events in a row, and with the events exchanged, and their captions (Q, 2, E)."""
    sounds: list[Any] = []
    texts: list[str] = []
    rng = np.random.default_rng(0)
    for frames, times, unsorted in zip(data.vectors, data.times_s, data.events, strict=True):
        events, centers = sorted(unsorted), times.mean(1)
        for first, second in pairwise(events):
            others = [one for one in events if one is not first and one is not second]
            alone = not any(one[0] < second[1] and one[1] > first[0] for one in others)
            if first[2] == second[2] or second[0] - first[1] < PAUSE_S or not alone:
                continue
            middle = (first[1] + second[0]) / 2
            early = frames[(centers >= first[0] - PAUSE_S) & (centers < middle)]
            late = frames[(centers >= middle) & (centers <= second[1] + PAUSE_S)]
            if not len(early) or not len(late):
                continue
            sounds.append([pooled(np.concatenate(pair)) for pair in ((early, late), (late, early))])
            names, joint = [one[2].replace("_", " ") for one in (first, second)], JOINTS[int(rng.integers(len(JOINTS)))]
            texts += [joint.join(names), joint.join(names[::-1])]
    return torch.from_numpy(np.array(sounds)), embedded(model, texts).unflatten(0, (-1, 2))


def embedded(model: EmbeddingModel, texts: list[str]) -> Tensor:
    return torch.from_numpy(np.concatenate([model.embed_text(texts[at : at + 64]) for at in range(0, len(texts), 64)]))


def train(sounds: Tensor, texts: Tensor, scenes: tuple[Tensor, Tensor], seed: int, hold: float) -> OrderHeads:
    """Return heads that were trained on quadruples, with the similarities of scenes and captions held."""
    heads, rng = OrderHeads(texts.shape[-1], seed), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 20, 0.5 * (1 + math.cos(math.pi * step / STEPS)))
    )
    for _ in range(STEPS):
        chosen = torch.from_numpy(rng.choice(len(sounds), BATCH, replace=False))
        audio, text = heads.audio(sounds[chosen]), heads.text(texts[chosen])
        now, before = similarities(audio, text), similarities(unit(sounds[chosen][..., : heads.dim]), texts[chosen])
        other = ~torch.eye(BATCH, dtype=torch.bool)
        within = (now - before)[torch.arange(BATCH), torch.arange(BATCH)].mean((1, 2))
        held = (now - before)[other].square().mean() + within.square().mean()
        number = torch.from_numpy(rng.choice(len(scenes[0]), BATCH, replace=False))
        scene, caption = scenes[0][number], scenes[1][number]
        change = heads.audio(scene) @ heads.text(caption).T - unit(scene[:, : heads.dim]) @ caption.T
        logits = heads.scale.exp() * now[torch.arange(BATCH), torch.arange(BATCH)]  # (B, sound, caption)
        true = torch.arange(2).expand(BATCH, 2).flatten()
        focus = [cross_entropy(one.flatten(0, 1), true) for one in (logits, logits.transpose(1, 2))]
        loss = WEIGHT * sum(focus) / 2 + hold * (held + change.square().mean())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return heads.eval()


def similarities(audio: Tensor, text: Tensor) -> Tensor:
    """Return (B, B, sound, caption) of rows (B, 2, E)."""
    return torch.einsum("qae,pte->qpat", audio, text)


@torch.no_grad()
def scores(
    heads: OrderHeads | None, sounds: Tensor, texts: Tensor, scenes: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Return the accuracy of order and R@10 of scenes by their captions; heads None: of the unchanged model."""
    dim = texts.shape[-1]
    audio, text = (unit(sounds[..., :dim]), texts) if heads is None else (heads.audio(sounds), heads.text(texts))
    fits = torch.einsum("qae,qte->qat", audio, text)
    right = torch.cat([fits[:, 0, 0] > fits[:, 0, 1], fits[:, 1, 1] > fits[:, 1, 0]]).float().mean()
    audio, text = (
        (unit(scenes[0][:, :dim]), scenes[1]) if heads is None else (heads.audio(scenes[0]), heads.text(scenes[1]))
    )
    similarity = text @ audio.T
    rank = (similarity > similarity.diagonal()[:, None]).sum(1)
    return float(right), float((rank < 10).float().mean())


if __name__ == "__main__":
    arguments, model, data = open_run(__doc__ or "", {"hold": 300.0})
    pairs = {part: quadruples(model, one) for part, one in data.items()}
    scenes = {
        part: (
            torch.from_numpy(np.stack([pooled(rows) for rows in one.vectors])),
            embedded(model, [captions[0] for captions in one.captions]),
        )
        for part, one in data.items()
    }
    heads = [train(*pairs["train"], scenes["train"], seed, arguments.hold) for seed in range(arguments.seeds)]
    for part in ("valid", "test"):
        for name, head in (("before", None), *((f"seed {seed}", one) for seed, one in enumerate(heads))):
            order, recall = scores(head, *pairs[part], scenes[part])
            print(f"{part}, {len(pairs[part][0])} pairs, {name}: order {order:.3f}, R@10 of scenes {recall:.3f}")
