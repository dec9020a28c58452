"""Spot keywords from few labels, and find a spoken word by an example of it (CAB-KWS).

Claim: a network that learned from unlabeled words, by reconstruction and by equal bottleneck features at another speed
and volume, spots keywords from few labels better than one trained from random weights, and finds a word by an example
better than dynamic time warping of log-mels. Paper: Contrastive Augmentation (arXiv 2409.00356).

Words are spoken by espeak-ng. Voices of the tests are in no training clip, and no word that is searched for is a
keyword. A compact network of separable convolutions gives a narrow bottleneck, from which the log-mel is decoded. Arms:

    scratch      no training without labels
    reconstruct  the loss of reconstruction: the clip from its copy at another speed and volume
    similar      the distance of the bottleneck features of the clip and of its copy
    cab          both (the paper)
    contrast     both, with `sup_con` in place of the distance: the copies of other clips are negatives
    dtw          log-mels instead of bottleneck features, for the search alone
    shuffled     control: "cab", with labels (keywords) or words (search) of other clips

Tasks:
    keywords   1 if the keyword of a test clip is recognized after training with a few labels (one item per clip)
    search     average precision of the clips of the same word by other voices, by dynamic time warping of bottleneck
               features, or of log-mels in "dtw" (one item per query)

Legend: N clips, F mel bands, B clips of a batch, T frames, D bottleneck features, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.data.speech.espeak import Utterance
from aural.data.speech.sentences import SPEAKERS
from aural.nn.functional import unit
from aural.objectives import SupCon
from aural.reproduce.studies.scene_pair import SMOKE, Training, fit
from aural.reproduce.studies.small_encoders import SPREAD_DB, embedded, inputs
from aural.reproduce.studies.spoken import say, spoken_mels
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import MEL
from aural.search.warping import warped_distance
from aural.train.draw import ITEM, generator

Array: TypeAlias = NDArray[np.float64]
FRAMES: Final = 50
KEYWORDS: Final = (
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "zero", "one", "two", "three", "four",
    "five", "six", "seven", "eight", "nine",
)  # fmt: skip
SEARCHED: Final = ("bed", "bird", "cat", "dog", "happy", "house", "tree", "follow", "learn", "visual")
VOICES: Final = ("en", "en-us", "en-gb-scotland")
REPEATS: Final = {"train": 8, "test": 4}
SPEECH_DB: Final = 40.0
"""Frames more than this below the loudest one are silence."""
LABELS: Final = 2
"""Labeled clips per keyword, of 56."""
GAIN_DB: Final = 10.0
RATE: Final = 0.3
"""Largest absolute logarithm of the factor of the speed."""
SIMILAR: Final = 1.0
CONTRAST: Final = 0.1
BOTTLENECK: Final = 24
PARTS: Final = 5
"""Of a clip, whose bottleneck features are averaged each."""
UNLABELED: Final = Training(steps=600, batch=64, lr=2e-3)
LABELED: Final = Training(steps=150, batch=60, lr=1e-3)
LEARNED: Final = ("reconstruct", "similar", "cab", "contrast")


class Separable(nn.Module):
    """A convolution over time per channel, then over channels, with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.time = nn.Conv1d(channels, channels, 5, padding=2, groups=channels)
        self.channels = nn.Conv1d(channels, channels, 1)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + nn.functional.gelu(self.norm(self.channels(self.time(x))))


