"""Define the routes that list the sounds of the library without a query, and describe one of them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from aural.core.printable import printable
from aural.search.filters import FACT_COLUMNS, FIRST_WINDOWS, Filter, all_of, one_of
from aural.search.index import Hit
from aural.search.library import Library
from aural.search.marked import MarkFilter, with_marks
from aural.serve.cursor import Position, decode, encode
from aural.serve.routes import ERRORS, UNKNOWN_FILE, FileParameter, service_of
from aural.serve.schemas import MAX_TEXTS, MAX_TOP, Name, SearchResponse, SoundHit, Strict
from aural.serve.service import unknown

router = APIRouter(prefix="/v1", responses=ERRORS, tags=["library"])
ORDERS: Final = {"path": ("path", False), "shortest": ("duration", False), "newest": ("modified", True)}
"""Column and direction of each order."""
_DETAILS: Final = ("path", "name", "format", "duration", "sample_rate", "channels", "size", "modified", "tags")


class BrowseRequest(Strict):
    """The filters and the order of a list of sounds."""

    where: str | None = Field(None, max_length=2000, examples=["duration < 5"])
    order: Literal["path", "shortest", "newest"] = "path"
    collections: list[Name] = Field(default=[], max_length=MAX_TEXTS, description="Only sounds in all of these.")
    favorites: bool = Field(False, description="Only favorites.")
    min_stars: int = Field(0, ge=0, le=5, description="Only sounds rated so or better.")
    top: int = Field(20, ge=1, le=MAX_TOP, description="Number of sounds per page.")
    cursor: str | None = Field(None, max_length=100, description="`next_cursor` of the page before, for the next one.")


class SoundDetails(BaseModel):
    """The columns and facts of a sound."""

    id: str
    path: str
    shown: str = Field(description="The path with control characters and marks of direction as escapes, for display.")
    format: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    size_bytes: int
    modified: str = Field(description="UTC.")
    tags: list[str]
    facts: dict[str, str | bool | float] = Field(
        description="Metadata and measures of `aural library analyze`; unknown ones are left out."
    )


@router.post("/browse", summary="List sounds without a query")
async def browse(request: Request, body: BrowseRequest) -> SearchResponse:
    """Return the sounds that meet a filter, a page at a time; their score is 0 and their window is the sound."""
    began = time.perf_counter()
    service = service_of(request)
    key = service.ids.tag(f"browse {body.model_dump_json(exclude={'cursor'})}")
    after = decode(body.cursor, key) if body.cursor else None
    condition = await service.on_store(service.library.filter, body.where)
    marks = MarkFilter(body.collections, body.favorites, body.min_stars)
    if marks:
        condition = await service.on_store(with_marks, service.library.notebook, marks, condition)
    hits, end = await service.on_store(_page, service.library, condition, body, after)
    shown = [SoundHit.of(replace(hit, file=service.ids.hide(hit.file))) for hit in hits]
    took_ms = round(1000 * (time.perf_counter() - began), 3)
    next_cursor = None if end is None else encode(end, key)
    return SearchResponse(hits=shown, matches=None, took_ms=took_ms, next_cursor=next_cursor)


def _page(
    library: Library, where: Filter | None, body: BrowseRequest, after: Position | None
) -> tuple[list[Hit], Position | None]:
    """Return the sounds after a position, and the end of this page if there are more."""
    column, descending = ORDERS[body.order]
    table = library.store.rows(list(dict.fromkeys(["file", "path", column])), where or FIRST_WINDOWS)
    files, at = np.unique(np.array(table["file"].to_pylist(), object), return_index=True)
    values, paths = (np.array(table[name].to_pylist(), object)[at] for name in (column, "path"))
    ranked = sorted(range(len(files)), key=lambda i: str(paths[i]))
    ranked.sort(key=lambda i: values[i], reverse=descending)
    start = 0
    if after is not None:  # the file after which the page begins, or its old rank if it was removed
        ranks = {str(files[i]): rank for rank, i in enumerate(ranked)}
        start = ranks.get(after.file, after.shown - 1) + 1
    page = [str(files[i]) for i in ranked[start : start + body.top]]
    names = ["file", "path", "duration", "silent", "tags"]
    rows = library.store.rows(names, all_of(FIRST_WINDOWS, one_of("file", page))).to_pylist() if page else []
    hits = {row["file"]: _hit(row) for row in rows}
    more = start + len(page) < len(ranked)
    end = Position(start + len(page), 0.0, page[-1]) if more else None
    return [hits[file] for file in page if file in hits], end


def _hit(row: dict[str, Any]) -> Hit:
    duration_s = float(row["duration"])
    return Hit(row["file"], row["path"], 0, 0.0, duration_s, duration_s, 0.0, bool(row["silent"]), tuple(row["tags"]))


@router.get("/sounds/{id}", summary="Describe a sound of the library", responses=UNKNOWN_FILE)
async def details(request: Request, id: FileParameter) -> SoundDetails:
    """Return the columns and facts of a sound."""
    service = service_of(request)
    row, facts = await service.on_store(_described, service.library, service.ids.reveal(id))
    if row is None:
        raise unknown(id)
    return SoundDetails(
        id=id,
        path=row["path"],
        shown=printable(row["path"]),
        format=row["format"],
        duration_s=row["duration"],
        sample_rate_hz=row["sample_rate"],
        channels=row["channels"],
        size_bytes=row["size"],
        modified=str(row["modified"]),
        tags=row["tags"],
        facts=facts,
    )


def _described(library: Library, file: str) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    rows = library.store.rows([*_DETAILS, "hash"], all_of(FIRST_WINDOWS, one_of("file", [file]))).to_pylist()
    if not rows:
        return None, {}
    columns = library.facts.columns()
    at = np.flatnonzero(columns["hash"] == rows[0]["hash"])
    if not len(at):
        return rows[0], {}
    values = {name: columns[name][at[0]] for name in FACT_COLUMNS}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    return rows[0], {name: value for name, value in plain.items() if value != "" and value == value}
