"""Scores of self-supervised encoders on the sets of `sound_sets`, one value per test clip where there are clips.

A score is a function of a model and a lab, registered in `SOUND_SCORES`. Cards of the package "self-supervised" name
them. Probes are linear (ridge regression to one-hot classes). The layer of a probe is chosen on a fifth of its training
clips, unless the arm fixes one.

Legend: N clips, S samples, T tokens, D width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.core.registry import Registry
from aural.data.store import Store
from aural.evaluate.metrics.edits import error_rate
from aural.evaluate.probing.cca import mean_cca
from aural.evaluate.probing.information import mutual_information
from aural.nn.code_usage import FLOOR, change_rate, code_perplexity
from aural.nn.nearest_code import k_means, nearest
from aural.objectives.predictive.decorrelate import effective_rank
from aural.reproduce.sound_sets import sound_set
from aural.reproduce.study import StudyContext
from aural.train.systems.self_supervised import SelfSupervised

Values: TypeAlias = NDArray[np.float64]
CLIPS: Final = 300
"""Training clips of a probe of phonemes, keywords and the like."""
FEW: Final = 8
"""Training clips of the probe with few labels."""
RIDGE: Final = 10.0
AT_ONCE: Final = 50
CLUSTERS: Final = 64
TOKEN_S: Final = 0.02


@dataclass
class Lab:
    """A model and what its scores need: the sets, the layers that may be probed, and the seed."""

    context: StudyContext
    model: SelfSupervised
    probe: int | None
    """A fixed layer: 0 for the frames of the front end, 1 for the latents, then the context layers; None: chosen."""

    def __post_init__(self) -> None:
        self._layers: dict[tuple[str, str, int], list[Tensor]] = {}

    @cached_property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.encoder.mask_vector.device

    def store(self, name: str, split: str) -> Store:
        """Return a set."""
        return sound_set(self.context, name, split)

    def waves(self, name: str, split: str, count: int) -> Tensor:
        """Return the first waves (N, S) of a set on the device."""
        return torch.from_numpy(np.stack(self.store(name, split).waves[:count])).to(self.device)

    def layers(self, name: str, split: str, count: int) -> list[Tensor]:
        """Return the layers (N, T, D) of the first clips of a set; frames are put side by side per token."""
        key = (name, split, count)
        if key not in self._layers:
            waves = self.waves(name, split, count)
            parts = [self._of(waves[at : at + AT_ONCE]) for at in range(0, len(waves), AT_ONCE)]
            self._layers = {k: v for k, v in self._layers.items() if k[0] == name}  # keep one set only
            self._layers[key] = [torch.cat(rows) for rows in zip(*parts, strict=True)]
        return self._layers[key]

    def _of(self, waves: Tensor) -> list[Tensor]:
        frames, *rest = self.model.layers(waves)
        tokens, stride = rest[0].shape[1], self.model.encoder.config.stride
        side = self.model.encoder.normalized(frames)[:, : tokens * stride].unflatten(1, (tokens, stride)).flatten(2)
        return [side.float(), *(layer.float() for layer in rest)]

    def clip_rows(self, name: str, split: str, count: int) -> list[Tensor]:
        """Return the layers (N, D) of the first clips of a set, averaged over time; of the front end, its raw frames.

        The frames that the encoder reads are normalized per clip, so that their mean is always 0.
        """
        waves = self.waves(name, split, count)
        parts = [self.model.layers(waves[at : at + AT_ONCE])[0].float().mean(1) for at in range(0, len(waves), AT_ONCE)]
        return [torch.cat(parts), *(layer.mean(1) for layer in self.layers(name, split, count)[1:])]

    @property
    def choices(self) -> Sequence[int]:
        """Places of the layers that a probe may use."""
        return range(1, self.depth) if self.probe is None else (self.probe,)

    @cached_property
    def depth(self) -> int:
        """Number of layers, with the frames and the latents."""
        return len(self.model.layers(self.waves("es", "test", 1)))


Score: TypeAlias = Callable[[Lab], Values]
SOUND_SCORES: Registry[Score] = Registry("sound score")


def ridge_weights(rows: Tensor, targets: Tensor, ridge: float = RIDGE) -> Tensor:
    """Return the weights (D + 1, C) of a ridge regression of targets (N, C) on rows (N, D), with a constant."""
    x = torch.cat([rows, torch.ones(len(rows), 1, device=rows.device)], 1).double()
    return torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1], device=x.device), x.T @ targets.double())


def probe_hits(train: Tensor, train_ids: Tensor, test: Tensor, test_ids: Tensor) -> Tensor:
    """Return whether a linear probe is right (N,) for each test row (N, D)."""
    center, spread = train.mean(0), train.std(0) + 1e-5
    classes = int(max(train_ids.max(), test_ids.max())) + 1
    weights = ridge_weights((train - center) / spread, torch.nn.functional.one_hot(train_ids, classes))
    scores = torch.cat([(test - center) / spread, torch.ones(len(test), 1, device=test.device)], 1).double() @ weights
    return (scores.argmax(1) == test_ids).double()


def phone_ids(store: Store, count: int, tokens: int, names: dict[str, int]) -> NDArray[np.int64]:
    """Return the number of the phoneme at the center of each token (N, T); -1 outside of the utterance."""
    ids = np.full((min(count, len(store)), tokens), -1, np.int64)
    for row, facts in zip(ids, store.facts, strict=False):
        for symbol, onset_s, offset_s in facts["phones"]:
            first, last = (int(np.ceil(edge / TOKEN_S - 0.5)) for edge in (onset_s, offset_s))
            row[first:last] = names.setdefault(symbol, len(names))
    return ids


def phones(lab: Lab, name: str, clips: int) -> Values:
    """Return the share of right phonemes in each test clip of a set."""
    store, held = lab.store(name, "train"), lab.store(name, "test")
    clips = min(clips, len(store))
    train, test = lab.layers(name, "train", clips), lab.layers(name, "test", len(held))
    names: dict[str, int] = {}
    tokens = train[1].shape[1]
    ids, test_ids = (
        torch.from_numpy(phone_ids(one, n, tokens, names)).to(lab.device)
        for one, n in ((store, clips), (held, len(held)))
    )
    fit = max(1, clips * 4 // 5)
    best = lab.choices[0]
    if len(lab.choices) > 1:
        best = max(
            lab.choices, key=lambda i: float(_frame_hits(train[i][:fit], ids[:fit], train[i][fit:], ids[fit:]).mean())
        )
    hits = _frame_hits(train[best], ids, test[best], test_ids)
    where = test_ids >= 0
    per_clip = torch.zeros(test_ids.shape, dtype=torch.float64, device=lab.device)
    per_clip[where] = hits
    return numbers(per_clip.sum(1) / where.sum(1).clamp(min=1))


def _frame_hits(train: Tensor, ids: Tensor, test: Tensor, test_ids: Tensor) -> Tensor:
    return probe_hits(train[ids >= 0], ids[ids >= 0], test[test_ids >= 0], test_ids[test_ids >= 0])


def numbers(values: Tensor) -> Values:
    """Return values as an array in float64."""
    array: Values = values.detach().cpu().numpy().astype(np.float64)
    return array


SOUND_SCORES.add("phones", lambda lab: phones(lab, "es", CLIPS))
SOUND_SCORES.add("phones-it", lambda lab: phones(lab, "it", CLIPS))
SOUND_SCORES.add("phones-fr", lambda lab: phones(lab, "fr", CLIPS))
SOUND_SCORES.add("phones-few", lambda lab: phones(lab, "es", FEW))


def clip_probe(lab: Lab, name: str, fact: str, halves: bool = False) -> Values:
    """Return whether a linear probe on the mean of the tokens finds the fact of each test clip.

    halves: train on the first two thirds of the training clips and test on the others, for facts that splits share not.
    """
    store = lab.store(name, "train")
    layers = lab.clip_rows(name, "train", len(store))
    labels = [str(facts[fact]) for facts in store.facts]
    if halves:
        cut = len(labels) * 2 // 3
        test_layers, test_labels = [layer[cut:] for layer in layers], labels[cut:]
        layers, labels = [layer[:cut] for layer in layers], labels[:cut]
    else:
        held = lab.store(name, "test")
        test_layers = lab.clip_rows(name, "test", len(held))
        test_labels = [str(facts[fact]) for facts in held.facts]
    places = {label: i for i, label in enumerate(sorted({*test_labels, *labels}))}
    used = torch.tensor([i for i, label in enumerate(labels) if label in set(test_labels)], dtype=torch.int64)
    ids = torch.tensor([places[labels[int(i)]] for i in used]).to(lab.device)
    layers = [layer[used.to(lab.device)] for layer in layers]
    test_ids = torch.tensor([places[label] for label in test_labels]).to(lab.device)
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0)).to(lab.device)
    fit, rest = order[: len(order) * 4 // 5], order[len(order) * 4 // 5 :]
    best = lab.choices[0]
    if len(lab.choices) > 1:
        best = max(
            lab.choices, key=lambda i: float(probe_hits(layers[i][fit], ids[fit], layers[i][rest], ids[rest]).mean())
        )
    return numbers(probe_hits(layers[best], ids, test_layers[best], test_ids))


for _score, _set, _fact, _halves in (
    ("events", "sounds", "class", False), ("keywords", "keywords", "class", False), ("speakers", "es", "speaker", True),
    ("key", "notes", "key", False), ("style", "notes", "style", False), ("mood", "notes", "emotion", False),
    ("instrument", "notes", "instrument", False),
):  # fmt: skip
    SOUND_SCORES.add(_score, partial(clip_probe, name=_set, fact=_fact, halves=_halves))


@SOUND_SCORES.register("table")
def table(lab: Lab) -> Values:
    """Return the hits of the probes of events, keywords and speakers, clip after clip."""
    return np.concatenate([SOUND_SCORES[name](lab) for name in ("events", "keywords", "speakers")])


@SOUND_SCORES.register("music")
def music(lab: Lab) -> Values:
    """Return the hits of the probes of key, style, mood and instrument, clip after clip."""
    return np.concatenate([SOUND_SCORES[name](lab) for name in ("key", "style", "mood", "instrument")])


@SOUND_SCORES.register("domains")
def domains(lab: Lab) -> Values:
    """Return the hits of one probe per domain: keywords, events and styles."""
    return np.concatenate([SOUND_SCORES[name](lab) for name in ("keywords", "events", "style")])


def transcribed(lab: Lab, name: str) -> Values:
    """Return the character error rate of each test clip of a set."""
    store = lab.store(name, "test")
    waves = lab.waves(name, "test", len(store))
    texts = [text for at in range(0, len(waves), AT_ONCE) for text in lab.model.transcribe(waves[at : at + AT_ONCE])]
    return np.array([error_rate(one["transcript"], text) for one, text in zip(store.facts, texts, strict=True)])


SOUND_SCORES.add("cer", lambda lab: transcribed(lab, "es"))
SOUND_SCORES.add("cer-it", lambda lab: transcribed(lab, "it"))


def quantized(lab: Lab) -> Tensor:
    """Return the ids (N, T, G) of the model's quantizer on the test clips of "es"."""
    quantizer = lab.model.quantizer
    assert quantizer is not None
    ids: Tensor = quantizer(lab.layers("es", "test", len(lab.store("es", "test")))[1]).ids
    return ids


