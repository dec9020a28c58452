"""Write texts with the search that a config names."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.generate.search import Limits, Written, beam, contrastive, greedy, nucleus
from aural.nn.causal import CausalDecoder


class SearchConfig(Config):
    """The search that writes texts, and its options. Options of other searches are ignored."""

    search: Literal["greedy", "beam", "nucleus", "contrastive"] = "beam"
    width: Annotated[int, Field(ge=1, le=64)] = 5
    """Texts that a beam keeps, or that nucleus search draws."""
    max_tokens: Annotated[int, Field(ge=1, le=512)] = 67
    temperature: Annotated[float, Field(gt=0, le=100)] = 1.0
    p: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The probability of the set of tokens that nucleus search draws from."""
    k: Annotated[int, Field(ge=1, le=64)] = 4
    """The tokens that contrastive search compares."""
    penalty: Annotated[float, Field(ge=0, le=1)] = 0.6
    """The weight of likeness to what was written before, in contrastive search."""
    seed: int = 0

    def limits(self, stop_ids: tuple[int, ...]) -> Limits:
        """Return when a text ends."""
        return Limits(max_tokens=self.max_tokens, stop_ids=stop_ids, temperature=self.temperature)


def write(
    decoder: CausalDecoder,
    prefix: Tensor,
    config: SearchConfig,
    *,
    stop_ids: tuple[int, ...],
    mask: Tensor | None = None,
) -> list[list[Written]]:
    """Return the texts of each prefix (B, P, D), the best first."""
    limits = config.limits(stop_ids)
    if config.search == "greedy":
        return greedy(decoder, prefix, limits, mask=mask)
    if config.search == "beam":
        return beam(decoder, prefix, limits, width=config.width, mask=mask)
    if config.search == "contrastive":
        return contrastive(decoder, prefix, limits, k=config.k, penalty=config.penalty, mask=mask)
    generator = torch.Generator().manual_seed(config.seed)
    return nucleus(decoder, prefix, limits, generator=generator, p=config.p, count=config.width, mask=mask)
