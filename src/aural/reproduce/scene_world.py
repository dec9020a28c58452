"""Simulated scenes of the classes that have many recordings, as frames of a frozen audio encoder: data of studies.

A scene is a pure function of (split, number). Scenes of the split "train" consist of training clips, all others of
held-out clips. Frames are the features of YAMNet (Plakal and Ellis 2020; never trained on this corpus), every
`HOP_S` seconds, reduced to their first principal axes on the training scenes, with the level of the frame in dB as
one more column. They are computed once and shared by all cards and seeds.

Legend: N scenes, T frames, D = width + 1 columns, C classes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, permutations
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import aural
from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.data.manifest import Manifest, read_manifest
from aural.data.simulate import SceneConfig, SceneSimulator
from aural.data.simulate.corpus import LASTING, clips_of, label_of
from aural.data.simulate.render import render
from aural.data.simulate.simulator import ScenePlan
from aural.data.simulate.sounds import LabelledClip, clean_phrases
from aural.data.simulate.truth import SceneTruth, frame_labels
from aural.reproduce.quadruples import KINDS, Quadruple, quadruple_of, with_order
from aural.reproduce.shared import shared_arrays
from aural.reproduce.study import StudyContext
from aural.reproduce.worlds import HELD_OUT, RATE_HZ, corpus_folder, kinds_of
from aural.train.draw import ITEM, generator

VERSION: Final = 1
"""Counts up when the content of the scenes changes."""
HOP_S: Final = 0.32
SCENE_S: Final = 5.12
FRAMES: Final = round(SCENE_S / HOP_S)
BATCH: Final = 64
LONGEST_S: Final = 4.0
"""Of a clip; longer ones are cut."""
SCENES: Final = SceneConfig(
    sample_rate_hz=RATE_HZ,
    duration_s=(SCENE_S, SCENE_S),
    events=(1, 3),
    event_s=(0.1, 1.5),
    overlap_chance=0.15,
    background_chance=0.0,
    room_chance=0.0,
    paraphrases=2,
    negatives_per_kind=2,
)
PAIRS: Final = {"events": (2, 2), "overlap_chance": 0.0, "repeat_chance": 0.2}
"""Changes of the scenes for quadruples."""
TRIPLES: Final = {"events": (3, 3), "overlap_chance": 0.0, "repeat_chance": 0.0}
"""Changes of the scenes for orders."""
SPLITS: Final = ("train", "test", "quadruples", "orders", "pairs")
ORDERS: Final = tuple(permutations(range(3)))


@dataclass(frozen=True)
class Sizes:
    """Numbers of scenes, and the rule for classes."""

    train: int = 6000
    test: int = 500
    quadruples: int = 250
    """Of each kind."""
    width: int = 96
    train_clips: int = 6
    """Training clips that a class needs."""
    test_clips: int = 3
    orders: int = 0
    """Scenes of three separate events, each in all six orders. Then no sounds overlap in any split."""
    unseen: int = 0
    """Every so many-th class is left out of the training scenes; 0: none."""
    exponent: float = 0.0
    """The k-th class is drawn with the weight k^-exponent, in a fixed order."""
    pairs: int = 0
    """Quadruples of each kind of training clips."""


def smoke_sizes(sizes: Sizes) -> Sizes:
    """Return the sizes of a smoke test with the same splits."""
    few = {name: min(2, getattr(sizes, name)) for name in ("quadruples", "orders", "pairs")}
    return replace(sizes, train=16, test=10, width=8, train_clips=2, test_clips=1, **few)


@dataclass(frozen=True)
class Scenes:
    """Scenes of one split."""

    frames: Tensor
    """(N, T, D) in float32 on the device."""
    records: list[dict[str, Any]]
    """Per scene: captions (the caption, then its paraphrases), negatives [[kind, text], ...] and the truth record."""

    def labels(self, classes: Sequence[str]) -> Tensor:
        """Return (N, T, C): 1 where an occurrence of a class touches a frame."""
        truths = (SceneTruth.from_facts(record["truth"]) for record in self.records)
        rows = [frame_labels(truth, tuple(classes), 1 / HOP_S)[:FRAMES] for truth in truths]
        return torch.from_numpy(np.stack(rows)).float().to(self.frames.device)


@dataclass(frozen=True)
class SceneWorld:
    """The training scenes, scenes of held-out clips, and quadruples of held-out clips."""

    classes: tuple[str, ...]
    names: dict[str, str]
    """What a caption calls a class most often."""
    train: Scenes
    test: Scenes
    quadruples: list[Quadruple]
    quadruple_frames: Tensor
    """(2 Q, T, D): the two sounds of each quadruple, one after the other."""
    orders: Scenes
    """Each scene of `Sizes.orders` in six orders, one after the other, in the order of `itertools.permutations`."""
    seen: tuple[str, ...]
    """The classes of the training scenes."""
    pairs: list[Quadruple]
    """Quadruples of training clips."""
    pair_frames: Tensor
    """(2 P, T, D): the two sounds of each quadruple in `pairs`, one after the other."""


def load_scenes(context: StudyContext, sizes: Sizes | None = None) -> SceneWorld:
    """Return the scenes, built from the corpus unless a run before did so."""
    sizes = sizes or Sizes()
    sizes = smoke_sizes(sizes) if context.smoke else sizes
    manifest = read_manifest(corpus_folder(context.data, context.out))
    classes = frequent_classes(manifest, sizes)
    chosen = {name: value for name, value in asdict(sizes).items() if value}
    key = repr((VERSION, HOP_S, SCENES, chosen, classes, [(row.path, row.sha256) for row in manifest]))
    stored = shared_arrays(context, "scenes", key, lambda: _build(context, manifest, classes, sizes))
    device = torch.device("cpu" if context.device == "auto" else context.device)
    frames = {name: torch.from_numpy(array).float().to(device) for name, array in stored.items() if name in SPLITS}
    records = json.loads(stored["records"].tobytes())
    none = frames["train"][:0]
    scenes = {name: Scenes(frames.get(name, none), records.get(name, [])) for name in ("train", "test", "orders")}
    quadruples = {name: [Quadruple(**one) for one in records.get(name, [])] for name in ("quadruples", "pairs")}
    return SceneWorld(
        classes=classes,
        names=records["names"],
        quadruples=quadruples["quadruples"],
        quadruple_frames=frames.get("quadruples", none),
        seen=seen_classes(classes, sizes),
        pairs=quadruples["pairs"],
        pair_frames=frames.get("pairs", none),
        **scenes,
    )


def seen_classes(classes: Sequence[str], sizes: Sizes) -> tuple[str, ...]:
    """Return the classes of the training scenes: all but every `unseen`-th in a fixed random order."""
    order = generator(0, ITEM).permutation(len(classes))
    return tuple(classes[i] for k, i in enumerate(order) if not sizes.unseen or k % sizes.unseen)


def frequent_classes(manifest: Manifest, sizes: Sizes) -> tuple[str, ...]:
    """Return the classes of events with enough clips for training and for held-out scenes, sorted."""
    counts = Counter((label_of(row), row.split in HELD_OUT) for row in manifest if row.split in ("train", *HELD_OUT))
    names = {label for label, _ in counts if label and label not in LASTING}
    enough = [n for n in names if counts[n, False] >= sizes.train_clips and counts[n, True] >= sizes.test_clips]
    if len(enough) < 4:
        raise DataError(f"{manifest.folder}: {len(enough)} classes have enough clips for scenes; at least 4 are needed")
    return tuple(sorted(enough))


def _build(
    context: StudyContext, manifest: Manifest, classes: tuple[str, ...], sizes: Sizes
) -> dict[str, NDArray[Any]]:
    """Simulate and embed all scenes."""
    device = "cpu" if context.device == "auto" else context.device
    clips = {
        split: [clip for clip in clips_of(manifest, RATE_HZ, split=split, longest_s=LONGEST_S) if clip.label in classes]
        for split in ("train", HELD_OUT)
    }
    settings = SCENES.model_copy(
        update={"classes": classes, "class_exponent": sizes.exponent}
        | ({"overlap_chance": 0.0} if sizes.orders else {})
    )
    raw: dict[str, NDArray[Any]] = {}
    records: dict[str, Any] = {"names": _names([*clips["train"], *clips[HELD_OUT]], classes)}
    seen = settings.model_copy(update={"classes": seen_classes(classes, sizes)})
    for name, split, count in (("train", "train", sizes.train), ("test", HELD_OUT, sizes.test)):
        simulator = SceneSimulator(clips[split], seen if name == "train" else settings, seed=SPLITS.index(name))
        records[name] = [_record(simulator.plan(number)) for number in range(count)]
        raw[name] = embed_frames((simulator.scene(number).clip.samples[0] for number in range(count)), device)
    for name, split, count in (("quadruples", HELD_OUT, sizes.quadruples), ("pairs", "train", sizes.pairs)):
        if not count:
            continue
        simulator = SceneSimulator(clips[split], settings.model_copy(update=PAIRS), seed=SPLITS.index(name))
        quadruples = _quadruples(simulator, count)
        truths = [SceneTruth.from_facts(truth) for one in quadruples for truth in one.truths]
        raw[name] = _rendered(truths, simulator, device)
        records[name] = [asdict(one) for one in quadruples]
    if sizes.orders:
        simulator = SceneSimulator(clips[HELD_OUT], settings.model_copy(update=TRIPLES), seed=SPLITS.index("orders"))
        truths = [with_order(truth, order) for truth in _separate(simulator, sizes.orders) for order in ORDERS]
        raw["orders"] = _rendered(truths, simulator, device)
        records["orders"] = [{"truth": truth.to_facts()} for truth in truths]
    return reduced(raw, sizes.width) | {"records": np.frombuffer(json.dumps(records).encode(), np.uint8)}


def _rendered(truths: Iterable[SceneTruth], simulator: SceneSimulator, device: str) -> NDArray[Any]:
    return embed_frames((render(truth, simulator.bank, ())[0].samples[0] for truth in truths), device)


def _separate(simulator: SceneSimulator, count: int) -> list[SceneTruth]:
    """Return the first `count` scenes of three events; where too little room was left, a scene has fewer."""
    chosen: list[SceneTruth] = []
    number = 0
    while len(chosen) < count:
        truth = simulator.plan(number).truth
        chosen += [truth] if len(truth.events) == len(ORDERS[0]) else []
        number += 1
    return chosen


def _names(clips: Sequence[LabelledClip], classes: Sequence[str]) -> dict[str, str]:
    """Return the most frequent phrase of each class, without phrases that state order, number or loudness."""
    counts: dict[str, Counter[str]] = {label: Counter() for label in classes}
    for clip in clips:
        counts[clip.label].update(clean_phrases(clip.phrases, clip.label))
    return {label: min(count, key=lambda phrase: (-count[phrase], phrase)) for label, count in counts.items()}


def _record(plan: ScenePlan) -> dict[str, Any]:
    captions = plan.captions
    negatives = [[kind, one.text] for one in captions.negatives for kind in kinds_of(one)]
    return {
        "captions": [captions.caption, *captions.paraphrases], "negatives": negatives, "truth": plan.truth.to_facts()
    }  # fmt: skip


def _quadruples(simulator: SceneSimulator, count: int) -> list[Quadruple]:
    """Return `count` quadruples of each kind, each of another scene."""
    chosen: list[Quadruple] = []
    for part, kind in enumerate(KINDS):
        number = part
        while sum(one.kind == kind for one in chosen) < count:
            rng = generator(simulator.seed, ITEM, number)
            one = quadruple_of(kind, simulator.plan(number).truth, simulator.config, rng)
            chosen += [one] if one else []
            number += len(KINDS)
    return chosen


@torch.inference_mode()
def embed_frames(waves: Iterable[FloatArray], device: str) -> NDArray[Any]:
    """Return the features of YAMNet around the middle of each frame and the level of the frame in dB, (N, T, 1025)."""
    tagger: Any = aural.load("yamnet", engine="torch", device=device)
    branch = tagger.network.network
    branch.encoder.config = branch.encoder.config.model_copy(update={"hop_frames": round(HOP_S * 100)})
    hop, reach = round(HOP_S * RATE_HZ), round(tagger.config.window_s * RATE_HZ)
    rows = []
    waves = iter(waves)
    while batch := list(islice(waves, BATCH)):
        wave = torch.from_numpy(np.stack(batch)).to(device)
        padded = torch.nn.functional.pad(wave, ((reach - hop) // 2,) * 2)
        tokens = branch.encoder(branch.front_end(padded)).tokens  # (B, T, 1024)
        level_db = 10 * (wave.unflatten(1, (FRAMES, hop)).square().mean(2) + 1e-8).log10()
        rows.append(torch.cat([tokens, level_db[..., None]], dim=2).half().cpu().numpy())
    return np.concatenate(rows)


def reduced(raw: Mapping[str, NDArray[Any]], width: int) -> dict[str, NDArray[Any]]:
    """Rotate features (N, T, 1024) onto their first principal axes on the training scenes; scale them and the level.

    The mean square of a column of the features is 1 on average, that of the level is 1.
    """
    train = torch.from_numpy(raw["train"][..., :-1]).flatten(0, 1).double()
    mean, level = train.mean(0), torch.from_numpy(raw["train"][..., -1]).double()
    axes = torch.linalg.eigh((train - mean).T @ (train - mean)).eigenvectors.flip(1)[:, :width]
    scale = ((train - mean) @ axes).square().mean().sqrt()
    result = {}
    for name, values in raw.items():
        features = (torch.from_numpy(values[..., :-1]).double() - mean) @ axes / scale
        levels = (torch.from_numpy(values[..., -1:]).double() - level.mean()) / level.std()
        result[name] = torch.cat([features, levels], dim=2).half().numpy()
    return result
