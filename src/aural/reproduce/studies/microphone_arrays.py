"""Learn what sounds and where from the channels of a microphone array, without labels (MC-SimCLR).

Claim: a linear layer on features that were learned by contrast of augmented views of multichannel sounds, with swapped
and masked channels, is better than a network trained on the labels, in the class of the event and in its direction.
Paper: MC-SimCLR (arXiv 2309.15938).

Recordings of the corpus, one second each, are played at a drawn direction in a simulated room with an array of four
microphones on a square of 8 cm (pyroomacoustics). Inputs are the log-mels of all channels and the cross-correlations of
all pairs. Rotating the array by 90 degrees permutes the channels, so a drawn permutation of the square gives both views
another direction. Arms:

    supervised   a network trained from random weights on the class and the direction of a tenth of the clips
    simclr       contrast of two views of all clips (masks, gain, masked channels and pairs), then linear layers on the
                 labels of that tenth
    swap         "simclr", with a drawn permutation of the square for both views of a clip
    one-channel  "simclr" with one log-mel and without correlations
    shuffled     control: "swap" with the labels of other clips
    untrained    linear layers on random weights

Tasks, one item per test clip:
    what       1 if the family is right
    where      angle between the predicted and the true direction in degrees, 0 to 180; chance is 90

Legend: N clips, B clips of a batch, C channels, P pairs, L lags, F mel bands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.audio.augment import AugmentConfig
from aural.audio.gcc import channel_pairs, gcc_phat, swap_channels
from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.data.manifest import Manifest, Row, read_manifest
from aural.encoders.vit import TransformerBlock
from aural.nn.functional import unit
from aural.objectives import SupCon
from aural.reproduce.shared import resumed, shared_arrays
from aural.reproduce.studies.scene_pair import SMOKE, Training, fit
from aural.reproduce.studies.small_encoders import inputs, masked
from aural.reproduce.studies.voices import device_of, from_bytes, to_bytes
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import MEL, RATE_HZ, corpus_folder, corpus_wave, log_mel
from aural.train.draw import ITEM, generator

Array: TypeAlias = NDArray[np.float64]
VERSION: Final = 1
CHANNELS: Final = 4
SIDE_M: Final = 0.08
LAGS: Final = 8
BLOCK: Final = 2048
FRAMES: Final = 24
"""Frames of 40 ms of the log-mels."""
BLOCKS: Final = RATE_HZ // BLOCK
SQUARE: Final = ((0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2))
"""Rotations of the square: the channels in another order."""
ROOM_M: Final = (6.0, 5.0, 3.0)
SIZES: Final = {"train": 1000, "test": 300}
LABELED: Final = 0.1
CLASSES: Final = 8
WIDTH: Final = 64
MASKS: Final = AugmentConfig(time_masks=1, time_mask_frames=8, band_masks=1, band_mask_bands=8)
TRAINING: Final = Training(steps=250, batch=96, lr=1e-3)
SUPERVISED: Final = Training(steps=200, batch=64, lr=1e-3)
RIDGE: Final = 10.0
ARMS: Final = ("supervised", "simclr", "swap", "one-channel", "shuffled", "untrained")


@dataclass(frozen=True)
class Heard:
    """Clips of an array with their families and directions."""

    mel: Tensor
    """16-bit log-mels (N, C, frames, F)."""
    gcc: Tensor
    """Cross-correlations (N, blocks, P, L)."""
    family: NDArray[np.int64]
    direction: Array
    """Radians (N,)."""


class ArrayNet(nn.Module):
    """Log-mels of all channels and cross-correlations of all pairs to features (B, 2 * WIDTH)."""

    def __init__(self, seed: int, *, where: bool = True) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.mel = nn.Linear(2 * MEL.n_mels, WIDTH)
        self.channel = nn.Parameter(torch.randn(CHANNELS, 1, WIDTH) * 0.02)
        self.time = nn.Parameter(torch.randn(FRAMES // 2, WIDTH) * 0.02)
        self.block = TransformerBlock(WIDTH, 4, 2.0, 0.0)
        pairs = len(channel_pairs(CHANNELS)) * (2 * LAGS + 1)
        self.gcc = nn.Sequential(nn.Linear(pairs, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.projection = nn.Sequential(nn.Linear(2 * WIDTH, 128), nn.ReLU(), nn.Linear(128, 64))
        self.what, self.where = nn.Linear(2 * WIDTH, CLASSES), nn.Linear(2 * WIDTH, 2)
        self.listens = where

    def forward(self, mel: Tensor, gcc: Tensor) -> Tensor:
        """Return features of log-mels (B, C, frames, F) and correlations (B, blocks, P, L)."""
        steps = self.mel(mel.unflatten(2, (-1, 2)).flatten(3)) + self.channel + self.time  # (B, C, frames / 2, WIDTH)
        tokens = self.block((steps if self.listens else steps[:, :1]).flatten(1, 2))
        what = tokens.mean(1)
        places = self.gcc(gcc.flatten(2)).mean(1)
        return torch.cat([what, places if self.listens else torch.zeros_like(places)], dim=1)


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> scores."""
    train, test = load(context, "train"), load(context, "test")
    rng = np.random.default_rng(context.seed)
    labeled = rng.permutation(len(train.family))[: max(4, round(LABELED * len(train.family)))]
    mixed = rng.permutation(labeled)
    return {arm: resumed(context, arm, partial(score_arm, arm, train, test, labeled, mixed, context)) for arm in ARMS}


