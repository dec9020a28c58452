"""Predict the quality of degraded speech without a reference, by triplets or by squared error (SCOREQ).

Claim: an encoder trained with triplets that are ordered by quality generalizes to degradations that it never heard
better than one trained with squared error. Paper: SCOREQ (arXiv 2410.06675).

Sentences spoken by espeak-ng are degraded at six levels, level 0 being the clean sentence; quality is 5 minus the
level. Training clips have noise, a low-pass or clipping; test voices and sentences are in no training clip. Arms:

    l2        an encoder with a linear output, trained with squared error
    fixed     `triplet_regression` with a fixed margin, then ridge regression on the frozen embeddings
    triplet   the same with the adaptive margin of SCOREQ
    ranks     `rank_n_contrast` over two masked views, then ridge regression
    shuffled  control: "triplet" with the qualities of other clips
    untrained ridge regression on the embeddings of random weights

Tasks, one item per test sentence and degradation: Spearman's correlation of predicted and true quality over the levels.
    seen      noise, low-pass, clipping
    unseen    a room, lost packets, hum

Legend: N clips, T samples, B clips of a batch, E dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.audio.augment import mix
from aural.core.types import Clip, FloatArray
from aural.data.speech.simulator import Plan, SpeechConfig, plan, render
from aural.evaluate.metrics.sentences import weighted_spearman
from aural.evaluate.robust import changes
from aural.nn.functional import unit
from aural.objectives import RankNContrast, TripletRegression, TripletRegressionConfig
from aural.reproduce.studies.scene_pair import SMOKE, Training, fit
from aural.reproduce.studies.small_encoders import embedded, inputs, masked, small_vit
from aural.reproduce.studies.spoken import spoken_mels
from aural.reproduce.studies.voices import toy_voice
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import RATE_HZ
from aural.train.draw import ITEM, generator

Array: TypeAlias = NDArray[np.float64]
Change: TypeAlias = Callable[[Clip, Any, np.random.Generator], Clip]
VERSION: Final = 1
"""Counts up when the sounds change."""
FRAMES: Final = 100
SIZES: Final = {"train": 900, "test": 24}
BEST: Final = 5.0
EMBED_DIM: Final = 32
RIDGE: Final = 1.0
TRAINING: Final = Training(steps=400, batch=48, lr=1e-3)
ARMS: Final = ("l2", "fixed", "triplet", "ranks", "shuffled", "untrained")


def lost_packets(clip: Clip, share: float, generator: np.random.Generator) -> Clip:
    """Set a drawn share of the pieces of 20 ms to zero."""
    piece = round(0.02 * clip.sample_rate_hz)
    lost = generator.random(-(-clip.frames // piece)) < share
    return Clip(clip.samples * ~np.repeat(lost, piece)[: clip.frames], clip.sample_rate_hz)


def mains_hum(clip: Clip, snr_db: float, generator: np.random.Generator) -> Clip:
    """Add a tone of 100 Hz with four harmonics at a signal-to-noise ratio."""
    time_s = np.arange(clip.frames) / clip.sample_rate_hz
    tone = sum(np.sin(2 * np.pi * 100 * k * time_s + generator.uniform(0, 6)) / k for k in range(1, 6))
    hum = np.asarray(tone, np.float32)[None]
    return Clip(mix(clip.samples, hum, snr_db), clip.sample_rate_hz)


SEEN: Final[dict[str, tuple[Change, tuple[float, ...]]]] = {
    "noise": (changes.noise, (30, 20, 12, 5, -2)),
    "low-pass": (changes.low_pass, (5000, 3500, 2400, 1600, 1000)),
    "clipping": (changes.clipping, (0.01, 0.04, 0.1, 0.2, 0.35)),
}
"""Degradation -> its function and its settings from level 1 to 5."""
UNSEEN: Final[dict[str, tuple[Change, tuple[float, ...]]]] = {
    "room": (changes.reverb, (0.15, 0.3, 0.6, 1.0, 1.6)),
    "lost packets": (lost_packets, (0.03, 0.08, 0.16, 0.28, 0.45)),
    "hum": (mains_hum, (30, 20, 12, 5, -2)),
}
LEVELS: Final = 6


def degrade(one: Plan, name: str, level: int, number: int, *, smoke: bool) -> FloatArray:
    """Return the spoken sentence (T,) with a degradation; level 0 is clean."""
    wave = (toy_voice(one) if smoke else render(one)[0])[: FRAMES * RATE_HZ // 50]
    if level == 0:
        return wave
    change, settings = (SEEN | UNSEEN)[name]
    rng = generator(7, ITEM, number)
    return change(Clip(wave[None], RATE_HZ), settings[level - 1], rng).samples[0]


class Regressor(nn.Module):
    """A small transformer with an embedding and a linear output."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = small_vit(FRAMES)
        self.projection = nn.Linear(self.encoder.dim, EMBED_DIM)
        self.output = nn.Linear(EMBED_DIM, 1)

    def embed(self, mel: Tensor) -> Tensor:
        """Return unit rows (B, E)."""
        return unit(self.projection(self.encoder(mel).pooled))


