"""Define `/v1/embeddings` as clients of OpenAI's API expect it, for texts and sounds."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from aural.core.errors import AudioError, ConfigError
from aural.core.types import FloatArray
from aural.serve.access import client_of
from aural.serve.routes import ERRORS, service_of
from aural.serve.schemas import MAX_TEXTS, Strict, Text
from aural.serve.service import InferenceService

router = APIRouter(prefix="/v1", responses=ERRORS, tags=["models"])

_DATA_URL: Final = re.compile(r"data:(audio|video|application)/[\w.+-]+(;[\w=.+-]+)*;base64,", re.ASCII)
MAX_CHARACTERS: Final = 256 << 20
"""Limit of the description; the server's limit of a request is below."""


class AudioData(Strict):
    """A sound as base64."""

    data: str = Field(min_length=1, max_length=MAX_CHARACTERS, description="The bytes of a sound file in base64.")
    format: str | None = Field(None, max_length=20, description="Such as wav; the server looks at the bytes instead.")


class AudioInput(Strict):
    """A sound to embed, in the form of OpenAI's content parts."""

    type: Literal["input_audio"]
    input_audio: AudioData


class TextInput(Strict):
    """A text to embed, in the form of OpenAI's content parts."""

    type: Literal["text", "input_text"]
    text: Text


DataUrl = Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
Item = DataUrl | AudioInput | TextInput


class EmbeddingsRequest(Strict):
    """Texts and sounds to embed. A string that begins with `data:audio/` and contains `;base64,` is a sound."""

    input: Item | list[Item] = Field(description="One text or sound, or a list of up to 32.", examples=["rain"])
    model: str = Field("", max_length=1000, description="Ignored: the server has one model and names it in the answer.")
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: little-endian float32.")
    dimensions: int | None = Field(None, ge=1, description="Must be the model's number of dimensions.")
    user: str | None = Field(None, max_length=1000, description="Ignored.")


class EmbeddingItem(BaseModel):
    """The unit vector of one input."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """The field of OpenAI's API; the number of words of the texts, because models count tokens differently."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """The vectors in the order of the inputs."""

    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: Usage


@router.post("/embeddings", summary="Embed texts and sounds (OpenAI's form)")
async def embeddings(request: Request, body: EmbeddingsRequest) -> EmbeddingsResponse:
    """Return unit vectors of texts and sounds in one space, in the form of OpenAI's embeddings API."""
    service = service_of(request)
    items = body.input if isinstance(body.input, list) else [body.input]
    if not 1 <= len(items) <= MAX_TEXTS:
        raise ConfigError(f"input: {len(items)} items; send 1 to {MAX_TEXTS}")
    if body.dimensions not in (None, service.embedder.embed_dim):
        raise ConfigError(f"dimensions: the vectors have {service.embedder.embed_dim} numbers; leave it out")
    contents = [_content(item, number) for number, item in enumerate(items)]
    rows = await _vectors(service, contents, client_of(request.scope))
    words = sum(len(content.split()) for content in contents if isinstance(content, str))
    return EmbeddingsResponse(
        data=[
            EmbeddingItem(index=number, embedding=_encoded(row, body.encoding_format))
            for number, row in enumerate(rows)
        ],
        model=service.library.card.model,
        usage=Usage(prompt_tokens=words, total_tokens=words),
    )


class _Upload:
    """Bytes with the method of an upload that the decoders call."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        return self._content


def _content(item: Any, number: int) -> str | bytes:
    """Return a text, or the bytes of a sound."""
    if isinstance(item, TextInput):
        return item.text
    if isinstance(item, AudioInput):
        return _decoded(item.input_audio.data, number)
    match = _DATA_URL.match(item[:200])
    if match:
        return _decoded(item[match.end() :], number)
    if len(item) > 1000:
        raise ConfigError(f"input {number}: a text of {len(item)} characters is too long; send at most 1000")
    return str(item)


def _decoded(text: str, number: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AudioError(f"input {number}: is not base64; encode the bytes of a sound file") from None


async def _vectors(service: InferenceService, contents: Sequence[str | bytes], client: str) -> list[FloatArray]:
    texts = [content for content in contents if isinstance(content, str)]
    of_texts = iter(await service.texts.embed(texts) if texts else ())
    rows: list[FloatArray] = []
    for number, content in enumerate(contents):
        if isinstance(content, str):
            rows.append(next(of_texts))
            continue
        try:
            rows.append((await service.sound(_Upload(content), client))[0])
        except AudioError as error:
            raise AudioError(f"input {number}: {error}") from None
    return rows


def _encoded(row: FloatArray, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(np.asarray(row, "<f4").tobytes()).decode()
    return [float(value) for value in row]
