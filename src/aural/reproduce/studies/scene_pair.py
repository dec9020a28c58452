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
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.encoders.text import TextConfig
from aural.encoders.vit import TransformerBlock
from aural.models.clap import TextTower
from aural.nn.functional import unit
from aural.nn.projection import projection
from aural.objectives import InfoNCE
from aural.reproduce.scene_world import FRAMES, HOP_S, Scenes, SceneWorld
from aural.reproduce.shared import shared_arrays
from aural.reproduce.short_captions import in_order, separate, write_captions
from aural.reproduce.study import StudyContext
from aural.train.draw import ITEM, ORDER, generator, permutation
from aural.train.tokens import tokenizer_of

VERSION: Final = 1
"""Counts up when stored base models no longer fit this code."""
TEXT: Final = TextConfig(
    architecture="bert", dim=64, depth=2, heads=4, hidden_dim=256, vocab_size=30522, positions=64,
    layer_norm_eps=1e-12, pooling="mean", tokenizer="bert-base-uncased", special_tokens="bert", pad_id=0, max_tokens=48,
)  # fmt: skip

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
    """Two towers with a learned temperature. Texts are given as numbers of a table of texts, see `Texts`.

    moment: the audio tower pools the mean over the frames and their first moment in time, the mean weighted by -1 at
    the start to 1 at the end.
    """

    def __init__(self, columns: int, texts: Texts, seed: int, *, moment: bool = False, embed_dim: int = 128) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.audio = AudioHead(columns)
        self.audio_projection = projection("mlp", 256 if moment else 128, embed_dim)
        self.text = TextTower(TEXT, "mlp", embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.texts, self.moment = texts, moment

    @property
    def scale(self) -> Tensor:
        return self.logit_scale.clamp(max=math.log(100.0)).exp()

    def embed_audio(self, frames: Tensor) -> Tensor:
        """Return unit rows (B, E) of scenes (B, T, D)."""
        tokens = self.audio(frames)
        pooled = tokens.mean(1)
        if self.moment:
            time = torch.linspace(-1, 1, tokens.shape[1], device=tokens.device)[:, None]
            pooled = torch.cat([pooled, 2 * (tokens * time).mean(1)], dim=1)
        return unit(self.audio_projection(pooled))

    def embed_texts(self, numbers: Sequence[int] | NDArray[Any]) -> Tensor:
        """Return unit rows (M, E) of texts."""
        ids, mask = self.texts.tokens(numbers)
        return unit(self.text(ids, mask))


class Texts:
    """A table of all texts of a study, tokenized once. A text is named by its number."""

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
    false: list[list[dict[str, int]]] = field(default_factory=list)
    """Per scene and caption: the false caption of each kind in the same words. Only with short captions."""

    def __len__(self) -> int:
        return len(self.captions)


def subset(data: Captioned, numbers: Sequence[int] | NDArray[Any]) -> Captioned:
    """Return some of the scenes, in the order of their numbers."""
    rows = [int(i) for i in numbers]
    scenes = Scenes(data.scenes.frames[rows], [data.scenes.records[i] for i in rows])
    false = [data.false[i] for i in rows] if data.false else []
    return Captioned(scenes, [data.captions[i] for i in rows], [data.negatives[i] for i in rows], false)


def shortly(scenes: Scenes, part: int, *, loudness: bool = False) -> Scenes:
    """Return the scenes of separate events with short captions instead of those of the simulator."""
    numbers = [n for n, record in enumerate(scenes.records) if separate(record["truth"])]
    records = []
    for n in numbers:
        truth = scenes.records[n]["truth"]
        captions, false = write_captions(truth, generator(0, ITEM, 3, part, n), loudness=loudness)
        pairs = [[kind, text] for one in false for kind, text in one.items()]
        records.append({"captions": captions, "negatives": pairs, "false": false, "truth": truth})
    return Scenes(scenes.frames[numbers], records)


def texts_in(*splits: Scenes) -> list[str]:
    """Return every caption and false caption of scenes."""
    records = [record for scenes in splits for record in scenes.records]
    texts = [text for record in records for text in record["captions"]]
    return texts + [text for record in records for _, text in record["negatives"]]


def texts_of(world: SceneWorld) -> list[str]:
    """Return every caption and false caption of the training and test scenes of a world."""
    return texts_in(world.train, world.test)


def captioned(scenes: Scenes, texts: Texts) -> Captioned:
    """Replace the texts of scenes by their numbers."""
    negatives: list[dict[str, list[int]]] = []
    for record in scenes.records:
        of_kind: dict[str, list[int]] = {}
        for kind, text in record["negatives"]:
            of_kind.setdefault(kind, []).append(texts.number[text])
        negatives.append(of_kind)
    false = [
        [{kind: texts.number[text] for kind, text in one.items()} for one in record.get("false", ())]
        for record in scenes.records
    ]
    return Captioned(scenes, [texts.of(record["captions"]) for record in scenes.records], negatives, false)


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


def with_false(
    data: Captioned, kinds: Sequence[str], dropout: float, loss_of: Callable[[Mapping[str, Tensor]], Tensor]
) -> Loss:
    """Return a loss that also sees hard_text_emb (B, H, E) and hard_text_mask (B, H): a false caption per kind.

    The false captions are those of the drawn caption, in the same words. If "order" is among the kinds, the loss is
    the mean of that of the sounds and that of the sounds whose two events change places; for these the captions with
    swapped order are true and the others false.
    """
    swapped, numbers_of_two = swapped_sounds(data)
    can_swap = set(numbers_of_two.tolist()) if "order" in kinds else set()

    def loss(pair: ScenePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        which = [int(rng.integers(len(data.captions[i]))) for i in numbers]
        true = [data.captions[i][k] for i, k in zip(numbers, which, strict=True)]
        false = [data.false[i][k] for i, k in zip(numbers, which, strict=True)]
        state = rng.bit_generator.state
        given = {"audio_emb": pair.embed_audio(batch_frames(data, numbers, dropout, rng)), "logit_scale": pair.scale}
        rows = [[one[kind] for kind in kinds if kind in one] for one in false]
        hard, exists = ragged(pair, rows, len(kinds))
        total = loss_of({**given, "text_emb": pair.embed_texts(true), "hard_text_emb": hard, "hard_text_mask": exists})
        turned = [n for n, i in enumerate(numbers) if i in can_swap and "order" in false[n]]
        if len(turned) < 2:
            return total
        rng.bit_generator.state = state  # the same frames are dropped
        frames = batch_frames(replace(data, scenes=replace(data.scenes, frames=swapped)), numbers, dropout, rng)[turned]
        hard, exists = ragged(pair, [[true[n]] for n in turned], 1)
        other = {
            "audio_emb": pair.embed_audio(frames),
            "text_emb": pair.embed_texts([false[n]["order"] for n in turned]),
        }
        other |= {"hard_text_emb": hard, "hard_text_mask": exists, "logit_scale": pair.scale}
        return (total + loss_of(other)) / 2

    return loss


def swapped_sounds(data: Captioned) -> tuple[Tensor, NDArray[np.int64]]:
    """Return the frames (N, T, D) of scenes of two separate events in the other order, and the numbers of these scenes.

    The frames are cut in the middle of the pause, and the parts change places. For other scenes the frames are those of
    the scene. This is the mixing of sounds of T-CLAP and the temporal inversion of TeminAL, on frames.
    """
    frames, numbers = data.scenes.frames.clone(), []
    for n, record in enumerate(data.scenes.records):
        events = in_order(record["truth"])
        if len(events) == 2:
            cut = round((events[0]["offset_s"] + events[1]["onset_s"]) / 2 / HOP_S)
            frames[n] = torch.cat([data.scenes.frames[n, cut:], data.scenes.frames[n, :cut]])
            numbers.append(n)
    return frames, np.array(numbers, np.int64)


def ragged(pair: ScenePair, rows: Sequence[Sequence[int]], width: int) -> tuple[Tensor, Tensor]:
    """Return the embeddings (B, width, E) of up to `width` texts per row, then zeros, and a mask (B, width)."""
    exists = torch.tensor([[k < len(row) for k in range(width)] for row in rows], device=pair.logit_scale.device)
    numbers = [number for row in rows for number in row]
    embedded = pair.embed_texts(numbers or [0])
    blank = embedded.new_zeros(*exists.shape, embedded.shape[1])
    return blank.masked_scatter(exists[..., None], embedded[: len(numbers)]), exists


def base_pair(
    context: StudyContext, columns: int, texts: Texts, data: Captioned, training: Training, *, moment: bool = False
) -> ScenePair:
    """Return the pair of this seed that was trained with the plain loss on these scenes and captions.

    The first study of a seed trains it, the others read it from the cache.
    """
    pair = ScenePair(columns, texts, context.seed, moment=moment).to(data.scenes.frames.device)

    def compute() -> dict[str, NDArray[Any]]:
        fit(pair, len(data), info_nce(data, training.frame_dropout), training, context.seed)
        return {name: tensor.detach().cpu().numpy() for name, tensor in pair.state_dict().items()}

    captions = [[texts.texts[i] for i in one] for one in data.captions]
    key = repr((VERSION, TEXT, training, context.seed, columns, moment, captions))
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


def smaller(training: Training, context: StudyContext) -> Training:
    """Return the settings, or those of a smoke test."""
    return replace(SMOKE, frame_dropout=training.frame_dropout) if context.smoke else training