@SOUND_SCORES.register("perplexity")
def perplexity_share(lab: Lab) -> Values:
    """Return the perplexity of the codes divided by their number."""
    codes = int(lab.model.quantizer.codes)  # type: ignore[union-attr, arg-type]
    return np.array([float(code_perplexity(quantized(lab), codes)) / codes])


@SOUND_SCORES.register("collapsed")
def collapsed(lab: Lab) -> Values:
    """Return 1 if the perplexity is below a quarter of the number of codes, else 0."""
    return (perplexity_share(lab) < FLOOR).astype(np.float64)


@SOUND_SCORES.register("phones-of-codes")
def phones_of_codes(lab: Lab) -> Values:
    """Return the share of right phonemes from the model's discrete inputs or codes alone, as one-hot vectors."""
    model = lab.model

    def one_hot(split: str, count: int) -> Tensor:
        parts = []
        waves = lab.waves("es", split, count)
        for at in range(0, len(waves), AT_ONCE):
            step = model.step({"wave": waves[at : at + AT_ONCE]})
            ids = step.tokens if model.tokenizer is not None else step.codes.ids
            codes = model.tokenizer.size[1] if model.tokenizer is not None else int(model.quantizer.codes)  # type: ignore[union-attr, arg-type]
            parts.append(torch.nn.functional.one_hot(ids, codes).flatten(2).float())
        return torch.cat(parts)

    with torch.no_grad():
        held = len(lab.store("es", "test"))
        clips = min(CLIPS, len(lab.store("es", "train")))
        other = Lab(lab.context, model, 0)
        other._layers = {
            ("es", "train", clips): [one_hot("train", clips)] * 2,
            ("es", "test", held): [one_hot("test", held)] * 2,
        }
        return phones(other, "es", CLIPS)


