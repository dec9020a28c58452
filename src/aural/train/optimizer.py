"""Parameter groups with layer-wise rates, the learning-rate schedule, and the average of the weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aural.core.errors import ConfigError, near_miss
from aural.train.config import OptimizerConfig, ScheduleConfig
from aural.train.system import System

# How encoders number their layers; parameters before the first layer belong to it.
LAYER = re.compile(r"\.(?:layers\.\d+\.blocks|blocks|h|encoder\.layer)\.\d+\.|\.conv_block\d+\.")
NOT_DECAYED = ("bias_table", "logit_scale", "logit_bias", "embeddings", "wte", "wpe", "position")


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Return trainable parameters grouped by rate and decay; "scale" is the group's multiple of the rate."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    scales = rate_scales([name for name, _ in named], prefixes_of(model), config)
    groups: dict[tuple[float, float, bool], list[Tensor]] = {}  # scalars in their own groups: FSDP2 does not split them
    for name, parameter in named:
        plain = parameter.ndim < 2 or any(part in name for part in NOT_DECAYED)
        groups.setdefault((scales[name], 0.0 if plain else config.weight_decay, parameter.ndim == 0), []).append(
            parameter
        )
    return [
        {"params": tensors, "scale": scale, "weight_decay": decay, "lr": config.lr * scale}
        for (scale, decay, _), tensors in groups.items()
    ]


def prefixes_of(model: nn.Module) -> dict[str, str]:
    """Return for each part of a system (see `System.parts`) the prefix of its parameters' names."""
    parts = model.parts() if isinstance(model, System) else {}
    names = {module: name for name, module in model.named_modules()}
    return {part: f"{names[module]}." for part, module in parts.items()}


def rate_scales(names: Iterable[str], prefixes: Mapping[str, str], config: OptimizerConfig) -> dict[str, float]:
    """Return each parameter's multiple of the rate: its part's, times layer_decay for every layer above it."""
    names = list(names)
    factors = {"audio": config.audio_lr, "text": config.text_lr, **config.lr_scale}
    unknown = sorted(set(config.lr_scale) - set(prefixes))
    if unknown:
        hint = near_miss(unknown[0], prefixes)
        raise ConfigError(f'optimizer.lr_scale: the system has no part "{unknown[0]}"; {hint}')
    scales = dict.fromkeys(names, 1.0)
    for part, prefix in prefixes.items():
        factor = factors.get(part, 1.0)
        inside = [name for name in names if name.startswith(prefix)]
        layers: dict[str, int] = {}
        for name in inside:
            if match := LAYER.search(name):
                layers.setdefault(name[: match.end()], len(layers))
        depth = 0
        for name in inside:  # a parameter between or behind layers belongs to the layer before it
            if match := LAYER.search(name):
                depth = layers[name[: match.end()]]
            scales[name] = factor * config.layer_decay ** max(0, len(layers) - 1 - depth)
    return scales


def build_optimizer(model: nn.Module, config: OptimizerConfig, device: torch.device) -> torch.optim.Optimizer:
    """Construct Adam or AdamW, fused into one kernel on CUDA."""
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    groups = parameter_groups(model, config)
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=device.type == "cuda" or None)


class Schedule:
    """The learning rate of each step. "plateau" needs the losses (`observe`) and has a state."""

    def __init__(self, config: ScheduleConfig, lr: float, steps: int, steps_per_epoch: int) -> None:
        self.config, self.lr, self.steps, self.steps_per_epoch = config, lr, steps, max(1, steps_per_epoch)
        self.scale, self.best, self.waited = 1.0, math.inf, 0
        self.total, self.count = 0.0, 0

    def rate(self, step: int) -> float:
        """Return the learning rate of step 0, 1, ..."""
        c = self.config
        if step < c.warmup:
            return self.lr * (step + 1) / c.warmup
        if c.name == "cosine":
            done = (step - c.warmup) / max(1, self.steps - c.warmup)
            return self.lr * (c.floor + (1 - c.floor) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
        return self.lr * self.scale

    def apply(self, optimizer: torch.optim.Optimizer, step: int) -> float:
        """Set the optimizer's rates for a step; return the base rate."""
        rate = self.rate(step)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        return rate

    def observe(self, loss: float) -> None:
        """Record a step's loss; at the end of an epoch apply the plateau rule."""
        self.total, self.count = self.total + loss, self.count + 1
        if self.config.name != "plateau" or self.count < self.steps_per_epoch:
            return
        mean, self.total, self.count = self.total / self.count, 0.0, 0
        self.waited = 0 if mean < self.best else self.waited + 1
        self.best = min(self.best, mean)
        if self.waited >= self.config.patience:
            self.scale, self.waited = self.scale * self.config.factor, 0

    def state_dict(self) -> dict[str, float]:
        return {k: getattr(self, k) for k in ("scale", "best", "waited", "total", "count")}

    def load_state_dict(self, state: dict[str, float]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


class Averaged:
    """An exponential average of the parameters, and a copy of the buffers.

    The decay of update n is at most (1 + n) / (10 + n), so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.model = decay, model
        self.tensors = {name: t.detach().clone() for name, t in model.state_dict().items()}
        self.learned = [name for name, _ in model.named_parameters(remove_duplicate=False)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after step 0, 1, ..."""
        now = self.model.state_dict()
        decay = min(self.decay, (1 + step) / (10 + step))
        average = [self.tensors[name] for name in self.learned]
        torch._foreach_lerp_(average, [now[name] for name in self.learned], 1 - decay)
        for name in now.keys() - self.learned:
            self.tensors[name].copy_(now[name])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's values and the average; a second call undoes it."""
        for name, tensor in self.model.state_dict().items():
            held = tensor.clone()
            tensor.copy_(self.tensors[name])
            self.tensors[name].copy_(held)
