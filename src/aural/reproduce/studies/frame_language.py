"""Tune a pair of towers so that its frames match prompts, for names that were never trained (FLAM, arXiv 2505.05335).

The text tower is a head over the vectors of frozen MiniLM; a caption is the list of a scene's sounds, and its vector
the mean over their phrases. The training scenes lack every fourth class, name and sounds. All arms are tuned from the
same base (InfoNCE) with the same scenes:

    base        not tuned
    global      InfoNCE only
    contrast    InfoNCE and `frame_contrast`: one learned bias for all prompts
    adjusted    InfoNCE and `frame_adjusted`: the bias is the prior of the prompt, predicted from its vector
    windows     "adjusted", its clip embedding on sliding windows of 0.96 s instead of its frames
    base-windows, global-windows, contrast-windows    the same for these checkpoints
    unrelated   "adjusted", scored against the labels of another scene

Tasks, on scenes of held-out clips:
    trained     frame AUROC per class of the training scenes (one item per class)
    unseen      frame AUROC per class that no training scene holds
    ece         expected calibration error of the frame probabilities, per trained class, 15 bins
    ece-shift   the same where every class is equally common: active and inactive frames of a class are weighted so; the
                prior of "adjusted" is replaced by the common one, the bias of "contrast" cannot follow
    R@1, R@10   text-to-audio retrieval of scenes of trained classes, the list of sounds as query

Legend: B scenes, T frames, C classes, E joint dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from aural.evaluate.metrics.calibration import calibration_error
from aural.evaluate.metrics.labels import auroc
from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.nn.functional import unit
from aural.nn.projection import projection
from aural.objectives import FrameAdjusted, FrameContrast, InfoNCE
from aural.reproduce.scene_world import FRAMES, Scenes, SceneWorld, Sizes, load_scenes
from aural.reproduce.studies.phrases import Phrases, load_phrases
from aural.reproduce.studies.scene_pair import AudioHead, Captioned, Loss, Training, batch_frames, fit, smaller
from aural.reproduce.study import Scores, StudyContext

WINDOW: Final = 3
"""Frames of a sliding window."""


class FramePair(nn.Module):
    """A pair of towers with a clip embedding, frame embeddings, and a bias per phrase."""

    def __init__(self, columns: int, phrases: Phrases, seed: int, embed_dim: int = 128) -> None:
        super().__init__()
        torch.manual_seed(seed)
        width = phrases.vectors.shape[1]
        self.audio = AudioHead(columns)
        self.clip = projection("mlp", 128, embed_dim)
        self.frame = projection("mlp", 128, embed_dim)
        self.text = projection("mlp", width, embed_dim)
        self.prior = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 1))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.frame_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.frame_bias = nn.Parameter(torch.tensor(-5.0))
        self.vectors = phrases.vectors

    @property
    def scale(self) -> Tensor:
        return self.logit_scale.clamp(max=math.log(100.0)).exp()

    def embed_audio(self, frames: Tensor) -> Tensor:
        """Return unit rows (B, E) of scenes (B, T, D)."""
        return unit(self.clip(self.audio(frames).mean(1)))

    def embed_frames(self, frames: Tensor) -> Tensor:
        """Return unit rows (B, T, E)."""
        return unit(self.frame(self.audio(frames)))

    def embed_phrases(self, numbers: Sequence[int]) -> Tensor:
        """Return unit rows (M, E) of phrases."""
        return unit(self.text(self.vectors[torch.tensor(numbers, device=self.vectors.device)]))

    def embed_lists(self, lists: Sequence[Sequence[int]]) -> Tensor:
        """Return unit rows (B, E) of lists of phrases: their mean."""
        rows = self.embed_phrases([number for one in lists for number in one])
        owner = torch.tensor([n for n, one in enumerate(lists) for _ in one], device=rows.device)
        return unit(rows.new_zeros(len(lists), rows.shape[1]).index_add(0, owner, rows))

    def class_bias(self, numbers: Sequence[int]) -> Tensor:
        """Return the logit of the share of frames (M,) in which each phrase is true, as predicted from its vector."""
        bias: Tensor = self.prior(self.vectors[torch.tensor(numbers, device=self.vectors.device)])[:, 0]
        return bias


def run(
    context: StudyContext,
    *,
    base: Mapping[str, Any],
    tune: Mapping[str, Any],
    weight: float,
    sizes: Mapping[str, Any] | None = None,
) -> Scores:
    """Return arm -> task -> scores. base, tune: fields of `Training`; weight: of the frame loss."""
    return scores_of(*trained(context, base, tune, weight, sizes))


def trained(
    context: StudyContext,
    base: Mapping[str, Any],
    tune: Mapping[str, Any],
    weight: float,
    sizes: Mapping[str, Any] | None,
    arms: Sequence[str] = ("global", "contrast", "adjusted"),
) -> tuple[dict[str, FramePair], SceneWorld, Phrases]:
    """Return "base" and the tuned pairs of towers of some arms, the scenes and the phrases."""
    seed = context.seed
    first, second = (smaller(Training(**values), context) for values in (base, tune))
    world = load_scenes(context, Sizes(**(sizes or {})))
    phrases = load_phrases(context)
    prompts = phrases.of(world.names[label] for label in world.seen)
    train = Captioned(world.train, [phrases.of(one) for one in heard(world.train)], [])
    labels = world.train.labels(world.seen)

    def frame_loss(objective: FrameContrast | FrameAdjusted) -> Loss:
        share = labels.mean((0, 1))

        def loss(pair: FramePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
            frames = batch_frames(train, numbers, second.frame_dropout, rng)
            given = global_given(pair, frames, [train.captions[i] for i in numbers])
            total = InfoNCE()(given)["loss"]
            bias = pair.class_bias(prompts)
            given |= {"frame_emb": pair.embed_frames(frames), "class_emb": pair.embed_phrases(prompts)}
            given |= {"frame_labels": labels[torch.tensor(numbers, device=labels.device)]}
            given |= {"logit_scale": pair.frame_scale.exp(), "logit_bias": pair.frame_bias, "class_bias": bias.detach()}
            prior = (softplus(bias) - share * bias).mean()  # binary cross-entropy with the share of active frames
            return total + weight * (objective(given)["loss"] + prior)

        return loss

    def plain(pair: FramePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        frames = batch_frames(train, numbers, second.frame_dropout, rng)
        return InfoNCE()(global_given(pair, frames, [train.captions[i] for i in numbers]))["loss"]

    start = FramePair(world.train.frames.shape[2], phrases, seed).to(world.train.frames.device)
    fit(start, len(train), plain, first, seed)
    losses = {"global": plain, "contrast": frame_loss(FrameContrast()), "adjusted": frame_loss(FrameAdjusted())}
    pairs = {"base": start}
    for arm in arms:
        pairs[arm] = deepcopy(start)
        fit(pairs[arm], len(train), losses[arm], second, seed + 1000)
    return pairs, world, phrases


def heard(scenes: Scenes) -> list[list[str]]:
    """Return what the events of each scene are called."""
    return [[event["phrases"][0] for event in record["truth"]["events"]] for record in scenes.records]


def global_given(pair: FramePair, frames: Tensor, lists: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    return {"audio_emb": pair.embed_audio(frames), "text_emb": pair.embed_lists(lists), "logit_scale": pair.scale}


def scores_of(pairs: Mapping[str, FramePair], world: SceneWorld, phrases: Phrases) -> Scores:
    """Return the scores of all arms."""
    truth = world.test.labels(world.classes).cpu().numpy()  # (N, T, C)
    seen = np.array([label in world.seen for label in world.classes])
    prompts = phrases.of(world.names[label] for label in world.classes)
    names = [phrases.of(one) for one in heard(world.test)]
    familiar = [n for n, record in enumerate(world.test.records) if set(record["truth"]["classes"]) <= set(world.seen)]
    occurring = seen & truth.any(axis=(0, 1))
    share = float(truth[..., occurring].mean())
    scores: dict[str, dict[str, Any]] = {}
    for arm, pair in pairs.items():
        frames, windows = frame_cosines(pair, world.test.frames, prompts)
        scores[arm] = retrieval(pair, world.test.frames, names, familiar)
        scores["windows" if arm == "adjusted" else f"{arm}-windows"] = split(windows, truth, seen)
        if arm in ("contrast", "adjusted"):
            bias = pair.class_bias(prompts).detach() if arm == "adjusted" else pair.frame_bias.detach()
            cosines = frames * float(pair.frame_scale.detach().exp())
            logits = cosines + bias.double().cpu().numpy()
            common = cosines + np.log(share / (1 - share)) if arm == "adjusted" else logits
            scores[arm] |= split(frames, truth, seen) | {"ece": class_errors(logits, truth, None)[occurring]}
            scores[arm] |= {"ece-shift": class_errors(common, truth, share)[occurring]}
        if arm == "adjusted":
            scores["unrelated"] = split(np.roll(frames, 1, axis=0), truth, seen)
    return scores


def split(values: NDArray[Any], truth: NDArray[Any], seen: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """Return the frame AUROC of the trained and of the unseen classes that occur."""
    areas = auroc(truth.reshape(-1, truth.shape[-1]), values.reshape(-1, values.shape[-1]))
    return {name: areas[chosen & ~np.isnan(areas)] for name, chosen in (("trained", seen), ("unseen", ~seen))}


def class_errors(logits: NDArray[Any], truth: NDArray[Any], share: float | None) -> NDArray[np.float64]:
    """Return the expected calibration error of each class. share: of active frames, reached by weights."""
    probability = 1 / (1 + np.exp(-logits.reshape(-1, logits.shape[-1])))
    flat = truth.reshape(-1, truth.shape[-1]).astype(np.float64)
    errors = np.full(flat.shape[1], np.nan)
    for c in np.flatnonzero(flat.any(0)):
        rate = flat[:, c].mean()
        weights = None
        if share is not None:
            weights = np.where(flat[:, c] > 0, share / rate, (1 - share) / (1 - rate))
        errors[c] = calibration_error(probability[:, c], flat[:, c], weights=weights)
    return errors


@torch.no_grad()
def frame_cosines(pair: FramePair, frames: Tensor, prompts: Sequence[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the cosines (N, T, C) of prompts with the frames, and with the clip embedding of a window around each."""
    pair.eval()
    text = pair.embed_phrases(prompts)
    cosines, windows = [], []
    reach = WINDOW // 2
    for part in frames.split(128):
        cosines.append(pair.embed_frames(part) @ text.T)
        padded = torch.cat([part[:, :1].expand(-1, reach, -1), part, part[:, -1:].expand(-1, reach, -1)], dim=1)
        cut = padded.unfold(1, WINDOW, 1).transpose(2, 3).flatten(0, 1)  # (N T, WINDOW, D)
        repeated = cut.repeat(1, math.ceil(FRAMES / WINDOW), 1)[:, :FRAMES]
        windows.append((pair.embed_audio(repeated) @ text.T).view(len(part), -1, len(text)))
    return tuple(torch.cat(one).double().cpu().numpy() for one in (cosines, windows))  # type: ignore[return-value]


@torch.no_grad()
def retrieval(
    pair: FramePair, frames: Tensor, lists: Sequence[Sequence[int]], familiar: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Return R@1 and R@10 of the scenes `familiar` by lists of sounds. Scenes of the same sounds are all correct."""
    audio = torch.cat([pair.embed_audio(part) for part in frames[list(familiar)].split(512)])
    text = pair.embed_lists([lists[n] for n in familiar])
    sets = [frozenset(lists[n]) for n in familiar]
    relevant = np.array([[a == b for b in sets] for a in sets])
    first = retrieval_arrays((text @ audio.T).double().cpu().numpy(), relevant)["first"]
    return {f"R@{k}": (first <= k).astype(np.float64) for k in (1, 10)}
