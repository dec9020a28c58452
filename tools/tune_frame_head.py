"""Train a small head on the frames of a model, which keeps its texts and clips, and report what frames gain.

    python tools/tune_frame_head.py CORPUS FOLDER --model libre-base

A frame v_t becomes unit(v_t + B gelu(A [v_{t-1}, v_t, v_{t+1}])). Loss: `frame_adjusted` against the names of the
training scenes, with the share of active frames of a name as its prior, plus the distance to the frames before. The
report has mean average precision and AUROC per class of segments of 1 s, as in the task scenes-frames, and the 95%
interval of their differences over scenes. FOLDER keeps the frames.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.core.scoring import label_prompts
from aural.evaluate.metrics.labels import auroc, average_precision
from aural.evaluate.runners.frames import overlap, segment_targets
from aural.nn.functional import unit
from aural.objectives import FrameAdjusted
from calibrate_frames import frame_truth
from frame_features import SceneFrames, open_run

BATCH, STEPS, RATE, DECAY, WEIGHT, RESAMPLES = 32, 300, 1e-3, 0.05, 50.0, 100


class FrameHead(nn.Module):
    """A residual on frames (B, W, E) from the frames around each one."""

    def __init__(self, dim: int, rank: int, seed: int, width: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.down = nn.Conv1d(dim, rank, width, padding=width // 2)
        self.up = nn.Conv1d(rank, dim, 1)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.scale = nn.Parameter(torch.tensor(math.log(20.0)))
        self.bias = nn.Parameter(torch.tensor(-8.0))

    def forward(self, frames: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.down(math.sqrt(frames.shape[2]) * frames.transpose(1, 2)))
        return unit(frames + self.up(hidden).transpose(1, 2))


def train(data: SceneFrames, texts: Tensor, seed: int, rank: int, keep: float) -> FrameHead:
    """Return a head that was trained on scenes; `texts` are the vectors of their names."""
    count = min(len(one) for one in data.vectors)
    frames = torch.from_numpy(np.stack([one[:count] for one in data.vectors]))
    truth = [
        frame_truth(times, events, data.tags)[:count] for times, events in zip(data.times_s, data.events, strict=True)
    ]
    labels = torch.from_numpy(np.stack(truth)).float()
    prior = labels.mean((0, 1)).clamp(1e-4, 0.5).logit()
    head, rng, objective = FrameHead(frames.shape[2], rank, seed), np.random.default_rng(seed), FrameAdjusted()
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 20, 0.5 * (1 + math.cos(math.pi * step / STEPS)))
    )
    for _ in range(STEPS):
        chosen = torch.from_numpy(rng.choice(len(frames), BATCH, replace=False))
        kept = torch.from_numpy((rng.random((BATCH, count, 1)) > 0.05).astype(np.float32))
        changed = head(frames[chosen] * kept)
        given = {"frame_emb": changed, "class_emb": texts, "frame_labels": labels[chosen]}
        given |= {"logit_scale": head.scale.exp(), "class_bias": prior + head.bias}
        loss = WEIGHT * objective(given)["loss"] + keep * (1 - (changed * unit(frames[chosen])).sum(-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def segments(data: SceneFrames, vectors: list[NDArray[np.float32]], texts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores (S, K) of segments of one second."""
    return np.concatenate(
        [overlap(times, 1.0) @ rows @ texts.T for rows, times in zip(vectors, data.times_s, strict=True)]
    )


def report(name: str, data: SceneFrames, heads: list[FrameHead], texts: NDArray[np.float32]) -> None:
    """Print both measures before and after, and the interval of their differences."""
    with torch.no_grad():
        changed = [[head(torch.from_numpy(rows)[None])[0].numpy() for rows in data.vectors] for head in heads]
    before, *after = (segments(data, vectors, texts) for vectors in (data.vectors, *changed))
    parts = [segment_targets(events, tuple(data.tags), len(overlap(times, 1.0)), 1.0)
             for events, times in zip(data.events, data.times_s, strict=True)]  # fmt: skip
    truth, owner = np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(one) for one in parts])
    rng, differences = np.random.default_rng(0), []
    for measure in (average_precision, auroc):
        first = float(np.nanmean(measure(truth, before)))
        then = [float(np.nanmean(measure(truth, one))) for one in after]
        print(f"{name} {measure.__name__}: {first:.4f} before, {np.mean(then):.4f} ± {np.std(then):.4f} after")
    for _ in range(RESAMPLES):
        drawn = np.concatenate([np.flatnonzero(owner == i) for i in rng.integers(len(parts), size=len(parts))])
        one = after[int(rng.integers(len(after)))]
        pair = [
            [measure(truth[drawn], scores[drawn]) for scores in (before, one)] for measure in (average_precision, auroc)
        ]
        differences.append([float(np.nanmean(b - a)) for a, b in pair])
    print(f"{name}: 95% of the differences", np.percentile(differences, [2.5, 97.5], axis=0).round(4).T.tolist())


if __name__ == "__main__":
    arguments, model, data = open_run(__doc__ or "", {"rank": 16, "keep": 1.0})
    texts = {part: model.embed_text(label_prompts(one.tags)) for part, one in data.items()}
    names = torch.from_numpy(texts["train"])
    heads = [train(data["train"], names, seed, arguments.rank, arguments.keep) for seed in range(arguments.seeds)]
    for part in ("valid", "test"):
        report(part, data[part], heads, texts[part])