def run(context: StudyContext, *, arms: Sequence[str] = ARMS) -> Scores:
    """Return arm -> task -> Spearman's correlation per test sentence and degradation."""
    training = SMOKE if context.smoke else TRAINING
    mel, quality = training_clips(context)
    tests = {"seen": test_clips(context, SEEN), "unseen": test_clips(context, UNSEEN)}
    scores = {}
    for arm in arms:
        model = Regressor(context.seed).to(mel.device)
        values = (
            quality[np.random.default_rng(context.seed).permutation(len(quality))] if arm == "shuffled" else quality
        )
        loss = loss_of(arm, mel, torch.from_numpy(values).float().to(mel.device))
        if arm != "untrained":
            fit(model, len(mel), loss, training, context.seed)
        predict = predictor(model, arm, mel, values)
        scores[arm] = {task: correlations(predict(clips)) for task, clips in tests.items()}
    return scores


def training_clips(context: StudyContext) -> tuple[Tensor, Array]:
    """Return log-mels of degraded sentences, and their qualities (N,)."""
    count = 24 if context.smoke else SIZES["train"]
    kinds, config = list(SEEN), SpeechConfig(split="train")
    chosen = [(plan(config, i), kinds[i % len(kinds)], i // len(kinds) % LEVELS, i) for i in range(count)]
    makers = [partial(degrade, *one, smoke=context.smoke) for one in chosen]
    mel = spoken_mels(context, "quality-train", repr((VERSION, SEEN.keys(), chosen)), makers, FRAMES)
    return mel, np.array([BEST - level for _, _, level, _ in chosen])


def test_clips(context: StudyContext, kinds: dict[str, tuple[Change, tuple[float, ...]]]) -> Tensor:
    """Return log-mels of test sentences in order of sentence, degradation and level."""
    count = 2 if context.smoke else SIZES["test"]
    config = SpeechConfig(split="test")
    chosen = [(plan(config, i), kind, level, i) for i in range(count) for kind in kinds for level in range(LEVELS)]
    makers = [partial(degrade, *one, smoke=context.smoke) for one in chosen]
    return spoken_mels(context, "quality-test", repr((VERSION, chosen)), makers, FRAMES)


def loss_of(arm: str, mel: Tensor, quality: Tensor) -> Callable[[Any, Any, np.random.Generator], Tensor]:
    """Return the loss of an arm."""
    margin = TripletRegressionConfig(margin="fixed", size=0.2) if arm == "fixed" else TripletRegressionConfig()
    triplets, ranks = TripletRegression(margin), RankNContrast()

    def loss(model: Regressor, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        clips, values = inputs(mel[list(numbers)]), quality[list(numbers), None]
        emb = model.embed(masked(clips, rng))
        if arm == "l2":
            return (model.output(emb) - (values - BEST / 2)).square().mean()
        if arm == "ranks":
            given = {"audio_emb": emb, "text_emb": model.embed(masked(clips, rng)), "values": values}
            return ranks(given | {"logit_scale": torch.tensor(5.0)})["loss"]
        return triplets({"audio_emb": emb, "values": values})["loss"]

    return loss


def predictor(model: Regressor, arm: str, mel: Tensor, quality: Array) -> Callable[[Tensor], Array]:
    """Return the prediction of quality (N,) from log-mels."""
    if arm == "l2":
        return lambda clips: embedded(model, lambda m: model.output(model.embed(m)), clips)[:, 0]
    train = embedded(model, model.embed, mel)
    center = train.mean(0)
    weights = np.linalg.solve(
        (train - center).T @ (train - center) + RIDGE * np.eye(EMBED_DIM),
        (train - center).T @ (quality - quality.mean()),
    )
    return lambda clips: (embedded(model, model.embed, clips) - center) @ weights


def correlations(predicted: Array) -> Array:
    """Return Spearman's correlation with the true quality per row of `LEVELS` clips, from best to worst.

    >>> correlations(np.array([5.0, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5])).tolist()
    [1.0, -1.0]
    """
    truth = -np.arange(LEVELS, dtype=np.float64)
    return np.array([weighted_spearman(row, truth) for row in predicted.reshape(-1, LEVELS)])