@SOUND_SCORES.register("code-changes")
def code_changes(lab: Lab) -> Values:
    """Return how often the k-means cluster of the last layer changes from token to token in each test clip."""
    train, test = lab.layers("es", "train", CLIPS)[-1], lab.layers("es", "test", len(lab.store("es", "test")))[-1]
    centers = k_means(train.flatten(0, 1)[::3], CLUSTERS, seed=lab.context.seed)
    return numbers(change_rate(nearest(test[:, :, None], centers[None])))


@SOUND_SCORES.register("effective-rank")
def rank(lab: Lab) -> Values:
    """Return the effective rank of the last layer on the test clips."""
    rows = lab.layers("es", "test", len(lab.store("es", "test")))[-1].flatten(0, 1)
    return np.array([float(effective_rank(rows))])


@SOUND_SCORES.register("step-ms")
def step_ms(lab: Lab) -> Values:
    """Return the least time of 64 training steps of 32 clips on this device, forward and backward.

    Other processes on the device only add to the time of a step, and the median changes with their number.
    """
    model = lab.model.train()
    waves = lab.waves("es", "train", 32)
    times = []
    for _ in range(4 if lab.context.smoke else 64):
        begin = time.perf_counter()
        model({"wave": waves})["loss"].backward()
        if lab.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
        model.zero_grad(set_to_none=True)
    model.eval()
    return np.array([1000 * min(times)])


