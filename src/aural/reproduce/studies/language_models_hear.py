"""Measure what language models know about sounds: a linear probe from frozen audio features to frozen text vectors.

Claim: a linear map from audio features to the vectors that a text-only language model gives to class names, trained
with a contrastive loss on some classes, finds the names of classes that it was not trained on above chance. A language
model with random weights, and class names in permuted order, stay at chance. Paper: What Do Language Models Hear?
Probing for Auditory Representations in Language Models (arXiv 2402.16998). Arms and checks were fixed
before the first run.

Data: clips with class names from the corpus of the run. Per seed, a quarter of the classes is held out. Classes whose
names share a word of four or more letters with a held-out class ("dog", "dog growl") are left out of training, so that
shared words cannot be matched.

Text vectors: MiniLM from the installed package, mean over tokens of "the sound of NAME" ("pretrained"), or the same
network with random weights ("random").

Audio features: "mel", mean and standard deviation over time of a log-mel, which never saw a text; "libre", the audio
embedding of libre-small, which was trained with captions, also of some held-out classes. Only "mel" tests the claim;
"libre" is an upper reference.

Arms: pretrained-mel (the claim), random-mel, pretrained-libre, permuted-mel (text vectors of all classes permuted).

Tasks:
    rank         one item per clip of a held-out class: 1 if its name is nearest among the held-out names, 0 if it is
                 farthest, linear in the rank. Chance is 0.5.
    top-1        one item per clip: 1 if its name is nearest
    permutation  p value of the mean rank score under permutations of the held-out names
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from aural.audio.io import read
from aural.audio.mel import LogMel, MelConfig
from aural.core.errors import DataError
from aural.data.manifest import Manifest, read_manifest
from aural.encoders.text import TEXT_TOWERS
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.clap import TextTower
from aural.objectives import MultiPositive
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import corpus_folder

Array: TypeAlias = NDArray[np.float64]
MEL = MelConfig(sample_rate_hz=16_000, n_fft=512, hop=160, n_mels=64, fmin_hz=50, fmax_hz=8000)
LONGEST_S = 5.0


@dataclass(frozen=True)
class Sizes:
    """Sizes of the probe and of its data."""

    clips_per_class: int = 6
    held_out_share: float = 0.25
    steps: int = 300
    scale: float = 20.0
    """Multiplier of the cosines in the loss of the probe."""
    weight_decay: float = 0.1
    permutations: int = 500


@dataclass(frozen=True)
class Clips:
    """Clips with class numbers; `features` holds one (N, D) per kind of audio features."""

    names: list[str]
    label: NDArray[np.int64]
    features: dict[str, Tensor]


def run(context: StudyContext, **options: Any) -> Scores:
    """Return arm -> task -> scores; `options` are fields of `Sizes`."""
    sizes = Sizes(steps=5, clips_per_class=3, permutations=20) if context.smoke else Sizes(**options)
    kinds = ("mel",) if context.smoke else ("mel", "libre")
    clips = load_clips(corpus_folder(context.data, context.out), sizes, kinds)
    rng = np.random.default_rng(context.seed)
    train_classes, held_out = split_classes(clips.names, sizes.held_out_share, rng)
    pretrained = text_vectors(clips.names, random_seed=None)
    random = text_vectors(clips.names, random_seed=context.seed)
    order = rng.permutation(len(clips.names))
    arms = {
        "pretrained-mel": (pretrained, "mel"),
        "random-mel": (random, "mel"),
        "permuted-mel": (pretrained[order], "mel"),
        "pretrained-libre": (pretrained, kinds[-1]),
    }
    scores = {}
    for arm, (vectors, kind) in arms.items():
        probe = fit(clips.features[kind], clips.label, vectors, train_classes, sizes)
        test = np.isin(clips.label, held_out)
        similarity = probe(clips.features[kind][test]) @ vectors[held_out].T
        label = np.searchsorted(held_out, clips.label[test])
        scores[arm] = score(similarity.double().numpy(), label, sizes.permutations, context.seed)
    return scores


def load_clips(folder: Path, sizes: Sizes, kinds: tuple[str, ...]) -> Clips:
    """Read up to `clips_per_class` clips per class of the corpus in `folder` and compute their audio features."""
    manifest = read_manifest(folder)
    names = sorted({name for name in manifest.column("class_name") if name})
    if len(names) < 4:
        raise DataError(f"{folder}: {len(names)} classes; the study needs at least 4")
    files, label = choose_clips(manifest, names, sizes.clips_per_class)
    front_end = LogMel(MEL)
    features = {"mel": normalize_columns(torch.stack([mel_features(file, front_end) for file in files]))}
    if "libre" in kinds:
        from aural.models.load import load

        vectors = load("libre-small", device="cpu").embed_audio(files)
        features["libre"] = normalize_columns(torch.from_numpy(vectors))
    return Clips(names, np.asarray(label), features)


def choose_clips(manifest: Manifest, names: list[str], per_class: int) -> tuple[list[Path], list[int]]:
    """Return files and class numbers of the first `per_class` clips of each class, in file order."""
    number = {name: i for i, name in enumerate(names)}
    count = dict.fromkeys(names, 0)
    files, label = [], []
    for row in manifest:
        if row.class_name in number and count[row.class_name] < per_class:
            count[row.class_name] += 1
            files.append(manifest.file(row))
            label.append(number[row.class_name])
    return files, label


def mel_features(file: Path, front_end: LogMel) -> Tensor:
    """Return the mean and the standard deviation over time of the log-mel of the first seconds of a clip, (128,)."""
    clip = read(file, sample_rate_hz=MEL.sample_rate_hz, mono=True, duration_s=LONGEST_S)
    samples = torch.from_numpy(clip.samples[0])
    samples = torch.nn.functional.pad(samples, (0, max(0, MEL.n_fft - len(samples))))
    mel = front_end(samples[None])[0]  # (N, F)
    return torch.cat([mel.mean(0), mel.std(0)])


def normalize_columns(features: Tensor) -> Tensor:
    """Return the features with mean 0 and standard deviation 1 per column; no label is used."""
    return (features - features.mean(0)) / (features.std(0) + 1e-5)


def split_classes(
    names: list[str], share: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sorted numbers of training classes and held-out classes; no training name shares a long word with them."""
    order = rng.permutation(len(names))
    held_out = np.sort(order[: max(2, round(share * len(names)))])
    words = {word for i in held_out for word in names[i].split() if len(word) >= 4}
    train = [i for i in range(len(names)) if i not in held_out and not words & set(names[i].split())]
    return np.asarray(train, np.int64), held_out


