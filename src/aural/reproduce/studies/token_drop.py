"""Drop tokens of the spectrogram in training, match several masked views, reconstruct, and add captions (FLAP).

Claim: with half of the tokens dropped, training is at least 1.5 times as fast at the same retrieval; several masked
views, reconstruction and additional captions improve it. Paper: FLAP (arXiv 2311.01615).

Recordings of the corpus with captions of a grammar. Arms:

    full         all tokens; the shortest caption of each clip
    drop         half of the tokens, drawn per clip and step
    views        two drawn halves of the tokens, each matched with the caption
    reconstruct  "views", and the values of the dropped patches are reconstructed
    text         "full" with all captions of a clip, one drawn per step
    flap         "reconstruct" with all captions
    shuffled     control: "flap" with the captions of other clips

Tasks of `frozen_text`, on all tokens, and
    speed      clips per second of a training step of the arm over that of "full", at the sizes of AST

Legend: N clips, B clips of a batch, P patches, V visible patches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from aural.encoders.masked_duo import PatchPredictor, patch_values
from aural.encoders.vit import Vit, VitConfig
from aural.reproduce.studies.clip_pair import (
    FRAMES,
    ClipPair,
    batch_mel,
    batch_texts,
    drawn_patches,
    load,
    scores_of,
    smaller,
)
from aural.reproduce.studies.frozen_text import Data
from aural.reproduce.studies.scene_pair import Training, fit
from aural.reproduce.study import Scores, StudyContext

TRAINING: Final = Training(steps=500, batch=128, lr=1e-3)
SHARE: Final = 0.5
"""Of the tokens that are kept."""
RESTORE: Final = 0.1
"""Weight of the reconstruction."""
ARMS: Final = ("full", "drop", "views", "reconstruct", "text", "flap", "shuffled")
TIMED: Final = VitConfig(n_mels=128, dim=768, depth=6, heads=12, drop_path=0.0, max_frames=1024)
"""The encoder whose training steps are timed: half of the layers of AST, 512 patches."""
TIMED_SMOKE: Final = VitConfig(n_mels=32, dim=16, depth=1, heads=2, drop_path=0.0, max_frames=64)
TIMED_STEPS: Final = 6


class RestoringPair(nn.Module):
    """A pair of towers with a decoder of dropped patches."""

    def __init__(self, vectors: Tensor, seed: int) -> None:
        super().__init__()
        self.pair = ClipPair(vectors, seed)
        c = self.pair.encoder.config
        self.patches = int(np.prod(self.pair.encoder.grid(FRAMES)))
        self.decoder = PatchPredictor(self.patches, c.dim, c.patch_frames * c.patch_mels).to(vectors.device)


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> scores."""
    data, vectors = load(context)
    order = np.random.default_rng(context.seed).permutation(len(data.train.rows))
    shortest = [of_clip[:1] for of_clip in data.train.captions]
    speed = speeds(context, data.device)
    scores: dict[str, dict[str, Any]] = {}
    for arm in ARMS:
        captions = data.train.captions if arm in ("text", "flap", "shuffled") else shortest
        if arm == "shuffled":
            captions = [captions[i] for i in order]
        given = replace(data, train=replace(data.train, captions=captions))
        model = RestoringPair(vectors, context.seed)
        fit(model, len(order), loss_of(arm, given), smaller(TRAINING, context), context.seed)
        scores[arm] = dict(scores_of(model.eval().pair, data))
        if arm in speed:
            scores[arm]["speed"] = speed[arm] / speed["full"]
    return scores


def loss_of(arm: str, data: Data) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the loss of an arm."""
    views = {"full": 0, "text": 0, "drop": 1}.get(arm, 2)
    restore = arm in ("reconstruct", "flap", "shuffled")

    def loss(model: RestoringPair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        pair = model.pair
        mel, text = batch_mel(data, numbers, rng), pair.embed_texts(batch_texts(data, numbers, rng))
        if not views:
            return pair.matched(pair.embed_mel(mel), text)
        losses = []
        for _ in range(views):
            drawn = drawn_patches(len(numbers), model.patches, SHARE, rng)
            visible, dropped = (part.to(mel.device) for part in drawn)
            tokens = pair.encoder.encode_visible(mel, visible)[:, 1:]
            one = pair.matched(nn.functional.normalize(pair.projection(tokens.mean(1)), dim=1), text)
            if restore:
                truth = patch_values(mel, pair.encoder)
                truth = truth.gather(1, dropped[..., None].expand(-1, -1, truth.shape[2]))
                one = one + RESTORE * (model.decoder(tokens, visible, dropped) - truth).square().mean()
            losses.append(one)
        return torch.stack(losses).mean()

    return loss


def speeds(context: StudyContext, device: torch.device) -> dict[str, float]:
    """Return clips per second of a training step of the encoder with all and with half of the tokens.

    Both are timed in turn, and the medians of the steps count. bfloat16 on a GPU.
    """
    config, batch = (TIMED, 64) if device.type == "cuda" else (TIMED_SMOKE, 8)
    torch.manual_seed(0)
    encoder = Vit(config).to(device)
    patches = int(np.prod(encoder.grid(config.max_frames)))
    mel = torch.randn(batch, config.max_frames, config.n_mels, device=device)
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {"full": [], "drop": []}
    for step in range(2 if context.smoke else TIMED_STEPS):
        for arm, measured in seconds.items():
            visible = drawn_patches(batch, patches, SHARE, rng)[0].to(device)
            began = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                features = encoder(mel).pooled if arm == "full" else encoder.encode_visible(mel, visible)
                features.square().mean().backward()  # type: ignore[no-untyped-call]
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if step:  # the first step also starts kernels
                measured.append(time.perf_counter() - began)
    return {arm: batch / float(np.median(of)) for arm, of in seconds.items()}
