"""Measure what language models know about sounds: a linear probe from frozen audio features to frozen text vectors.

Claim: a linear map from audio features to the vectors that a text-only language model gives to class names, trained
with a contrastive loss on some classes, finds the names of classes that it was not trained on above chance. A language
model with random weights, and class names in permuted order, stay at chance. Paper: What Do Language Models Hear?
Probing for Auditory Representations in Language Models (arXiv 2402.16998).

Data: clips of the classes of the corpus of the run that have at least two clips. Per seed, the classes are dealt into
four folds. Each fold is held out once, so that every seed scores the same items: one per class. Classes whose names
share a word with a class of the fold ("dog", "dog growl") are left out of its training, so that shared words cannot be
matched; words are compared by their first four letters, without "of" and "or".

Text vectors: "the sound of NAME" in a language model of `aural.models.language`, centered over classes. MiniLM is
bidirectional and was tuned on pairs of sentences; SmolLM2 is decoder-only. "random": the same network, weights drawn
per seed.

Audio features: "mel", mean and standard deviation over time of a log-mel, which never saw a text; "libre", the audio
embedding of libre-small, which was trained with captions, also of some held-out classes. Only "mel" tests the claim;
"libre" is an upper reference.

Arms: minilm-mel and smollm2-mel (the claim), minilm-libre, random-minilm-mel, random-smollm2-mel, and
permuted-minilm-mel, permuted-smollm2-mel: the vectors of all classes in permuted order. One permutation maps some
related classes onto each other by chance, so one order says little about the control: its scores are means over several
orders.

Tasks, one item per class (the mean over its clips, which are not independent):
    rank         1 if the right name is nearest among the held-out names, 0 if it is farthest, linear in between.
                 Chance is 0.5.
    top-1        1 if the right name is nearest
    permutation  p value of the mean rank under permutations of the names within each fold
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from aural.audio.io import read
from aural.audio.mel import LogMel, MelConfig
from aural.core.errors import DataError
from aural.data.manifest import Manifest, read_manifest
from aural.models.language import LANGUAGE_MODELS
from aural.objectives import MultiPositive
from aural.reproduce.shared import shared_arrays
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import corpus_folder

Array: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.int64]
MEL: Final = MelConfig(sample_rate_hz=16_000, n_fft=512, hop=160, n_mels=64, fmin_hz=50, fmax_hz=8000)
LONGEST_S: Final = 5.0
SMALL_WORDS: Final = frozenset({"of", "or"})
STEM: Final = 4


@dataclass(frozen=True)
class Sizes:
    """Sizes of the probe and of its data."""

    min_clips: int = 2
    """Classes with fewer clips are left out."""
    clips_per_class: int = 6
    folds: int = 4
    steps: int = 150
    scale: float = 20.0
    """Multiplier of the cosines in the loss of the probe."""
    weight_decay: float = 0.1
    permutations: int = 2000
    """Permutations of the test of significance."""
    orders: int = 4
    """Permuted orders of the names per seed that the control is trained with."""


SMOKE: Final = Sizes(clips_per_class=3, folds=2, steps=5, permutations=20, orders=2)


@dataclass(frozen=True)
class Clips:
    """Clips with class numbers; `features` holds one (N, D) per kind of audio features."""

    names: list[str]
    label: Numbers
    features: dict[str, Tensor]


def run(context: StudyContext, **options: Any) -> Scores:
    """Return arm -> task -> scores; `options` are fields of `Sizes`."""
    sizes = SMOKE if context.smoke else Sizes(**options)
    clips = load_clips(context, sizes)
    rng = np.random.default_rng(context.seed)
    folds = deal(len(clips.names), sizes.folds, rng)
    orders = [rng.permutation(len(clips.names)) for _ in range(sizes.orders)]
    scores: dict[str, dict[str, Array | float]] = {}
    for arm, model in {"minilm": "minilm", "smollm2": "minilm" if context.smoke else "smollm2"}.items():
        pretrained = text_vectors(context, clips.names, model)
        random = text_vectors(context, clips.names, model, random_seed=context.seed)
        scores[f"{arm}-mel"] = probe(clips, "mel", pretrained, folds, sizes, context.seed)
        scores[f"random-{arm}-mel"] = probe(clips, "mel", random, folds, sizes, context.seed)
        controls = [probe(clips, "mel", pretrained[order], folds, sizes, context.seed) for order in orders]
        mean = {task: np.mean(np.array([one[task] for one in controls]), axis=0) for task in controls[0]}
        scores[f"permuted-{arm}-mel"] = mean
    reference = probe(clips, "libre", text_vectors(context, clips.names, "minilm"), folds, sizes, context.seed)
    return scores | {"minilm-libre": reference}


def load_clips(context: StudyContext, sizes: Sizes) -> Clips:
    """Read the clips of the corpus and their audio features, which all seeds share."""
    folder = corpus_folder(context.data, context.out)
    manifest = read_manifest(folder)
    names, files, label = choose_clips(manifest, sizes)
    if len(names) < 4:
        raise DataError(f"{folder}: {len(names)} classes with {sizes.min_clips} clips; the study needs at least 4")

    def compute() -> dict[str, NDArray[Any]]:
        from aural.models.load import load

        front_end = LogMel(MEL)
        mel = torch.stack([mel_features(file, front_end) for file in files]).numpy()
        return {"mel": mel, "libre": mel if context.smoke else load("libre-small", device="cpu").embed_audio(files)}

    key = repr((MEL, LONGEST_S, [(str(file.relative_to(folder)), file.stat().st_size) for file in files]))
    features = shared_arrays(context, "audio", key, compute)
    return Clips(names, label, {kind: standardize(torch.from_numpy(values)) for kind, values in features.items()})


def choose_clips(manifest: Manifest, sizes: Sizes) -> tuple[list[str], list[Path], Numbers]:
    """Return the names of the classes, and files and class numbers of their first clips, in file order."""
    files: dict[str, list[Path]] = {}
    for row in manifest:
        if row.class_name:
            files.setdefault(row.class_name, []).append(manifest.file(row))
    names = sorted(name for name, of_class in files.items() if len(of_class) >= sizes.min_clips)
    chosen = [(file, i) for i, name in enumerate(names) for file in files[name][: sizes.clips_per_class]]
    return names, [file for file, _ in chosen], np.array([i for _, i in chosen], np.int64)


def mel_features(file: Path, front_end: LogMel) -> Tensor:
    """Return the mean and the standard deviation over time of the log-mel of the first seconds of a clip, (128,)."""
    clip = read(file, sample_rate_hz=MEL.sample_rate_hz, mono=True, duration_s=LONGEST_S)
    samples = torch.from_numpy(clip.samples[0])
    samples = torch.nn.functional.pad(samples, (0, max(0, MEL.n_fft - len(samples))))
    mel = front_end(samples[None])[0]  # (N, F)
    return torch.cat([mel.mean(0), mel.std(0)])


def standardize(features: Tensor) -> Tensor:
    """Return the features with mean 0 and standard deviation 1 per column; no label is used."""
    return (features - features.mean(0)) / (features.std(0) + 1e-5)


def deal(classes: int, folds: int, rng: np.random.Generator) -> list[Numbers]:
    """Deal class numbers into folds of equal size, give or take one; each fold is sorted."""
    order = rng.permutation(classes)
    return [np.sort(order[fold::folds]).astype(np.int64) for fold in range(folds)]


def words_of(name: str) -> set[str]:
    """Return the words of a class name by their first letters.

    >>> sorted(words_of("bird of prey")), sorted(words_of("closed hi-hat"))
    (['bird', 'prey'], ['clos', 'hat', 'hi'])
    """
    return {word[:STEM] for word in name.replace("-", " ").split() if word not in SMALL_WORDS}


def training_classes(names: list[str], held_out: Numbers) -> Numbers:
    """Return the numbers of the classes that are not held out and share no word with a held-out one."""
    words = set[str]().union(*(words_of(names[i]) for i in held_out))
    out = set(held_out.tolist())
    return np.array([i for i, name in enumerate(names) if i not in out and not words & words_of(name)], np.int64)


def text_vectors(context: StudyContext, names: list[str], model: str, random_seed: int | None = None) -> Tensor:
    """Return one unit vector (C, D) per class name, centered over classes.

    random_seed: None for the pretrained weights; else the seed of random weights.

    Raises:
        MissingDependencyError: a package that the pretrained weights need is not installed.
    """
    texts = [f"the sound of {name}" for name in names]

    def compute() -> dict[str, NDArray[Any]]:
        return {"vectors": LANGUAGE_MODELS[model](random_seed).embed(texts).numpy()}

    key = repr((model, random_seed, texts))
    vectors = torch.from_numpy(shared_arrays(context, model, key, compute)["vectors"])
    return normalize(vectors - vectors.mean(0), dim=1)


def probe(
    clips: Clips, kind: str, vectors: Tensor, folds: list[Numbers], sizes: Sizes, seed: int
) -> dict[str, Array | float]:
    """Train one probe per fold and score the classes of the fold."""
    axes = torch.linalg.svd(vectors, full_matrices=False).Vh
    vectors = vectors @ axes.T  # the same cosines in at most C dimensions
    features = clips.features[kind]
    tables = []
    for held_out in folds:
        classes = training_classes(clips.names, held_out)
        linear = fit(features, clips.label, vectors, classes, sizes)
        rows = np.isin(clips.label, held_out)
        with torch.no_grad():
            similarity = normalize(linear(features[rows]), dim=1) @ vectors[held_out].T
        tables.append(rank_tables(similarity.double().numpy(), np.searchsorted(held_out, clips.label[rows])))
    return score(tables, folds, sizes.permutations, seed)


def fit(features: Tensor, label: Numbers, vectors: Tensor, classes: Numbers, sizes: Sizes) -> nn.Linear:
    """Train a linear map from the clips of `classes` to the vectors of these classes, from small random weights."""
    rows = np.isin(label, classes)
    linear = nn.Linear(features.shape[1], vectors.shape[1])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        linear.weight.copy_(0.01 * torch.randn(linear.weight.shape, generator=generator))
        linear.bias.zero_()
    optimizer = torch.optim.AdamW(linear.parameters(), lr=3e-3, weight_decay=sizes.weight_decay)
    objective = MultiPositive()
    given = {
        "text_emb": vectors[classes],
        "text_group": torch.from_numpy(classes),
        "audio_group": torch.from_numpy(label[rows]),
        "logit_scale": torch.tensor(sizes.scale),
    }
    inputs = features[rows]
    for _ in range(sizes.steps):
        optimizer.zero_grad()
        objective(given | {"audio_emb": normalize(linear(inputs), dim=1)})["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return linear


def rank_tables(similarity: Array, label: Numbers) -> tuple[Array, Array]:
    """Return for K classes and K names the mean rank score and the share of clips whose nearest name it is, (K, K).

    similarity: (N, K) of clips to names. label: (N,) class of each clip; every class has a clip.
    """
    names = similarity.shape[1]
    better = (similarity[:, None, :] > similarity[:, :, None]).sum(2)  # (N, K): names nearer than each name
    of_class = (label[None, :] == np.arange(names)[:, None]).astype(np.float64)  # (K, N)
    of_class /= of_class.sum(axis=1, keepdims=True)
    return of_class @ (1 - better / (names - 1)), of_class @ (better == 0).astype(np.float64)


def score(
    tables: list[tuple[Array, Array]], folds: list[Numbers], permutations: int, seed: int
) -> dict[str, Array | float]:
    """Return rank and top-1 per class (C,), in the order of the classes, and the p value of the mean rank."""
    order = np.argsort(np.concatenate(folds))
    rank = np.concatenate([ranks.diagonal() for ranks, _ in tables])[order]
    nearest = np.concatenate([first.diagonal() for _, first in tables])[order]
    rng = np.random.default_rng(seed)
    total = np.zeros(permutations)
    for ranks, _ in tables:
        names = rng.permuted(np.tile(np.arange(len(ranks)), (permutations, 1)), axis=1)  # (P, K)
        total += ranks[np.arange(len(ranks)), names].sum(axis=1)
    p_value = (1 + int((total >= rank.sum() - 1e-9).sum())) / (1 + permutations)
    return {"rank": rank, "top-1": nearest, "permutation": p_value}