def score_arm(
    arm: str, train: Heard, test: Heard, labeled: NDArray[np.int64], mixed: NDArray[np.int64], context: StudyContext
) -> dict[str, Array]:
    """Train an arm and return its scores. labeled: clips with labels; mixed: the same in another order."""
    net = ArrayNet(context.seed, where=arm != "one-channel").to(train.mel.device)
    if arm == "supervised":
        training = SMOKE if context.smoke else SUPERVISED
        fit(net, len(labeled), supervised(train, labeled), training, context.seed)
        with torch.no_grad():
            features = net(*tensors(test))
            family, direction = net.what(features).argmax(1).cpu().numpy(), net.where(features).cpu().numpy()
        return evaluate(family, direction, test)
    if arm != "untrained":
        training = SMOKE if context.smoke else TRAINING
        fit(net, len(train.family), contrast(train, swap=arm in ("swap", "shuffled")), training, context.seed)
    rows = [features_of(net, heard) for heard in (train, test)]
    truth = mixed if arm == "shuffled" else labeled
    return evaluate(*linear(rows[0][labeled], train, truth, rows[1]), test)


def load(context: StudyContext, split: str) -> Heard:
    """Return simulated clips of a split, the same for all seeds."""
    manifest = read_manifest(corpus_folder(context.data, context.out))
    families = [row.family for row in manifest.filter(split="train") if row.family]
    names = sorted(sorted(set(families)), key=families.count, reverse=True)[:CLASSES]
    rows = [row for row in manifest.filter(split=split) if row.family in names]
    if len(rows) < 2:
        raise DataError(f"{manifest.folder}: {len(rows)} clips with families in split {split}; the study needs some")
    count = 12 if context.smoke else SIZES[split]
    drawn = generator(17, ITEM, sorted(SIZES).index(split))
    chosen = [rows[int(drawn.integers(len(rows)))] for _ in range(count)]
    direction = drawn.uniform(-np.pi, np.pi, count)

    def compute() -> dict[str, NDArray[Any]]:
        play = played_dry if context.smoke else played
        clips = [
            play(sound_of(manifest, row), angle, generator(17, ITEM, n, 1))
            for n, (row, angle) in enumerate(zip(chosen, direction, strict=True))
        ]
        mel = np.stack([[to_bytes(log_mel(one))[1 : 2 * FRAMES + 1 : 2] for one in clip] for clip in clips])
        gcc = np.stack([gcc_phat(clip, lags=LAGS, block=BLOCK) for clip in clips])
        return {"mel": mel, "gcc": np.rint(127 * np.clip(gcc, -1, 1)).astype(np.int8)}

    key = repr((VERSION, MEL, SIDE_M, LAGS, BLOCK, ROOM_M, [(row.path, row.sha256) for row in chosen], len(names)))
    stored = shared_arrays(context, f"array-{split}", key, compute)
    device = device_of(context)
    return Heard(
        torch.from_numpy(from_bytes(stored["mel"])).to(device),
        torch.from_numpy(stored["gcc"].astype(np.float32) / 127).to(device),
        np.array([names.index(row.family) for row in chosen]),
        direction,
    )


def sound_of(manifest: Manifest, row: Row) -> FloatArray:
    """Return the first second of a clip at full scale; shorter ones are repeated."""
    wave = np.resize(corpus_wave(manifest, row), RATE_HZ)
    return np.asarray(wave / max(float(np.abs(wave).max()), 1e-6), np.float32)


def microphones(center: Sequence[float]) -> Array:
    """Return the positions (3, C) of the square around a center, in order of their angle from 45 degrees on."""
    angle = np.pi / 4 + np.pi / 2 * np.arange(CHANNELS)
    offset = SIDE_M / np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle), np.zeros(CHANNELS)])
    return np.asarray(center)[:, None] + offset


def played(wave: FloatArray, direction: float, rng: np.random.Generator) -> FloatArray:
    """Return a sound (T,) from a direction in a room as the array receives it (C, T), with some noise."""
    import pyroomacoustics as room_of

    center = [float(rng.uniform(2, 4)), float(rng.uniform(2, 3)), 1.4]
    absorption = float(rng.uniform(0.25, 0.6))
    room = room_of.ShoeBox(ROOM_M, fs=RATE_HZ, materials=room_of.Material(absorption), max_order=6)
    distance = float(rng.uniform(1.0, 1.7))
    source = [center[0] + distance * np.cos(direction), center[1] + distance * np.sin(direction), 1.4]
    room.add_source(source, signal=wave)
    room.add_microphone_array(microphones(center))
    room.simulate()
    return noisy(room.mic_array.signals[:, :RATE_HZ], rng)


