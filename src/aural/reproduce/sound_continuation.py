"""Continue sounds by drawing tokens, and ask whether the continuation is nearer to the real one than to another's.

Legend: N clips, S samples, T tokens, F bands.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from aural.audio.cochlea import Cochleagram
from aural.core.errors import ConfigError
from aural.reproduce.sound_scores import SOUND_SCORES, Lab, Values, numbers
from aural.train.selfsupervised.autoregressive import NextToken
from aural.train.systems.self_supervised import SelfSupervised

PROMPT: Final = 25
"""Tokens that are heard."""
NEW: Final = 12
"""Tokens that are drawn."""
DRAWS: Final = 4
HOP: Final = 160


@torch.no_grad()
def continued(model: SelfSupervised, waves: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return frames (N, count stride, F) that are drawn after waves (N, S), and mean and deviation of the given frames.

    The model predicts its discrete inputs, which are centers of cochleagram frames; drawn frames are those centers.
    Random choices come from torch's current generator.

    Raises:
        ConfigError: the model has other inputs.
    """
    head = next((pretext for pretext in model.pretexts if isinstance(pretext, NextToken)), None)
    if head is None or model.inputs is None or model.tokenizer is None or not isinstance(model.front, Cochleagram):
        raise ConfigError('only a model with "discrete", a cochleagram and the task "next-token" can continue sounds')
    step = model.step({"wave": waves})
    ids, frames = step.tokens, step.frames
    for _ in range(count):
        state = model.encoder.context(model.inputs(ids))[-1][:, -1:]
        drawn = torch.multinomial(head.logits(state)[:, 0, 0].softmax(-1), 1)
        ids = torch.cat([ids, drawn[:, None]], 1)
    mean, spread = frames.mean(1, keepdim=True), frames.std(1, keepdim=True) + 1e-3
    centers = model.tokenizer.parts[0].centers[0]  # type: ignore[union-attr, index]
    new = centers[ids[:, -count:, 0]].unflatten(-1, (model.encoder.config.stride, -1)).flatten(1, 2)
    return new * spread + mean, mean, spread


@SOUND_SCORES.register("continuation")
def continuation(lab: Lab) -> Values:
    """Return for each test clip 1 if its continuation is nearer to the clip's real one than to the next clip's, else 0.

    Continuations are decoded to waveforms, and the cochleagrams of these are compared: the mean absolute difference of
    frames, normalized by the mean and deviation of each clip's prompt, and averaged over several draws.
    """
    waves = lab.waves("es", "test", len(lab.store("es", "test")))
    front, stride = lab.model.front, lab.model.encoder.config.stride
    assert isinstance(front, Cochleagram)
    prompt, stop = PROMPT * stride * HOP, (PROMPT + NEW) * stride * HOP
    true_total = other_total = torch.zeros(len(waves), device=lab.device)
    with torch.random.fork_rng():
        torch.manual_seed(lab.context.seed)
        for _ in range(DRAWS):
            frames, mean, spread = continued(lab.model, waves[:, :prompt], NEW)
            heard = (front(front.waveform(frames)) - mean) / spread
            real = (front(waves[:, :stop])[:, PROMPT * stride :] - mean) / spread
            true_total = true_total + (heard - real).abs().mean((1, 2))
            other_total = other_total + (heard - real.roll(-1, 0)).abs().mean((1, 2))
    return np.asarray(numbers((true_total < other_total).double()))