def text_vectors(names: list[str], random_seed: int | None) -> Tensor:
    """Return one unit vector (C, 384) per class name from MiniLM, centered over classes.

    random_seed: None for the pretrained weights; else the seed of random weights.

    Raises:
        MissingDependencyError: the package with the pretrained weights is not installed.
    """
    from aural.train.start import PACKAGED, load_text

    config = TEXT_TOWERS["minilm"]
    torch.manual_seed(random_seed or 0)
    tower = TextTower(config, "none", config.dim).eval()
    if random_seed is None:
        load_text(tower, config, PACKAGED)
    backend = load_backend(config.tokenizer)
    tokenizer = Tokenizer(backend, special=config.special_tokens, max_tokens=config.max_tokens, pad_id=config.pad_id)
    tokens = tokenizer([f"the sound of {name}" for name in names])
    with torch.inference_mode():
        vectors = tower(tokens.ids, tokens.mask)
    return normalize(vectors - vectors.mean(0), dim=1).clone()


def fit(features: Tensor, label: NDArray[np.int64], vectors: Tensor, classes: NDArray[np.int64], sizes: Sizes) -> Probe:
    """Train the linear probe on the clips of `classes` against the vectors of these classes."""
    rows = np.isin(label, classes)
    probe = Probe(features.shape[1], vectors.shape[1])
    optimizer = torch.optim.AdamW(probe.parameters(), lr=3e-3, weight_decay=sizes.weight_decay)
    objective = MultiPositive()
    given = {
        "text_emb": vectors[classes],
        "text_group": torch.from_numpy(classes),
        "audio_group": torch.from_numpy(label[rows]),
        "logit_scale": torch.tensor(sizes.scale),
    }
    for _ in range(sizes.steps):
        optimizer.zero_grad()
        objective(given | {"audio_emb": probe.map(features[rows])})["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return probe


class Probe(nn.Module):
    """A linear map from features (N, D) to unit rows (N, E), starting at zero-mean small weights."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dims, width)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.linear.weight.copy_(0.01 * torch.randn(width, dims, generator=generator))
            self.linear.bias.zero_()

    def map(self, features: Tensor) -> Tensor:
        """Return unit rows with gradient."""
        return normalize(self.linear(features), dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return unit rows without gradient."""
        return self.map(features).detach()


def score(similarity: Array, label: NDArray[np.int64], permutations: int, seed: int) -> dict[str, Array | float]:
    """Return rank and top-1 per clip and the p value, from similarities (N, K) to held-out names and labels (N,)."""
    better = (similarity[:, None, :] > similarity[:, :, None]).sum(2)  # (N, K): names nearer than each name
    ranks = 1 - better / (similarity.shape[1] - 1)
    rows = np.arange(len(label))
    rank = ranks[rows, label]
    rng = np.random.default_rng(seed)
    shuffled = [ranks[rows, rng.permutation(similarity.shape[1])[label]].mean() for _ in range(permutations)]
    exceeded = sum(value >= rank.mean() for value in shuffled)
    p_value = (1 + exceeded) / (1 + permutations)
    return {"rank": rank, "top-1": (better[rows, label] == 0).astype(np.float64), "permutation": p_value}
