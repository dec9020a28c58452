"""A small pair of towers over the frames of `scene_world`, with its training and scores: parts of several studies.

The audio tower is a transformer over the frames of a frozen encoder, the text tower one over word pieces. Both start
from random weights. The first training run of a seed ("base") is stored and shared by all studies. All arms of a seed
see the same scenes and the same captions in the same order.

Legend: B scenes of a batch, T frames, D columns of a frame, M texts, L tokens, E joint dimensions, H false captions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.encoders.text import TextConfig
from aural.encoders.vit import TransformerBlock
from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.evaluate.runners.retrieval import relevance
from aural.models.clap import TextTower
from aural.nn.functional import unit
from aural.nn.projection import projection
from aural.objectives import InfoNCE
from aural.reproduce.quadruples import quadruple_scores
from aural.reproduce.scene_world import FRAMES, Scenes, SceneWorld
from aural.reproduce.shared import shared_arrays
from aural.reproduce.study import StudyContext
from aural.train.draw import ITEM, ORDER, generator, permutation
from aural.train.tokens import tokenizer_of

VERSION: Final = 1
"""Counts up when stored base models no longer fit this code."""
TEXT: Final = TextConfig(
    architecture="bert", dim=64, depth=2, heads=4, hidden_dim=256, vocab_size=30522, positions=64,
    layer_norm_eps=1e-12, pooling="mean", tokenizer="bert-base-uncased", special_tokens="bert", pad_id=0, max_tokens=48,
)  # fmt: skip
BATCH_OF_TEXTS: Final = 512

# The loss of a batch: (towers, numbers of the scenes (B,), generator) -> a scalar.
Loss = Callable[[Any, Sequence[int], np.random.Generator], Tensor]


@dataclass(frozen=True)
class Training:
    """Settings of one training run."""

    steps: int = 600
    batch: int = 128
    lr: float = 1e-3
    warmup: int = 20
    frame_dropout: float = 0.1
    """Share of frames that are replaced by zeros."""


SMOKE: Final = Training(steps=2, batch=8, warmup=0)


class AudioHead(nn.Module):
    """Frames of a frozen encoder (B, T, D) to tokens (B, T, width)."""

    def __init__(self, columns: int, width: int = 128, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.input = nn.Linear(columns, width)
        self.position = nn.Parameter(torch.empty(FRAMES, width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, 2.0, 0.0) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.input(frames) + self.position
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = self.norm(x)
        return tokens


class ScenePair(nn.Module):
    """Two towers with a learned temperature. Texts are given as numbers of a table of texts, see `Texts`."""

    def __init__(self, columns: int, texts: Texts, seed: int, embed_dim: int = 128) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.audio = AudioHead(columns)
        self.audio_projection = projection("mlp", 128, embed_dim)
        self.text = TextTower(TEXT, "mlp", embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.texts = texts

    @property
    def scale(self) -> Tensor:
        return self.logit_scale.clamp(max=math.log(100.0)).exp()

    def embed_audio(self, frames: Tensor) -> Tensor:
        """Return unit rows (B, E) of scenes (B, T, D)."""
        return unit(self.audio_projection(self.audio(frames).mean(1)))

    def embed_texts(self, numbers: Sequence[int] | NDArray[Any]) -> Tensor:
        """Return unit rows (M, E) of texts."""
        ids, mask = self.texts.tokens(numbers)
        return unit(self.text(ids, mask))


class Texts:
    """All texts of a study, tokenized once; a text is named by its number."""

    def __init__(self, texts: Iterable[str], device: torch.device) -> None:
        self.texts = sorted(set(texts))
        self.number = {text: i for i, text in enumerate(self.texts)}
        tokens = tokenizer_of(TEXT)(self.texts)
        self.ids, self.mask = tokens.ids.to(device), tokens.mask.to(device)
        self.lengths = tokens.mask.sum(1).numpy()

    def tokens(self, numbers: Sequence[int] | NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Return ids and mask (M, L) of texts, without columns that are padding for all of them."""
        rows = np.asarray(numbers, np.int64)
        width = int(self.lengths[rows].max(initial=1))
        index = torch.from_numpy(rows).to(self.ids.device)
        return self.ids[index, :width], self.mask[index, :width]

    def of(self, texts: Iterable[str]) -> list[int]:
        """Return the numbers of texts."""
        return [self.number[text] for text in texts]


@dataclass(frozen=True)
class Captioned:
    """Scenes of one split with the numbers of their captions and of their false captions by kind."""

    scenes: Scenes
    captions: list[list[int]]
    negatives: list[dict[str, list[int]]]

    def __len__(self) -> int:
        return len(self.captions)


