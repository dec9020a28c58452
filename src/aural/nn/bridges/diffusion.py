"""A diffusion model over vectors that takes the vector of a sound to where the texts are.

Diffusion-Link (row 16): noise is added to the vector of a sound or of a text up to a middle step, and
three residual perceptrons, which know the step, predict the vector of the text. Training pairs both with the same
target. The reverse process is that of DDIM without noise (Song et al. 2020, arXiv 2010.02502, equation 12).

Legend: B vectors, E dimensions, H hidden width; a_t share of the signal's power that is left at step t.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import silu

from aural.core.config import Config
from aural.nn.functional import unit

Size = Annotated[int, Field(ge=1, le=65_536)]


class DiffusionConfig(Config):
    """Sizes of the denoiser. `start`: the step from which sounds are denoised, at most `steps`."""

    dim: Size
    hidden: Size = 512
    blocks: Size = 3
    steps: Size = 100
    start: Size = 40
    reverse: Size = 10


def signal_power(step: Tensor, steps: int) -> Tensor:
    """Return a_t = cos^2(pi t / (2 T)) of steps (B,): 1 at step 0, 0 at step T.

    >>> [round(float(a), 3) for a in signal_power(torch.tensor([0, 50, 100]), 100)]
    [1.0, 0.5, 0.0]
    """
    return (step.double() * (math.pi / 2 / steps)).cos().square().float()


class Block(nn.Module):
    """x + W2 silu(W1 norm(x) + U s), where s encodes the step."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.step = nn.LayerNorm(dim), nn.Linear(hidden, hidden, bias=False)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        return x + self.down(silu(self.up(self.norm(x)) + self.step(step)))


class DiffusionLink(nn.Module):
    """A denoiser of vectors. Vectors are scaled by sqrt(E) inside, so that signal and noise have the same power."""

    frequencies: Tensor

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("frequencies", torch.exp(-torch.linspace(0, 6, config.hidden // 2)), persistent=False)
        self.blocks = nn.ModuleList(Block(config.dim, config.hidden) for _ in range(config.blocks))

    def predict(self, x: Tensor, step: Tensor) -> Tensor:
        """Return the predicted clean vectors (B, E), scaled, of noisy ones (B, E) at steps (B,)."""
        angle = step[:, None].float() * self.frequencies
        encoded = torch.cat([angle.sin(), angle.cos()], dim=1)
        encoded = torch.nn.functional.pad(encoded, (0, self.config.hidden - encoded.shape[1]))
        for block in self.blocks:
            x = block(x, encoded)
        return x

    def loss(self, source: Tensor, text: Tensor, generator: torch.Generator) -> Tensor:
        """Return mean |predicted - text|^2 over vectors `source` (B, E), of sounds or texts, at drawn steps."""
        scale = self.config.dim**0.5
        step = torch.randint(1, self.config.steps, (len(source),), generator=generator, device=generator.device)
        noise = torch.randn(source.shape, generator=generator, device=generator.device).to(source)
        step = step.to(source.device)
        power = signal_power(step, self.config.steps)[:, None]
        noised = power.sqrt() * source * scale + (1 - power).sqrt() * noise
        return (self.predict(noised, step) - text * scale).square().mean()

    @torch.no_grad()
    def forward(self, audio: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return unit rows (B, E) for vectors of sounds (B, E). Without a generator no noise is added at the start."""
        config, scale = self.config, self.config.dim**0.5
        at = torch.linspace(config.start, 0, config.reverse + 1).round().long().tolist()
        power = signal_power(torch.tensor(at), config.steps).to(audio.device)
        x = power[0].sqrt() * audio * scale
        if generator is not None:
            noise = torch.randn(audio.shape, generator=generator, device=generator.device).to(audio)
            x = x + (1 - power[0]).sqrt() * noise
        clean = x
        for k in range(config.reverse):
            clean = self.predict(x, torch.full((len(x),), at[k], device=x.device))
            noise = (x - power[k].sqrt() * clean) / (1 - power[k]).sqrt()
            x = power[k + 1].sqrt() * clean + (1 - power[k + 1]).sqrt() * noise
        return unit(clean)