def phone_rows(lab: Lab) -> tuple[list[Tensor], Tensor]:
    """Return the layers (M, D) of the test tokens within utterances, and their phonemes (M,)."""
    held = lab.store("es", "test")
    layers = lab.layers("es", "test", len(held))
    ids = torch.from_numpy(phone_ids(held, len(held), layers[1].shape[1], {})).to(lab.device)
    return [layer[ids >= 0] for layer in layers], ids[ids >= 0]


def _shuffled(ids: Tensor) -> Tensor:
    return ids[torch.randperm(len(ids), generator=torch.Generator().manual_seed(0)).to(ids.device)]


def cca(lab: Lab, *, shuffle: bool) -> Values:
    """Return the mean canonical correlation of the probed layer and the phonemes."""
    layers, ids = phone_rows(lab)
    ids = _shuffled(ids) if shuffle else ids
    classes = torch.nn.functional.one_hot(ids).double()
    return np.array([mean_cca(numbers(layers[lab.choices[-1]]), numbers(classes))])


SOUND_SCORES.add("cca-phones", lambda lab: cca(lab, shuffle=False))
SOUND_SCORES.add("cca-control", lambda lab: cca(lab, shuffle=True))


@SOUND_SCORES.register("cca-mel")
def cca_mel(lab: Lab) -> Values:
    """Return the mean canonical correlation of the probed layer and the frames of the front end."""
    layers, _ = phone_rows(lab)
    return np.array([mean_cca(numbers(layers[lab.choices[-1]]), numbers(layers[0]))])


@SOUND_SCORES.register("information")
def information(lab: Lab) -> Values:
    """Return the mutual information in bits of clusters of the probed layer and the phonemes."""
    layers, ids = phone_rows(lab)
    rows = layers[lab.choices[-1]]
    clusters = nearest(rows[:, None], k_means(rows, CLUSTERS)[None])[:, 0]
    return np.array([mutual_information(clusters.cpu().numpy(), ids.cpu().numpy())])