def played_dry(wave: FloatArray, direction: float, rng: np.random.Generator) -> FloatArray:
    """Return a sound with the delays of a far source to whole samples: a stand-in for smoke tests."""
    toward = np.array([np.cos(direction), np.sin(direction), 0.0])
    delay = np.rint(-toward @ microphones((0, 0, 0)) / 343.0 * RATE_HZ).astype(int)
    return noisy(np.stack([np.roll(wave, n) for n in delay]), rng)


def noisy(samples: NDArray[Any], rng: np.random.Generator) -> FloatArray:
    """Return channels (C, T) at a peak of 0.5 with independent noise 40 dB below the peak."""
    scaled = 0.5 * samples / max(float(np.abs(samples).max()), 1e-9)
    return np.asarray(scaled + 0.005 * rng.standard_normal(samples.shape), np.float32)


def tensors(heard: Heard) -> tuple[Tensor, Tensor]:
    """Return the inputs of the network."""
    return inputs(heard.mel), heard.gcc


@torch.no_grad()
def features_of(net: ArrayNet, heard: Heard) -> Array:
    """Return the features (N, D)."""
    net.eval()
    return net(*tensors(heard)).double().cpu().numpy()


def view(mel: Tensor, gcc: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return a view: masks and a gain of the log-mels, and at times a masked channel and a masked pair."""
    count = len(mel)
    flat = masked(mel.flatten(0, 1), rng, MASKS).view_as(mel)
    gain = torch.from_numpy(rng.uniform(-0.3, 0.3, (count, 1, 1, 1))).float().to(mel.device)
    channels = torch.from_numpy(np.arange(CHANNELS) != rng.integers(0, 2 * CHANNELS, (count, 1)))
    pairs = torch.from_numpy(np.arange(gcc.shape[2]) != rng.integers(0, 2 * gcc.shape[2], (count, 1)))
    kept = channels.to(mel.device)[:, :, None, None]
    return (flat + gain) * kept, gcc * pairs.to(mel.device)[:, None, :, None]


def contrast(train: Heard, *, swap: bool) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return NT-Xent of two views of each clip; swap: both views of a clip with the same drawn order of channels."""
    objective = SupCon()
    gcc = train.gcc.cpu().numpy()
    turned = [torch.from_numpy(swap_channels(gcc, order).copy()).to(train.mel.device) for order in SQUARE]

    def loss(net: ArrayNet, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        orders = rng.integers(0, len(SQUARE), len(numbers)) if swap else np.zeros(len(numbers), int)
        mel = inputs(train.mel[list(numbers)])
        mel = torch.stack([one[list(SQUARE[o])] for one, o in zip(mel, orders, strict=True)])
        given = torch.stack([turned[o][n] for n, o in zip(numbers, orders, strict=True)])
        emb = [unit(net.projection(net(*view(mel, given, rng)))) for _ in range(2)]
        group = torch.arange(len(numbers), device=mel.device).repeat(2)
        scale = mel.new_tensor(10.0)
        return objective({"audio_emb": torch.cat(emb), "audio_group": group, "logit_scale": scale})["loss"]

    return loss


def supervised(train: Heard, labeled: NDArray[np.int64]) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return cross-entropy of the family and the squared error of the unit vector of the direction."""
    family = torch.from_numpy(train.family).to(train.mel.device)
    aim = torch.from_numpy(unit_vectors(train.direction)).float().to(train.mel.device)

    def loss(net: ArrayNet, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        chosen = labeled[list(numbers)]
        features = net(*view(inputs(train.mel[chosen]), train.gcc[chosen], rng))
        what = nn.functional.cross_entropy(net.what(features), family[chosen])
        return what + 2 * (net.where(features) - aim[chosen]).square().sum(1).mean()

    return loss


def unit_vectors(direction: Array) -> Array:
    """Return (N, 2) of angles (N,)."""
    return np.stack([np.cos(direction), np.sin(direction)], axis=1)


def linear(rows: Array, train: Heard, truth: NDArray[np.int64], test: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the families (N,) and directions (N, 2) that ridge regression on features gives."""
    center, spread = rows.mean(0), rows.std(0) + 1e-6
    left, right = (np.column_stack([(part - center) / spread, np.ones(len(part))]) for part in (rows, test))
    targets = np.column_stack([np.eye(CLASSES)[train.family[truth]], unit_vectors(train.direction[truth])])
    weights = np.linalg.solve(left.T @ left + RIDGE * np.eye(left.shape[1]), left.T @ targets)
    predicted = right @ weights
    return predicted[:, :CLASSES].argmax(1), predicted[:, CLASSES:]


def evaluate(family: NDArray[Any], direction: Array, test: Heard) -> dict[str, Array]:
    """Return the scores of both tasks."""
    angle = np.arctan2(direction[:, 1], direction[:, 0]) - test.direction
    error = np.degrees(np.abs((angle + np.pi) % (2 * np.pi) - np.pi))
    return {"what": (family == test.family).astype(np.float64), "where": error}