class KeywordNet(nn.Module):
    """Log-mels (B, N, F) to bottleneck features (B, D, T), back to log-mels, and to keywords."""

    def __init__(self, seed: int, channels: int = 64) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Sequential(
            nn.Conv1d(MEL.n_mels, channels, 5, padding=2), Separable(channels), Separable(channels),
            nn.AvgPool1d(2), Separable(channels), Separable(channels), nn.Conv1d(channels, BOTTLENECK, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Conv1d(BOTTLENECK, channels, 1), Separable(channels), nn.Upsample(scale_factor=2),
            Separable(channels), nn.Conv1d(channels, MEL.n_mels, 5, padding=2),
        )  # fmt: skip
        self.classes = nn.Linear(BOTTLENECK * PARTS, len(KEYWORDS))

    def bottleneck(self, mel: Tensor) -> Tensor:
        """Return the features (B, D, T)."""
        features: Tensor = self.encoder(mel.transpose(1, 2))
        return features

    def pooled(self, features: Tensor) -> Tensor:
        """Return the means of the parts of clips, (B, D * PARTS)."""
        return nn.functional.adaptive_avg_pool1d(features, PARTS).flatten(1)

    def frames(self, mel: Tensor) -> Tensor:
        """Return the bottleneck features at every frame (B, N, D)."""
        return self.bottleneck(mel).repeat_interleave(2, dim=2).transpose(1, 2)


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> scores."""
    train, train_words = words_of(context, "train", KEYWORDS)
    test, test_words = words_of(context, "test", KEYWORDS)
    searched, names = words_of(context, "test", SEARCHED)
    rng = np.random.default_rng(context.seed)
    labeled = np.concatenate([rng.permutation(np.flatnonzero(train_words == k))[:LABELS] for k in range(len(KEYWORDS))])
    voices = np.tile(np.repeat(np.arange(len(SPEAKERS["test"])), repeats(context, "test")), len(SEARCHED))
    mixed = np.random.default_rng(context.seed + 1)
    scores: dict[str, dict[str, Array]] = {}
    for arm in ("scratch", *LEARNED):
        net = KeywordNet(context.seed).to(train.device)
        if arm != "scratch":
            fit(net, len(train), unlabeled_loss(arm, train), smaller(UNLABELED, context), context.seed)
        distance = warped(searched, embedded(net, net.frames, searched))
        scores[arm] = {"search": precisions(-distance, names, voices)}
        if arm == "cab":
            state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
            scores["shuffled"] = {"search": precisions(-distance, mixed.permutation(names), voices)}
        fit_labels(net, train[labeled], train_words[labeled], context)
        scores[arm]["keywords"] = (recognized(net, test) == test_words).astype(np.float64)
    net.load_state_dict(state)
    fit_labels(net, train[labeled], mixed.permutation(train_words[labeled]), context)
    scores["shuffled"]["keywords"] = (recognized(net, test) == test_words).astype(np.float64)
    scores["dtw"] = {"search": precisions(-warped(searched, embedded(net, lambda m: m, searched)), names, voices)}
    return scores


def smaller(training: Training, context: StudyContext) -> Training:
    """Return the settings, or those of a smoke test."""
    return SMOKE if context.smoke else training


def repeats(context: StudyContext, split: str) -> int:
    """Return how often each voice says each word."""
    return 1 if context.smoke else REPEATS[split]


def words_of(context: StudyContext, split: str, words: Sequence[str]) -> tuple[Tensor, NDArray[np.int64]]:
    """Return log-mels of spoken words, in order of word, voice and repetition, and the numbers of the words."""
    said: list[Utterance] = []
    for word, speaker, again in product(words, SPEAKERS[split], range(repeats(context, split))):
        rng = generator(11, ITEM, len(said), sorted(SPEAKERS).index(split))
        rate, pitch = int(rng.integers(130, 230)), int(rng.integers(30, 70))
        said.append(Utterance(word, f"{VOICES[again % len(VOICES)]}+{speaker}", rate, pitch, int(rng.integers(30, 70))))
    makers = [partial(say, one, smoke=context.smoke) for one in said]
    mel = spoken_mels(context, f"words-{split}", repr(said), makers, FRAMES)
    return mel, np.repeat(np.arange(len(words)), len(said) // len(words))


def copies(mel: Tensor, rng: np.random.Generator) -> Tensor:
    """Return log-mels (B, N, F) at another speed and volume: frames are interpolated, and decibels are added."""
    rate = torch.from_numpy(np.exp(rng.uniform(-RATE, RATE, len(mel)))).float().to(mel.device)
    gain = torch.from_numpy(rng.uniform(-GAIN_DB, GAIN_DB, len(mel)) / SPREAD_DB).float().to(mel.device)
    last = mel.shape[1] - 1
    time = (torch.arange(mel.shape[1], device=mel.device) * rate[:, None]).clamp(max=last)
    first = time.floor().long().clamp(max=last - 1)
    share = (time - first)[..., None]
    index = first[..., None].expand(-1, -1, mel.shape[2])
    return mel.gather(1, index) * (1 - share) + mel.gather(1, index + 1) * share + gain[:, None, None]


def unlabeled_loss(arm: str, train: Tensor) -> Callable[[Any, Any, np.random.Generator], Tensor]:
    """Return the loss of an arm: reconstruction, similarity of bottleneck features, or both."""
    contrast = SupCon()

    def loss(net: KeywordNet, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        clips = inputs(train[list(numbers)])
        one, other = net.bottleneck(clips), net.bottleneck(copies(clips, rng))
        pooled = unit(net.pooled(one)), unit(net.pooled(other))
        restored = [(net.decoder(z).transpose(1, 2) - clips).square().mean() for z in (one, other)]
        rebuilt = torch.stack(restored).mean()
        distance = (pooled[0] - pooled[1]).square().sum(1).mean()
        if arm == "reconstruct":
            return rebuilt
        if arm == "similar":
            return distance
        if arm == "cab":
            return rebuilt + SIMILAR * distance
        group = torch.arange(len(numbers), device=clips.device).repeat(2)
        given = {"audio_emb": torch.cat(pooled), "audio_group": group, "logit_scale": clips.new_tensor(10.0)}
        return rebuilt + CONTRAST * contrast(given)["loss"]

    return loss


def fit_labels(net: KeywordNet, mel: Tensor, words: NDArray[np.int64], context: StudyContext) -> None:
    """Train all weights on labeled clips, at drawn speeds and volumes."""
    target = torch.from_numpy(words).to(mel.device)

    def loss(model: KeywordNet, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        features = model.bottleneck(copies(inputs(mel[list(numbers)]), rng))
        return nn.functional.cross_entropy(model.classes(model.pooled(features)), target[list(numbers)])

    fit(net, len(mel), loss, smaller(LABELED, context), context.seed)


def recognized(net: KeywordNet, mel: Tensor) -> NDArray[np.int64]:
    """Return the most probable keyword (N,) of log-mels."""
    return embedded(net, lambda m: net.classes(net.pooled(net.bottleneck(m))), mel).argmax(1)


def warped(mel: Tensor, features: Array) -> Array:
    """Return the distances (N, N) of features (N, frames, D) by dynamic time warping, without silence at the ends.

    The mean of a clip is removed per feature, as in cepstral mean normalization.
    """
    clips = []
    for level, clip in zip(inputs(mel).amax(2).cpu().numpy(), features, strict=True):
        speech = np.flatnonzero(level > level.max() - SPEECH_DB / SPREAD_DB)
        kept = clip[speech[0] : speech[-1] + 1]
        clips.append(kept - kept.mean(0))
    return warped_distance(clips)


def precisions(similarity: Array, words: NDArray[np.int64], voices: NDArray[np.int64]) -> Array:
    """Return the average precision per query (Q,): clips of the same word among the clips of other voices."""
    scores = []
    for n, row in enumerate(similarity):
        others = np.flatnonzero(voices != voices[n])
        relevant = (words[others] == words[n])[np.argsort(-row[others], kind="stable")]
        ranks = np.flatnonzero(relevant) + 1
        scores.append((np.arange(1, len(ranks) + 1) / ranks).mean() if len(ranks) else 0.0)
    return np.array(scores)
