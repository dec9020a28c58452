"""Define the routes under /v1. Every answer and every error has a model in the OpenAPI description."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Coroutine
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

from fastapi import APIRouter, File, Form, Path, Request, UploadFile
from fastapi import Query as QueryParameter
from fastapi.responses import Response
from fastapi.routing import APIRoute

from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.models.locate import LocateConfig
from aural.search.filters import COLUMNS, FACT_COLUMNS, FIRST_WINDOWS
from aural.search.index import Hit
from aural.search.marked import MarkFilter
from aural.search.notebook import MOST_STARS
from aural.search.query import NOT_WEIGHT, QueryWeights
from aural.serve.access import client_of
from aural.serve.byte_ranges import FileHead, file_response
from aural.serve.cursor import decode, encode
from aural.serve.locate import locate, place_hits, response_of
from aural.serve.schemas import (
    FILE_ID,
    FOLD,
    MAX_LABELS,
    MAX_TEXTS,
    MAX_TOP,
    ClassifyResponse,
    FacetsResponse,
    Label,
    LibraryResponse,
    LocateRequest,
    LocateResponse,
    MapResponse,
    Name,
    Problem,
    SearchRequest,
    SearchResponse,
    SoundHit,
    Text,
    TextsRequest,
    VectorsResponse,
    Weight,
)
from aural.serve.service import InferenceService, Query

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
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Problem, "description": "The request cannot be parsed."},
    401: {"model": Problem, "description": "A token is required."},
    403: {"model": Problem, "description": "The request comes from another site or names another host."},
    413: {"model": Problem, "description": "The request is too large."},
    422: {"model": Problem, "description": "The request or the sound is invalid; the message says how to fix it."},
    429: {"model": Problem, "description": "Too many wrong tokens were sent."},
    503: {
        "model": Problem,
        "description": "The server is busy, the request took too long, or the library is missing.",
    },
    "default": {"model": Problem, "description": "Every other error."},
}
UNKNOWN_FILE: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Problem, "description": "The library contains no such file or collection."},
    410: {"model": Problem, "description": "The file is missing or changed since it was added."},
}

MAX_FILES, MAX_FIELDS = 4, MAX_LABELS + 16

Upload = Annotated[UploadFile, File(description="A sound file in any supported format.")]
FileParameter = Annotated[str, Path(pattern=FILE_ID, description="Id of a file, from a search.")]
FormTexts = Annotated[list[Text], Form(max_length=MAX_TEXTS)]


class _FormRequest(Request):
    """A request whose form may have the largest number of labels; the framework stops at 1,000 fields of any name."""

    def form(self, **_: Any) -> Any:
        return super().form(max_files=MAX_FILES, max_fields=MAX_FIELDS)


class _Route(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_form(request: Request) -> Response:
            return await handle(_FormRequest(request.scope, request.receive))

        return handle_form


router = APIRouter(prefix="/v1", responses=ERRORS, route_class=_Route)


def service_of(request: Request) -> InferenceService:
    """Return the service of the application."""
    service: InferenceService = request.app.state.service
    return service


@router.get("/library", summary="Describe the library", tags=["library"])
async def library(request: Request) -> LibraryResponse:
    """Return the model, the numbers of files and windows, and the columns that filters can use."""
    service = service_of(request)
    store = service.library.store
    card = service.library.card
    files = await service.on_store(store.count, FIRST_WINDOWS)
    windows = await service.on_store(store.count)
    service.metrics.files.set(files)
    return LibraryResponse(
        model=card.model,
        files=files,
        windows=windows,
        window_s=card.window_s,
        tags=await service.tags(),
        columns={**COLUMNS, **FACT_COLUMNS},
    )


@router.get(
    "/facets",
    summary="Count the files per tag, format, length, category, key, loudness and other facts",
    tags=["library"],
)
async def library_facets(
    request: Request, where: Annotated[str | None, QueryParameter(max_length=2000)] = None
) -> FacetsResponse:
    """Return the number of files per value, for the files that meet a filter; see `aural.search.facets`."""
    return FacetsResponse(facets=await service_of(request).facets(where))


@router.post("/search", summary="Search by words and sounds of the library", tags=["search"], responses=UNKNOWN_FILE)
async def search(request: Request, body: SearchRequest) -> SearchResponse:
    """Return the files nearest to the weighted sum of words and sounds minus unwanted words, with the best windows."""
    began = time.perf_counter()
    weights = QueryWeights(body.words_weight, body.like_weight, body.minus_weight)
    marks = MarkFilter(body.collections, body.favorites, body.min_stars)
    service = service_of(request)
    same = body.model_dump_json(exclude={"cursor", "remember"})
    key = service.ids.tag(f"{service.library.card.model} {same}")
    after = decode(body.cursor, key) if body.cursor else None
    query = Query(
        body.words, body.like, body.minus, body.where, body.top, weights, names=body.names, marks=marks, fold=body.fold
    )
    hits, end = await service.page(query, after)
    if body.remember and after is None:
        await service.remember(body.model_dump(exclude={"remember"}, exclude_defaults=True), len(hits))
    if body.locate:
        hits = await place_hits(service, hits, body.words, client_of(request.scope))
    return _answer(service, query, hits, began, None if end is None else encode(end, key))


@router.post("/similar", summary="Search by an uploaded sound", tags=["search"], responses=UNKNOWN_FILE)
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
    collections: Annotated[list[Name], Form(max_length=MAX_TEXTS)] = [],  # noqa: B006
    favorites: Annotated[bool, Form()] = False,
    min_stars: Annotated[int, Form(ge=0, le=MOST_STARS)] = 0,
    fold: Annotated[bool, Form(description=FOLD)] = True,
) -> SearchResponse:
    """Search like /v1/search, with an uploaded sound added to the sum."""
    began = time.perf_counter()
    service = service_of(request)
    weights = QueryWeights(words_weight, like_weight, minus_weight)
    vector, _ = await service.sound(sound, client_of(request.scope))
    marks = MarkFilter(collections, favorites, min_stars)
    query = Query(words, like, minus, where, top, weights, [vector], marks, fold=fold)
    return _answer(service, query, await service.search(query), began)


@router.post("/classify", summary="Classify an uploaded sound", tags=["models"])
async def classify(
    request: Request,
    sound: Upload,
    labels: Annotated[list[Text], Form(min_length=1, max_length=MAX_LABELS, description="One field per label.")],
    template: Annotated[
        str, Form(max_length=200, description="Prompt of a label; {} is replaced by the label.")
    ] = DEFAULT_TEMPLATE,
    multi_label: Annotated[bool, Form(description="Score each label independently.")] = False,
    top: Annotated[int, Form(ge=1, le=MAX_LABELS)] = 10,
) -> ClassifyResponse:
    """Classify a sound with any labels (zero-shot)."""
    if "{}" not in template:
        raise ConfigError("template: has no place for the label; write {} where the label goes")
    labels = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if not labels:
        raise ConfigError("labels: all of them are blank; write words")
    service = service_of(request)
    vector, duration_s = await service.sound(sound, client_of(request.scope))
    ranked = await service.classify(vector, labels, template, multi_label)
    best = [Label(label=label, score=score, cosine=cosine) for label, score, cosine in ranked[:top]]
    matches = service.matches([cosine for _, _, cosine in ranked])
    return ClassifyResponse(labels=best, matches=matches, duration_s=duration_s)


@router.post("/locate", summary="Say when texts are heard in an uploaded sound", tags=["models"])
async def locate_upload(
    request: Request,
    sound: Upload,
    texts: Annotated[list[Text], Form(min_length=1, max_length=MAX_TEXTS, description="One field per text.")],
    threshold: Annotated[float | None, Form(gt=0, lt=1, description="Lowest probability of a span.")] = None,
    min_duration_s: Annotated[float, Form(ge=0, le=1e6, allow_inf_nan=False)] = 0.0,
    max_gap_s: Annotated[float, Form(ge=0, le=1e6, allow_inf_nan=False)] = 0.2,
) -> LocateResponse:
    """Return the spans in which each text is heard: onset, offset and confidence."""
    service = service_of(request)
    config = LocateConfig(threshold=threshold, min_duration_s=min_duration_s, max_gap_s=max_gap_s)
    clip = await service.decoded(sound, client_of(request.scope))
    return response_of(await locate(service, clip, texts, config))


@router.post(
    "/audio/{id}/locate", summary="Say when texts are heard in a sound of the library", tags=["library"],
    responses=UNKNOWN_FILE,
)  # fmt: skip
async def locate_in_file(request: Request, id: FileParameter, body: LocateRequest) -> LocateResponse:
    """Return the spans in which each text is heard between `start_s` and `end_s` of a file."""
    service = service_of(request)
    end_s = _end_of(service, body.start_s, body.end_s)
    config = LocateConfig(threshold=body.threshold, min_duration_s=body.min_duration_s, max_gap_s=body.max_gap_s)
    clip = await service.excerpt(id, body.start_s, end_s, client_of(request.scope))
    return response_of(await locate(service, clip, body.texts, config), body.start_s)


@router.post("/embed", summary="Embed texts", tags=["models"])
async def embed(request: Request, texts: TextsRequest) -> VectorsResponse:
    """Return the unit vectors of texts."""
    service = service_of(request)
    rows = await service.texts.embed(texts.texts)
    return VectorsResponse(model=service.library.card.model, vectors=rows.tolist())


@router.post("/embed/sound", summary="Embed an uploaded sound", tags=["models"])
async def embed_sound(request: Request, sound: Upload) -> VectorsResponse:
    """Return the unit vector of a complete sound."""
    service = service_of(request)
    vector, _ = await service.sound(sound, client_of(request.scope))
    return VectorsResponse(model=service.library.card.model, vectors=[vector.tolist()])


@router.get("/map", summary="Show all files in the plane", tags=["library"], responses={200: {"model": MapResponse}})
async def library_map(request: Request) -> Response:
    """Return positions with similar sounds close together; computed again after files were added or removed."""
    return Response(await service_of(request).map(), media_type="application/json")


@router.get(
    "/audio/{id}",
    summary="Get a sound of the library",
    tags=["library"],
    response_class=Response,
    responses=UNKNOWN_FILE
    | {
        200: {"description": "The file.", "content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The requested range.", "content": {"audio/*": {}}},
        304: {"description": "The client has this file already."},
        412: {"model": Problem, "description": "The file is not the one that If-Match names."},
        416: {"model": Problem, "description": "The range is outside the file."},
    },
)
async def audio(request: Request, id: FileParameter) -> Response:
    """Return the bytes of a file, or the part that a Range header requests."""
    service = service_of(request)
    held = await service.open(id)
    path = FilePath(held.name)
    kind = MEDIA_TYPES.get(path.suffix[1:].lower(), "application/octet-stream")
    tag = service.ids.tag(f"{id} {held.size} {held.mtime_ns}")
    return file_response(held, request, FileHead(kind, path.name, f'"{tag}"'))


@router.get(
    "/audio/{id}/excerpt",
    summary="Get a part of a sound as wav",
    tags=["library"],
    response_class=Response,
    responses=UNKNOWN_FILE
    | {200: {"description": "16-bit mono wav, or 24-bit wav with all channels.", "content": {"audio/wav": {}}}},
)
async def excerpt(
    request: Request,
    id: FileParameter,
    start_s: Annotated[float, QueryParameter(ge=0, le=1e6, allow_inf_nan=False)] = 0.0,
    end_s: Annotated[float | None, QueryParameter(gt=0, le=1e6, allow_inf_nan=False)] = None,
    original: Annotated[bool, QueryParameter(description="All channels with 24 bits, for other programs.")] = False,
) -> Response:
    """Decode a sound from `start_s` to `end_s`, for long files and formats that browsers do not play."""
    import soundfile

    service = service_of(request)
    end_s = _end_of(service, start_s, end_s)
    clip = await service.excerpt(id, start_s, end_s, client_of(request.scope), mono=not original)
    subtype = "PCM_24" if original else "PCM_16"
    out = io.BytesIO()
    soundfile.write(out, clip.samples.T, clip.sample_rate_hz, format="WAV", subtype=subtype)
    return Response(out.getvalue(), media_type="audio/wav", headers={"Cache-Control": "private, max-age=3600"})


def _end_of(service: InferenceService, start_s: float, end_s: float | None) -> float:
    """Return the end of a part of a sound. Raises ConfigError if the part is empty or too long."""
    max_s = service.settings.max_clip_s
    end_s = start_s + max_s if end_s is None else end_s
    if not start_s < end_s <= start_s + max_s:
        raise ConfigError(f"end_s must be greater than start_s, by at most {max_s:g} s")
    return end_s


def _answer(
    service: InferenceService, query: Query, hits: list[Hit], began: float, next_cursor: str | None = None
) -> SearchResponse:
    took_ms = round(1000 * (time.perf_counter() - began), 3)
    matches = None
    if not query.like and not query.sounds:  # the least cosine is that of a sound with words
        matches = any(hit.word_score for hit in hits) or service.matches([hit.score for hit in hits])
    shown = [SoundHit.of(hit) for hit in hits]
    return SearchResponse(hits=shown, matches=matches, took_ms=took_ms, next_cursor=next_cursor)
