"""Locate texts in sounds: uploads, parts of sounds of the library, and hits of a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aural.core.errors import AuralError, ConfigError
from aural.core.types import Clip
from aural.models.embedding import EmbeddingModel
from aural.models.locate import LocateConfig, Located, Locator
from aural.search.index import Hit
from aural.search.place import MOST, check_placeable, placed, ranked
from aural.serve.schemas import BestResponse, LocateResponse, SpanResponse
from aural.serve.service import InferenceService


async def locate(service: InferenceService, clip: Clip, texts: Sequence[str], config: LocateConfig) -> Located:
    """Return where texts are heard in a clip. Other requests use the model between its blocks of 30 s.

    Raises ConfigError if the library's model is not one of aural's, or the texts are unusable.
    """
    model = service.embedder
    if not isinstance(model, EmbeddingModel):
        raise ConfigError("the model of this library gives no frames, so it cannot locate sounds")
    prompts = Locator.prompts_of(texts, config)
    rows = dict(zip(prompts, await service.texts.embed(prompts), strict=True))
    locator = Locator(model, texts, config, embed_text=lambda wanted: np.stack([rows[prompt] for prompt in wanted]))
    steps, result = locator.stream(clip), Located()
    while (step := await service.on_model(next, steps, None)) is not None:
        result = step
    return result


async def place_hits(service: InferenceService, hits: Sequence[Hit], words: Sequence[str], client: str) -> list[Hit]:
    """Return the hits of a search (with public ids) placed and ranked again; see `aural.search.place.place`."""
    texts, result = check_placeable(words), []
    for hit in hits[:MOST]:
        try:
            clip = await service.excerpt(hit.file, hit.start_s, hit.end_s, client)
            result.append(placed(hit, (await locate(service, clip, texts, LocateConfig())).spots()))
        except ConfigError:
            raise
        except AuralError:  # the file is missing, changed or unreadable: the hit is kept without a place
            result.append(hit)
    return ranked([*result, *hits[MOST:]])


def response_of(result: Located, start_s: float = 0.0) -> LocateResponse:
    """Return the answer for a result whose times count from `start_s` of the file."""
    spans = [
        SpanResponse(
            text=one.text, onset_s=start_s + one.onset_s, offset_s=start_s + one.offset_s, confidence=one.confidence
        )
        for one in result.spans
    ]
    best = [BestResponse(text=text, confidence=p, at_s=start_s + at_s) for text, (p, at_s) in result.best.items()]
    return LocateResponse(
        duration_s=result.duration_s, threshold=result.threshold, origin=result.origin, spans=spans, best=best
    )
