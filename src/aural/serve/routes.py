"""The routes under /v1. Every answer, also every refusal, has a model in the OpenAPI description."""

from __future__ import annotations

import io
import time
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

from fastapi import APIRouter, File, Form, Path, Query, Request, UploadFile
from fastapi.responses import FileResponse, Response

from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.search.library import any_window_zero
from aural.search.overview import overview
from aural.search.query import NOT_WEIGHT, Weights
from aural.search.source import in_tar, remote
from aural.search.where import COLUMNS
from aural.serve.engine import Engine
from aural.serve.parts import part_of
from aural.serve.schemas import (
    FILE_ID,
    MAX_LABELS,
    MAX_TEXTS,
    MAX_TOP,
    ClassifyResponse,
    Label,
    LibraryResponse,
    MapResponse,
    Problem,
    SearchRequest,
    SearchResponse,
    SoundHit,
    Text,
    TextsRequest,
    VectorsResponse,
    Weight,
)

MEDIA_TYPES: Final = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "m4b": "audio/mp4",
    "mp4": "audio/mp4",
    "mov": "audio/mp4",
    "aac": "audio/aac",
    "webm": "audio/webm",
    "mka": "audio/x-matroska",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
}
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "The request cannot be read."},
    401: {"model": Problem, "description": "A token is needed."},
    403: {"model": Problem, "description": "The server answers to another host name."},
    422: {"model": Problem, "description": "The request or the sound is at fault; the sentence says how to mend it."},
    503: {"model": Problem, "description": "Too much at once, or it took too long; try again later."},
}
NOT_HELD: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Problem, "description": "The library holds no such file."},
    410: {"model": Problem, "description": "The file is gone, or changed since it was added."},
}
TOO_LARGE: Final[dict[int | str, dict[str, Any]]] = {413: {"model": Problem, "description": "The upload is too large."}}
SOUND: Final = {"200": {"content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}}}}

Upload = Annotated[UploadFile, File(description="A sound file of any known format.")]
FileParameter = Annotated[str, Path(pattern=FILE_ID, description="A file's id, as search gives it.")]
FormTexts = Annotated[list[Text], Form(max_length=MAX_TEXTS)]

router = APIRouter(prefix="/v1", responses=REFUSALS | TOO_LARGE)


def engine_of(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


@router.get("/library", summary="What the library is", tags=["library"])
async def library(request: Request) -> LibraryResponse:
    """Model, number of files and windows, and the columns that filters may ask for."""
    engine = engine_of(request)
    store, card = engine.library.store, engine.library.card
    files, windows = await engine.on_store(store.count, any_window_zero()), await engine.on_store(store.count)
    engine.metrics.files.set(files)
    return LibraryResponse(
        model=card.model,
        files=files,
        windows=windows,
        window_s=card.window_s,
        tags=await engine.on_store(engine.tags),
        columns=dict(COLUMNS),
    )


@router.post("/search", summary="Search by words and held sounds", tags=["search"], responses=NOT_HELD)
async def search(request: Request, query: SearchRequest) -> SearchResponse:
    """The files nearest to the weighted sum of words and sounds, less unwanted words, each with its best window."""
    began = time.perf_counter()
    weights = Weights(query.words_weight, query.like_weight, query.minus_weight)
    hits = await engine_of(request).search(query.words, query.like, query.minus, query.where, query.top, weights)
    return _answer(hits, began)


@router.post("/similar", summary="Search by an uploaded sound", tags=["search"], responses=NOT_HELD)
async def similar(
    request: Request,
    sound: Upload,
    words: FormTexts = [],  # noqa: B006  # read only; FastAPI copies it
    like: Annotated[list[Annotated[str, Path(pattern=FILE_ID)]], Form(max_length=MAX_TEXTS)] = [],  # noqa: B006
    minus: FormTexts = [],  # noqa: B006
    where: Annotated[str | None, Form(max_length=2000)] = None,
    top: Annotated[int, Form(ge=1, le=MAX_TOP)] = 20,
    words_weight: Annotated[Weight, Form()] = 1.0,
    like_weight: Annotated[Weight, Form()] = 1.0,
    minus_weight: Annotated[Weight, Form()] = NOT_WEIGHT,
) -> SearchResponse:
    """Like /v1/search, with an uploaded sound added to the sum."""
    began, engine = time.perf_counter(), engine_of(request)
    weights = Weights(words_weight, like_weight, minus_weight)
    vector, _ = await engine.sound(sound)
    return _answer(await engine.search(words, like, minus, where, top, weights, vector), began)


@router.post("/classify", summary="Name an uploaded sound", tags=["models"])
async def classify(
    request: Request,
    sound: Upload,
    labels: Annotated[list[Text], Form(min_length=1, max_length=MAX_LABELS, description="Give it once a label.")],
    template: Annotated[str, Form(max_length=200, description="Prompt; {} is the label.")] = DEFAULT_TEMPLATE,
    multi_label: Annotated[bool, Form(description="Score each label on its own.")] = False,
    top: Annotated[int, Form(ge=1, le=MAX_LABELS)] = 10,
) -> ClassifyResponse:
    """Zero-shot classification with labels of your own."""
    if "{}" not in template:
        raise ConfigError("template: has no place for the label; write {} where it goes")
    labels = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if not labels:
        raise ConfigError("labels: all of them are blank; write words")
    engine = engine_of(request)
    vector, duration_s = await engine.sound(sound)
    found = await engine.classify(vector, labels, template, multi_label)
    best = [Label(label=label, score=score, cosine=cosine) for label, score, cosine in found[:top]]
    return ClassifyResponse(labels=best, duration_s=duration_s)


@router.post("/embed", summary="Embed texts", tags=["models"])
async def embed(request: Request, texts: TextsRequest) -> VectorsResponse:
    """The model's unit vectors of texts."""
    engine = engine_of(request)
    rows = await engine.texts.embed(texts.texts)
    return VectorsResponse(model=engine.library.card.model, vectors=rows.tolist())


@router.post("/embed/sound", summary="Embed an uploaded sound", tags=["models"])
async def embed_sound(request: Request, sound: Upload) -> VectorsResponse:
    """The model's unit vector of a sound, read whole."""
    engine = engine_of(request)
    vector, _ = await engine.sound(sound)
    return VectorsResponse(model=engine.library.card.model, vectors=[vector.tolist()])


@router.get("/map", summary="All files in the plane", tags=["library"], responses=NOT_HELD)
async def library_map(request: Request) -> MapResponse:
    """Alike sounds side by side; drawn at the first request after files came or went."""
    engine = engine_of(request)
    found = await engine.on_store(overview, engine.library)
    names = [path.rsplit("/", 1)[-1] for path in found.paths]
    x, y = found.xy.round(4).T.tolist()
    return MapResponse(method=found.method, ids=found.files, names=names, x=x, y=y, tags=found.tags)


@router.get(
    "/audio/{id}",
    summary="A held sound",
    tags=["library"],
    response_class=Response,
    responses=NOT_HELD
    | {
        200: {"description": "The file.", "content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The range that was asked for.", "content": {"audio/*": {}}},
        400: {"description": "The range cannot be read.", "content": {"text/plain": {}, "application/json": {}}},
        416: {"description": "The range lies outside the file.", "content": {"text/plain": {}}},
    },
)
async def audio(request: Request, id: FileParameter) -> Response:
    """The sound's own bytes; a Range header gets a part."""
    place = await engine_of(request).place(id)
    path = FilePath(place.path)
    kind = MEDIA_TYPES.get(path.suffix[1:].lower(), "application/octet-stream")
    headers = {"Cache-Control": "private, max-age=3600", "Content-Security-Policy": "sandbox; default-src 'none'"}
    if remote(place.path) or in_tar(place.path):
        return part_of(place, request.headers.get("range"), kind, headers)
    return FileResponse(path, media_type=kind, headers=headers, content_disposition_type="inline", filename=path.name)


@router.get(
    "/audio/{id}/excerpt",
    summary="A part of a held sound as wav",
    tags=["library"],
    response_class=Response,
    responses=NOT_HELD | {200: {"description": "16-bit mono wav.", "content": {"audio/wav": {}}}},
)
async def excerpt(
    request: Request,
    id: FileParameter,
    start_s: Annotated[float, Query(ge=0, le=1e6, allow_inf_nan=False)] = 0.0,
    end_s: Annotated[float | None, Query(gt=0, le=1e6, allow_inf_nan=False)] = None,
) -> Response:
    """From `start_s` to `end_s`, decoded: for formats that a browser does not play, and for places in long files."""
    import soundfile

    engine = engine_of(request)
    most_s = engine.settings.max_clip_s
    end_s = start_s + most_s if end_s is None else end_s
    if not start_s < end_s <= start_s + most_s:
        raise ConfigError(f"end_s must lie after start_s and at most {most_s:g} s after it")
    clip = await engine.excerpt(id, start_s, end_s)
    out = io.BytesIO()
    soundfile.write(out, clip.samples[0], clip.sample_rate_hz, format="WAV", subtype="PCM_16")
    return Response(out.getvalue(), media_type="audio/wav", headers={"Cache-Control": "private, max-age=3600"})


def _answer(hits: list[Any], began: float) -> SearchResponse:
    took_ms = round(1000 * (time.perf_counter() - began), 3)
    return SearchResponse(hits=[SoundHit.of(hit) for hit in hits], took_ms=took_ms)