def subset(data: Captioned, numbers: Sequence[int] | NDArray[Any]) -> Captioned:
    """Return some of the scenes, in the order of their numbers."""
    rows = [int(i) for i in numbers]
    scenes = Scenes(data.scenes.frames[rows], [data.scenes.records[i] for i in rows])
    return Captioned(scenes, [data.captions[i] for i in rows], [data.negatives[i] for i in rows])


def texts_of(world: SceneWorld) -> list[str]:
    """Return every caption and false caption of a world."""
    records = (*world.train.records, *world.test.records)
    found = [text for record in records for text in record["captions"]]
    found += [text for record in records for _, text in record["negatives"]]
    return found + [text for one in world.quadruples for text in one.captions]


def captioned(scenes: Scenes, texts: Texts) -> Captioned:
    """Replace the texts of scenes by their numbers."""
    negatives: list[dict[str, list[int]]] = []
    for record in scenes.records:
        of_kind: dict[str, list[int]] = {}
        for kind, text in record["negatives"]:
            of_kind.setdefault(kind, []).append(texts.number[text])
        negatives.append(of_kind)
    return Captioned(scenes, [texts.of(record["captions"]) for record in scenes.records], negatives)


def fit(pair: nn.Module, scenes: int, loss_of: Loss, training: Training, seed: int) -> None:
    """Train all weights in place. Step k of a seed has the same scenes in every arm."""
    device = next(pair.parameters()).device
    optimizer = torch.optim.AdamW(pair.parameters(), lr=training.lr, weight_decay=0.02, fused=device.type == "cuda")
    batch = min(training.batch, scenes)
    pair.train()
    for step in range(training.steps):
        share = (step - training.warmup) / max(1, training.steps - training.warmup)
        rate = min((step + 1) / max(1, training.warmup), 0.5 * (1 + math.cos(math.pi * max(0.0, share))))
        for group in optimizer.param_groups:
            group["lr"] = training.lr * rate
        samples = range(step * batch, (step + 1) * batch)
        numbers = [int(permutation(scenes, seed, ORDER, i // scenes)[i % scenes]) for i in samples]
        loss = loss_of(pair, numbers, generator(seed, ITEM, step))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimizer.step()
    pair.eval()


def batch_frames(data: Captioned, numbers: Sequence[int], dropout: float, rng: np.random.Generator) -> Tensor:
    """Return the frames (B, T, D) of scenes, some replaced by zeros."""
    frames = data.scenes.frames[torch.tensor(numbers, device=data.scenes.frames.device)]
    kept = torch.from_numpy((rng.random(frames.shape[:2]) >= dropout).astype(np.float32))
    return frames * kept.to(frames.device)[..., None]


def draw(choices: Sequence[Sequence[int]], rng: np.random.Generator) -> list[int]:
    """Return one of the choices of each scene."""
    return [int(one[int(rng.integers(len(one)))]) for one in choices]


def paired(
    pair: ScenePair, data: Captioned, numbers: Sequence[int], dropout: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return audio_emb, text_emb and logit_scale of scenes with one of their captions each."""
    frames = batch_frames(data, numbers, dropout, rng)
    texts = draw([data.captions[i] for i in numbers], rng)
    return {"audio_emb": pair.embed_audio(frames), "text_emb": pair.embed_texts(texts), "logit_scale": pair.scale}


def info_nce(data: Captioned, dropout: float) -> Loss:
    """Return the plain loss: each scene with one of its captions."""
    objective = InfoNCE()

    def loss(pair: ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        return objective(paired(pair, data, numbers, dropout, rng))["loss"]

    return loss


def with_negatives(
    data: Captioned, kinds: Sequence[str], dropout: float, loss_of: Callable[[Mapping[str, Tensor]], Tensor]
) -> Loss:
    """Return a loss that also sees hard_text_emb (B, H, E) and hard_text_mask (B, H): a false caption per kind."""

    def loss(pair: ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        given = paired(pair, data, numbers, dropout, rng)
        return loss_of(given | false_captions(pair, data, numbers, kinds, rng))

    return loss


def false_captions(
    pair: ScenePair, data: Captioned, numbers: Sequence[int], kinds: Sequence[str], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return hard_text_emb (B, H, E) and hard_text_mask (B, H): one false caption of each kind that a scene has."""
    false = [[data.negatives[i].get(kind, []) for kind in kinds] for i in numbers]
    hard, exists = ragged(pair, [draw([one for one in row if one], rng) for row in false], len(kinds))
    return {"hard_text_emb": hard, "hard_text_mask": exists}


def ragged(pair: ScenePair, rows: Sequence[Sequence[int]], width: int) -> tuple[Tensor, Tensor]:
    """Return the embeddings (B, width, E) of up to `width` texts per row, then zeros, and a mask (B, width)."""
    exists = torch.tensor([[k < len(row) for k in range(width)] for row in rows], device=pair.logit_scale.device)
    numbers = [number for row in rows for number in row]
    embedded = pair.embed_texts(numbers or [0])
    blank = embedded.new_zeros(*exists.shape, embedded.shape[1])
    return blank.masked_scatter(exists[..., None], embedded[: len(numbers)]), exists


def base_pair(context: StudyContext, world: SceneWorld, texts: Texts, data: Captioned, training: Training) -> ScenePair:
    """Return the pair of this seed that was trained with the plain loss; the first study of a seed trains it."""
    pair = ScenePair(world.train.frames.shape[2], texts, context.seed).to(world.train.frames.device)

    def compute() -> dict[str, NDArray[Any]]:
        fit(pair, len(data), info_nce(data, training.frame_dropout), training, context.seed)
        return {name: tensor.detach().cpu().numpy() for name, tensor in pair.state_dict().items()}

    key = repr((VERSION, TEXT, training, context.seed, world.classes, world.train.frames.shape))
    stored = shared_arrays(context, "pair", key, compute)
    pair.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()})
    return pair.eval()


def copy_of(pair: ScenePair) -> ScenePair:
    """Return a copy that shares the table of texts."""
    texts, pair.texts = pair.texts, None  # type: ignore[assignment]
    copy, pair.texts = deepcopy(pair), texts
    copy.texts = texts
    return copy


def tuned(pair: ScenePair, data: Captioned, loss: Loss, training: Training, seed: int) -> ScenePair:
    """Return a copy that was trained further."""
    copy = copy_of(pair)
    fit(copy, len(data), loss, training, seed)
    return copy


@torch.no_grad()
def audio_rows(pair: ScenePair, frames: Tensor) -> NDArray[np.float64]:
    """Return unit rows (N, E) of scenes (N, T, D)."""
    return torch.cat([pair.embed_audio(part) for part in frames.split(512)]).double().cpu().numpy()


@torch.no_grad()
def text_rows(pair: ScenePair, numbers: Sequence[int]) -> NDArray[np.float64]:
    """Return unit rows (M, E) of texts."""
    parts = [pair.embed_texts(numbers[at : at + BATCH_OF_TEXTS]) for at in range(0, len(numbers), BATCH_OF_TEXTS)]
    return torch.cat(parts).double().cpu().numpy()


def retrieval(audio: NDArray[np.float64], pair: ScenePair, data: Captioned) -> dict[str, NDArray[np.float64]]:
    """Return text-to-audio R@1 and R@10 per scene: the mean over its captions as queries."""
    owner = np.array([n for n, of_scene in enumerate(data.captions) for _ in of_scene], np.int64)
    numbers = [i for of_scene in data.captions for i in of_scene]
    text = text_rows(pair, numbers)
    relevant = relevance([pair.texts.texts[i] for i in numbers], owner, len(audio), equal=True)
    first = retrieval_arrays(text @ audio.T, relevant)["first"]
    count = np.bincount(owner)
    return {f"R@{k}": np.bincount(owner, first <= k) / count for k in (1, 10)}


def pair_accuracy(audio: NDArray[np.float64], pair: ScenePair, data: Captioned, kind: str) -> NDArray[np.float64]:
    """Return per scene with false captions of a kind how often its caption is nearer than these; a tie counts half."""
    scenes = [n for n, of_kind in enumerate(data.negatives) if kind in of_kind]
    true = text_rows(pair, [data.captions[n][0] for n in scenes])
    false = text_rows(pair, [i for n in scenes for i in data.negatives[n][kind]])
    owner = np.array([k for k, n in enumerate(scenes) for _ in data.negatives[n][kind]], np.int64)
    margin = ((true[owner] - false) * audio[np.array(scenes)[owner]]).sum(1)
    right = (margin > 0) + 0.5 * (margin == 0)
    return np.bincount(owner, right) / np.bincount(owner)


def quadruple_rows(pair: ScenePair, world: SceneWorld, kind: str, roll: int = 0) -> Mapping[str, NDArray[Any]]:
    """Return the text, audio and group scores of the quadruples of a kind.

    roll: take the sounds of the quadruple that is so many places before; 0 for a test, 1 for a control at chance.
    """
    chosen = [n for n, one in enumerate(world.quadruples) if one.kind == kind]
    sounds = audio_rows(pair, world.quadruple_frames).reshape(len(world.quadruples), 2, -1)[chosen]
    captions = [text for n in chosen for text in world.quadruples[n].captions]
    texts = text_rows(pair, pair.texts.of(captions)).reshape(len(chosen), 2, -1)
    return quadruple_scores(np.einsum("qae,qte->qat", np.roll(sounds, roll, axis=0), texts))


def smaller(training: Training, context: StudyContext) -> Training:
    """Return the settings, or those of a smoke test."""
    return replace(SMOKE, frame_dropout=training.frame_dropout) if context.smoke else training
