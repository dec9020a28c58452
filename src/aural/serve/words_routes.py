"""Define the routes that describe sounds and answer questions about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request

from aural.core.types import Clip
from aural.serve.access import client_of
from aural.serve.routes import ERRORS, UNKNOWN_FILE, FileParameter, Upload, service_of
from aural.serve.schemas import MAX_TEXTS, AskRequest, AskResponse, CaptionResponse, Text

LONGEST_S = 60.0
"""Of a sound of the library; what comes later is not described."""

router = APIRouter(prefix="/v1", responses=ERRORS)


Write = Annotated[
    bool, Query(description="Let a language model write the caption where one is bundled; takes seconds per sound.")
]


@router.post("/caption", summary="Describe an uploaded sound", tags=["models"])
async def caption(request: Request, sound: Upload, write: Write = False) -> CaptionResponse:
    """Return a sentence about a sound: written by a captioner, or the nearest of known sentences."""
    service = service_of(request)
    clip = await service.decoded(sound, client_of(request.scope))
    return await service.on_model(service.writers.caption, clip, write)


@router.post("/ask", summary="Answer a question about an uploaded sound", tags=["models"])
async def ask(
    request: Request,
    sound: Upload,
    question: Annotated[Text, Form(description="Such as: is there a dog?")],
    choices: Annotated[
        list[Text], Form(max_length=MAX_TEXTS, description="One field per possible answer; none: any.")
    ] = [],  # noqa: B006
) -> AskResponse:
    """Return the answer: one of the choices, or free words where a language model is installed."""
    service = service_of(request)
    clip = await service.decoded(sound, client_of(request.scope))
    return await service.on_model(service.writers.ask, clip, question, choices)


@router.post("/audio/{id}/caption", summary="Describe a sound of the library", tags=["library"], responses=UNKNOWN_FILE)
async def caption_file(request: Request, id: FileParameter, write: Write = False) -> CaptionResponse:
    """Return a sentence about the first minute of a sound."""
    service = service_of(request)
    return await service.on_model(service.writers.caption, await _start(request, id), write)


@router.post(
    "/audio/{id}/ask", summary="Answer a question about a sound of the library", tags=["library"],
    responses=UNKNOWN_FILE,
)  # fmt: skip
async def ask_file(request: Request, id: FileParameter, body: AskRequest) -> AskResponse:
    """Return the answer to a question about the first minute of a sound."""
    writers, clip = service_of(request).writers, await _start(request, id)
    return await service_of(request).on_model(writers.ask, clip, body.question, body.choices)


async def _start(request: Request, id: str) -> Clip:
    """Return the first minute of a sound of the library."""
    return await service_of(request).excerpt(id, 0.0, LONGEST_S, client_of(request.scope))
