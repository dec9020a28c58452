"""Define the routes of the notebook: favorites, ratings, notes, collections and past queries."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from fastapi import Query as QueryParameter
from pydantic import BaseModel, Field

from aural.search.notebook import MAX_NAME, MAX_NOTE, MOST_STARS, Marks, Notebook
from aural.serve.routes import ERRORS, UNKNOWN_FILE, FileParameter, service_of
from aural.serve.schemas import FileId, PastSearch, Problem, Strict
from aural.serve.service import InferenceService

MAX_IDS = 1000
UNKNOWN_COLLECTION: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": Problem, "description": "The library has no such collection."}
}

router = APIRouter(prefix="/v1", responses=ERRORS, tags=["notebook"])
Name = Annotated[str, Path(min_length=1, max_length=MAX_NAME, description="Name of a collection.")]


class MarksRequest(Strict):
    """The sounds whose marks are requested."""

    ids: list[FileId] = Field(min_length=1, max_length=MAX_IDS)


class MarksChange(Strict):
    """New values of marks; what is missing keeps its value."""

    favorite: bool | None = None
    stars: int | None = Field(None, ge=0, le=MOST_STARS, description="1 to 5; 0 deletes the rating.")
    note: str | None = Field(None, max_length=MAX_NOTE, description="An empty text deletes the note.")


class SoundMarks(BaseModel):
    """The marks of a sound. Sounds with the same content share it."""

    id: str
    favorite: bool
    stars: int = Field(description="1 to 5, or 0 without a rating.")
    note: str
    collections: list[str]


class MarksResponse(BaseModel):
    """The marks of the requested sounds, in their order; sounds that the library does not contain are left out."""

    sounds: list[SoundMarks]


class CollectionsResponse(BaseModel):
    """The number of sounds per collection."""

    collections: dict[str, int]


class HistoryResponse(BaseModel):
    """Past queries, newest first."""

    queries: list[PastSearch]


@router.post("/marks", summary="Get the marks of sounds")
async def marks(request: Request, body: MarksRequest) -> MarksResponse:
    """Return favorite, stars, note and collections of sounds."""
    service = service_of(request)
    hashes = await service.hashes(body.ids)
    noted = await service.on_store(service.library.notebook.marks, list(hashes.values()))
    return MarksResponse(sounds=[_shown(id, noted.get(content, Marks())) for id, content in hashes.items()])


@router.patch("/marks/{id}", summary="Change the marks of a sound", responses=UNKNOWN_FILE)
async def change_marks(request: Request, id: FileParameter, body: MarksChange) -> SoundMarks:
    """Make a sound a favorite, rate it, or write a note about it."""
    service, notebook = _notebook(request)
    content = await service.hash(id)
    if body.favorite is not None:
        await service.on_store(notebook.set_favorite, [content], body.favorite)
    if body.stars is not None:
        await service.on_store(notebook.rate, [content], body.stars)
    if body.note is not None:
        await service.on_store(notebook.write_note, [content], body.note)
    return _shown(id, (await service.on_store(notebook.marks, [content])).get(content, Marks()))


@router.get("/collections", summary="List the collections")
async def collections(request: Request) -> CollectionsResponse:
    """Return the names of the collections and their numbers of sounds; search with `collections` shows the sounds."""
    service, notebook = _notebook(request)
    return CollectionsResponse(collections=await service.on_store(notebook.collections))


@router.put("/collections/{name}/{id}", summary="Add a sound to a collection", status_code=204, responses=UNKNOWN_FILE)
async def collect(request: Request, name: Name, id: FileParameter) -> None:
    """Add a sound; the collection is created if it does not exist."""
    service, notebook = _notebook(request)
    await service.on_store(notebook.collect, name, [await service.hash(id)])


@router.delete(
    "/collections/{name}/{id}", summary="Delete a sound from a collection", status_code=204, responses=UNKNOWN_FILE
)
async def uncollect(request: Request, name: Name, id: FileParameter) -> None:
    """Delete a sound from a collection; the library keeps it."""
    service, notebook = _notebook(request)
    await service.on_store(notebook.uncollect, name, [await service.hash(id)])


@router.delete("/collections/{name}", summary="Delete a collection", status_code=204, responses=UNKNOWN_COLLECTION)
async def delete_collection(request: Request, name: Name) -> None:
    """Delete a collection; the library keeps its sounds."""
    service, notebook = _notebook(request)
    await service.on_store(notebook.delete_collection, name)


@router.get("/history", summary="List past queries")
async def history(request: Request, top: Annotated[int, QueryParameter(ge=1, le=1000)] = 50) -> HistoryResponse:
    """Return the queries that were sent with `remember`, and those of the command line."""
    service, notebook = _notebook(request)
    past = await service.on_store(notebook.history, top)
    return HistoryResponse(queries=[PastSearch(time=one.time, query=one.query, hits=one.hits) for one in past])


@router.delete("/history", summary="Delete all past queries", status_code=204)
async def clear_history(request: Request) -> None:
    """Delete the history."""
    service, notebook = _notebook(request)
    await service.on_store(notebook.clear_history)


def _notebook(request: Request) -> tuple[InferenceService, Notebook]:
    service = service_of(request)
    return service, service.library.notebook


def _shown(id: str, marks: Marks) -> SoundMarks:
    return SoundMarks(
        id=id, favorite=marks.favorite, stars=marks.stars, note=marks.note, collections=list(marks.collections)
    )
