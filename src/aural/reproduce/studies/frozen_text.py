"""Parts of studies in which an audio tower meets the vectors of a frozen language model.

Captions come as vectors of the language model. They are standardized and rotated onto their first principal axes on the
training captions, so that the trained heads of two language models have equal sizes. All arms of a seed see the same
batches, captions and masks.

Tasks, on the test split, one item per clip:
    zero-shot-classes    1 if the prompt of the clip's class is nearest
    zero-shot-families   1 if the prompt of the clip's family is nearest
    text-to-audio        share of the relevant clips among the first 10 per caption, mean over the clip's captions
    audio-to-text        1 if one of the clip's captions is among the first 10

Legend: N clips, F mel bands, M texts, D width of the vectors, E joint dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.audio.augment import apply_masks, masks
from aural.audio.io import read
from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.data.manifest import Manifest, Row, read_manifest
from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.evaluate.runners.retrieval import relevance
from aural.models.clap import AudioTower
from aural.models.language import LANGUAGE_MODELS
from aural.nn.functional import unit
from aural.nn.projection import projection
from aural.reproduce.shared import shared_arrays
from aural.reproduce.study import StudyContext
from aural.reproduce.worlds import MEL, corpus_folder, log_mel
from aural.train.config import Recipe
from aural.train.draw import ITEM, ORDER, generator, permutation
from aural.train.mels import fit_mel, unpack
from aural.train.optimizer import Schedule, build_optimizer

PROMPT: Final = "the sound of a {}"
DEPTH: Final = 10
SECONDS: Final = 5.0
"""Of each clip; shorter ones are repeated."""
WIDTH: Final = 384
"""Of the vectors of texts: all axes of MiniLM."""
SMOKE_CHANGES: Final = ("loop.steps=2", "loop.batch=8", "schedule.warmup=0")


@dataclass(frozen=True)
class Clips:
    """Clips of one split, with their captions as places in the table of texts."""

    rows: list[Row]
    mel: Tensor
    """16-bit log-mels (N, frames, F) on the device."""
    captions: list[list[int]]


@dataclass(frozen=True)
class Data:
    """The clips of the splits train and test, and all texts: captions and prompts, sorted."""

    train: Clips
    test: Clips
    texts: list[str]

    @property
    def device(self) -> torch.device:
        return self.train.mel.device

    def places(self) -> dict[str, int]:
        """Return text -> its place in the table of texts."""
        return {text: i for i, text in enumerate(self.texts)}


def load_data(context: StudyContext) -> Data:
    """Read the corpus; log-mels are shared by all seeds."""
    manifest = read_manifest(corpus_folder(context.data, context.out))
    names = {name for row in manifest for name in (row.class_name, row.family) if name}
    texts = {text for row in manifest for text in captions_of(row)} | {PROMPT.format(name) for name in names}
    table = sorted(texts)
    device = torch.device("cpu" if context.device == "auto" else context.device)
    train, test = (load_clips(context, manifest, split, table, device) for split in ("train", "test"))
    return Data(train, test, table)


def captions_of(row: Row) -> list[str]:
    """Return the distinct captions of a clip, from the shortest to the most detailed kind."""
    texts = (row.caption_label, row.caption_short, row.caption_detailed)
    return list(dict.fromkeys(text for text in texts if text))


def load_clips(context: StudyContext, manifest: Manifest, split: str, texts: list[str], device: torch.device) -> Clips:
    """Read the clips with captions of a split; log-mels are shared by all seeds. `texts` holds all their captions."""
    rows = [row for row in manifest.filter(split=split) if captions_of(row)]
    if len(rows) < 2:
        raise DataError(f"{manifest.folder}: {len(rows)} clips with captions in split {split}; the study needs some")
    frames = round(SECONDS * MEL.sample_rate_hz / MEL.hop)

    def compute() -> dict[str, NDArray[Any]]:
        mels = [log_mel(_wave(manifest, row))[:frames] for row in rows]
        return {"mel": np.concatenate(mels), "length": np.array([len(mel) for mel in mels])}

    key = repr((MEL, frames, [(row.path, row.sha256) for row in rows]))
    stored = shared_arrays(context, f"mel-{split}", key, compute)
    unused = partial(np.random.default_rng, 0)  # crop "first" draws nothing
    mels = [fit_mel(mel, frames, "first", unused) for mel in np.split(stored["mel"], stored["length"].cumsum()[:-1])]
    place = {text: i for i, text in enumerate(texts)}
    captions = [[place[text] for text in captions_of(row)] for row in rows]
    return Clips(rows, torch.from_numpy(np.stack(mels)).to(device), captions)


def _wave(manifest: Manifest, row: Row) -> FloatArray:
    seconds = min(row.duration_s or SECONDS, SECONDS)
    return read(
        manifest.file(row), sample_rate_hz=MEL.sample_rate_hz, mono=True, start_s=row.start_s, duration_s=seconds
    ).samples[0]


def text_table(context: StudyContext, data: Data, model: str, width: int) -> Tensor:
    """Return vectors of all texts (M, width) by a frozen language model, shared by all seeds in half precision.

    See `reduced`; the axes are those of the training captions.
    """
    used = sorted({place for of_clip in data.train.captions for place in of_clip})
    return reduced(text_vectors(context, data.texts, model), used, width).to(data.device)


def text_vectors(context: StudyContext, texts: list[str], model: str) -> Tensor:
    """Return vectors of texts (M, D) by a frozen language model, stored in half precision."""
    name = "minilm" if context.smoke else model  # SmolLM2 takes a minute to load

    def compute() -> dict[str, NDArray[Any]]:
        return {"vectors": LANGUAGE_MODELS[name](None).embed(texts).half().numpy()}

    return torch.from_numpy(shared_arrays(context, name, repr((name, texts)), compute)["vectors"]).float()


def reduced(vectors: Tensor, used: Sequence[int], width: int) -> Tensor:
    """Return the vectors (M, D) standardized and rotated onto the first principal axes of the rows `used`, (M, width).

    The mean squared length over these rows is `width`.
    """
    rows = vectors[list(used)]
    vectors = (vectors - rows.mean(0)) / (rows.std(0) + 1e-5)
    axes = torch.linalg.svd(vectors[list(used)], full_matrices=False).Vh[:width]
    vectors = vectors @ axes.T
    return vectors * math.sqrt(vectors.shape[1] / float(vectors[list(used)].square().sum(1).mean()))


def audio_tower(recipe: Recipe, seed: int) -> AudioTower:
    """Return the audio tower of a recipe with the random weights of a seed."""
    assert recipe.model is not None
    assert recipe.model.clap is not None
    torch.manual_seed(seed)
    return AudioTower(recipe.model.clap.audio, recipe.model.clap.embed_dim)


class Towers(nn.Module):
    """A copy of an audio tower and a head over the vectors of a frozen language model, with the learned temperature."""

    def __init__(self, audio: AudioTower, vectors: Tensor, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.audio = deepcopy(audio)
        embed_dim = list(audio.projection.parameters())[-1].shape[0]
        self.text = projection("mlp", vectors.shape[1], embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.vectors = vectors
        self.to(vectors.device)

    def embed_texts(self, places: Tensor) -> Tensor:
        """Return unit rows of texts, given as places in the table."""
        return unit(self.text(self.vectors[places]))


def match(
    towers: Towers, train: Clips, recipe: Recipe, seed: int, loss: Callable[[Mapping[str, Tensor], Tensor], Tensor]
) -> None:
    """Train both towers on clips with one of their captions per step.

    loss: of audio_emb and text_emb (B, E), logit_scale, and frozen_emb (B, D), the vectors of the captions; its second
    argument holds the numbers of the clips (B,).
    """

    def loss_of(chosen: Tensor, mel: Tensor, rng: np.random.Generator) -> Tensor:
        drawn = [train.captions[i][int(rng.integers(len(train.captions[i])))] for i in chosen.tolist()]
        places = torch.tensor(drawn, device=mel.device)
        given = {
            "audio_emb": unit(towers.audio.embed_mel(mel)),
            "text_emb": towers.embed_texts(places),
            "frozen_emb": towers.vectors[places],
            "logit_scale": towers.logit_scale.clamp(max=math.log(100.0)).exp(),
        }
        return loss(given, chosen)

    descend(towers, loss_of, train, recipe, seed)


def descend(
    module: nn.Module,
    loss_of: Callable[[Tensor, Tensor, np.random.Generator], Tensor],
    train: Clips,
    recipe: Recipe,
    seed: int,
) -> None:
    """Take the steps of a recipe. `loss_of` gets the numbers of the clips, their masked log-mels and a generator.

    Sample i of a run is the same clip with the same masks in every arm.
    """
    device, (frames, bands) = train.mel.device, train.mel.shape[1:]
    count, batch, steps = len(train.rows), min(recipe.loop.batch, len(train.rows)), recipe.loop.steps
    optimizer = build_optimizer(module, recipe.optimizer, device)
    schedule = Schedule(recipe.schedule, recipe.optimizer.lr, steps, 1)
    module.train()
    for step in range(steps):
        rng = generator(seed, ITEM, step)
        samples = range(step * batch, (step + 1) * batch)
        numbers = [int(permutation(count, seed, ORDER, i // count)[i % count]) for i in samples]
        chosen = torch.tensor(numbers, device=device)
        rectangles = torch.tensor([masks(frames, bands, recipe.data.augment, rng) for _ in samples], device=device)
        mel = apply_masks(unpack(train.mel[chosen], MEL), rectangles)
        schedule.apply(optimizer, step)
        optimizer.zero_grad()
        loss_of(chosen, mel, rng).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), recipe.optimizer.clip_grad)
        optimizer.step()


@torch.no_grad()
def embed_clips(towers: Towers, clips: Clips) -> NDArray[np.float64]:
    """Return unit rows (N, E) of clips."""
    towers.eval()
    parts = [unit(towers.audio.embed_mel(unpack(part, MEL))) for part in clips.mel.split(128)]
    return torch.cat(parts).double().cpu().numpy()


@torch.no_grad()
def evaluate(towers: Towers, data: Data) -> dict[str, NDArray[np.float64]]:
    """Return the scores per clip of all tasks."""
    text = towers.embed_texts(torch.arange(len(data.texts), device=data.device)).double().cpu().numpy()
    return scores_of_rows(embed_clips(towers, data.test), text, data)


def scores_of_rows(audio: NDArray[np.float64], text: NDArray[np.float64], data: Data) -> dict[str, NDArray[np.float64]]:
    """Return the scores per clip of all tasks, from unit rows of the test clips (N, E) and of all texts (M, E)."""
    test, place = data.test, data.places()
    owner = np.array([n for n, of_clip in enumerate(test.captions) for _ in of_clip], np.int64)
    places = np.array([i for of_clip in test.captions for i in of_clip], np.int64)
    relevant = relevance([data.texts[i] for i in places], owner, len(audio), equal=True)
    similarity = text[places] @ audio.T
    recall = retrieval_arrays(similarity, relevant)[f"found{DEPTH}"]
    first = retrieval_arrays(similarity.T, relevant.T)["first"]
    return {
        "zero-shot-classes": zero_shot(audio, text, [row.class_name for row in test.rows], place),
        "zero-shot-families": zero_shot(audio, text, [row.family for row in test.rows], place),
        "text-to-audio": np.bincount(owner, recall) / np.bincount(owner),
        "audio-to-text": (first <= DEPTH).astype(np.float64),
    }


def zero_shot(
    audio: NDArray[np.float64], text: NDArray[np.float64], names: list[str], place: Mapping[str, int]
) -> NDArray[np.float64]:
    """Return 1 per named clip whose prompt is the nearest among the names of these clips, else 0."""
    classes = sorted({name for name in names if name})
    prompts = text[[place[PROMPT.format(name)] for name in classes]]
    rows = [i for i, name in enumerate(names) if name]
    predicted = (audio[rows] @ prompts.T).argmax(axis=1)
    return np.array([classes[p] == names[i] for p, i in zip(predicted, rows, strict=True)], np.float64)
