"""Define the request and response models of the HTTP API, from which the OpenAPI description is generated."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from aural.core.printable import printable
from aural.search.index import Hit
from aural.search.notebook import MAX_NAME, MOST_STARS
from aural.search.query import NOT_WEIGHT

MAX_TEXT, MAX_TEXTS, MAX_LABELS, MAX_TOP = 1000, 32, 1000, 1000
FILE_ID = r"^[0-9a-f]{16}$"

FOLD = "Whether files with the same sound are one hit, which lists the others in `copies`."

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, description="A sentence or a few words.")]
FileId = Annotated[str, Field(pattern=FILE_ID, description="Id of a file, from a search.")]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, description="Name of a collection.")]
Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Strict(BaseModel):
    """A request model that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def reject_unknown(cls, data: Any) -> Any:
        """Stop at the first unknown field; pydantic lists all, which takes seconds for 100,000."""
        unknown = next((key for key in data if key not in cls.model_fields), None) if isinstance(data, dict) else None
        if unknown is not None:
            raise PydanticCustomError("unknown_field", "unknown field {field}", {"field": json.dumps(unknown[:100])})
        return data


class SearchRequest(Strict):
    """Words, sounds of the library and unwanted words, summed with their weights."""

    words: list[Text] = Field(default=[], max_length=MAX_TEXTS, examples=[["rain on a tin roof"]])
    like: list[FileId] = Field(default=[], max_length=MAX_TEXTS, description="Ids of sounds of the library.")
    minus: list[Text] = Field(default=[], max_length=MAX_TEXTS, description="Words that hits must not resemble.")
    where: str | None = Field(None, max_length=2000, examples=["duration < 5 and path like '%ambience%'"])
    locate: bool = Field(
        False,
        description="Whether to say where the words are heard in the first 50 hits of a page, and rank it by that.",
    )
    top: int = Field(20, ge=1, le=MAX_TOP, description="Number of hits per page.")
    cursor: str | None = Field(None, max_length=100, description="`next_cursor` of the page before, for the next one.")
    names: bool = Field(True, description="Whether the words also count in file names, folders and tags.")
    fold: bool = Field(True, description=FOLD)
    collections: list[Name] = Field(default=[], max_length=MAX_TEXTS, description="Only sounds in all of these.")
    favorites: bool = Field(False, description="Only favorites.")
    min_stars: int = Field(0, ge=0, le=MOST_STARS, description="Only sounds rated so or better.")
    remember: bool = Field(False, description="Whether to add the query to the history.")
    words_weight: Weight = 1.0
    like_weight: Weight = 1.0
    minus_weight: Weight = NOT_WEIGHT


class PastSearch(BaseModel):
    """A query of the history."""

    time: str = Field(description="UTC, such as 2026-11-22T19:22:35Z.")
    query: dict[str, Any]
    hits: int


class SoundHit(BaseModel):
    """A file with the window that is nearest to the query."""

    id: str = Field(description="Id of the file; see /v1/audio/{id}.")
    path: str
    name: str
    shown: str = Field(description="The path with control characters and marks of direction as escapes, for display.")
    score: float = Field(description="Cosine of the vectors of the window and the query.")
    window: int
    start_s: float
    end_s: float
    duration_s: float
    silent: bool
    tags: list[str]
    word_score: float = Field(description="BM25 score of the words in name, folders and tags; 0 if none matches.")
    onset_s: float | None = Field(None, description="Where in the file the words are heard, with locate; else null.")
    offset_s: float | None = None
    confidence: float | None = Field(None, description="Probability that the words are heard there.")
    copies: list[SoundHit] = Field([], description="Other files with the same sound, by path; they have no copies.")

    @classmethod
    def of(cls, hit: Hit) -> SoundHit:
        """Convert a hit of an index."""
        same = {name: getattr(hit, name) for name in cls.model_fields.keys() - {"id", "name", "shown", "copies"}}
        name = hit.path.rsplit("/", 1)[-1]
        copies = [cls.of(copy) for copy in hit.copies]
        return cls(id=hit.file, name=name, shown=printable(hit.path), copies=copies, **same)


class SearchResponse(BaseModel):
    """The hits of a search, best first."""

    hits: list[SoundHit]
    matches: bool | None = Field(description="Whether a hit matches the query; null where that was not measured.")
    took_ms: float
    next_cursor: str | None = Field(None, description="Send it as `cursor` for the next page; null on the last one.")


class TextsRequest(Strict):
    """The texts to embed."""

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)


class VectorsResponse(BaseModel):
    """Unit vectors, one per text or sound."""

    model: str
    vectors: list[list[float]]


class Label(BaseModel):
    """A label with its score."""

    label: str
    score: float = Field(description="Probability over the labels, or independent per label with multi_label.")
    cosine: float


class ClassifyResponse(BaseModel):
    """The labels of the uploaded sound, best first."""

    labels: list[Label]
    matches: bool | None = Field(description="Whether a label matches the sound; null where that was not measured.")
    duration_s: float


class LocateRequest(Strict):
    """Texts to locate in a part of a sound of the library."""

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS, examples=[["glass breaking"]])
    threshold: float | None = Field(None, gt=0, lt=1, description="Lowest probability of a span; null: the model's.")
    min_duration_s: float = Field(0.0, ge=0, le=1e6, allow_inf_nan=False)
    max_gap_s: float = Field(0.2, ge=0, le=1e6, allow_inf_nan=False)
    start_s: float = Field(0.0, ge=0, le=1e6, allow_inf_nan=False)
    end_s: float | None = Field(None, gt=0, le=1e6, allow_inf_nan=False)


class SpanResponse(BaseModel):
    """A time in which a text is heard, in seconds from the start of the file."""

    text: str
    onset_s: float
    offset_s: float
    confidence: float = Field(description="Highest probability of the frames of the span.")


class BestResponse(BaseModel):
    """The frame in which a text is most probable."""

    text: str
    confidence: float
    at_s: float


class LocateResponse(BaseModel):
    """The spans by onset, and the best frame of every text."""

    duration_s: float = Field(description="Length of the part that was read.")
    threshold: float
    origin: str = Field(description="calibrated, model or score: where confidences come from.")
    spans: list[SpanResponse]
    best: list[BestResponse]


class AskRequest(Strict):
    """A question about a sound of the library."""

    question: Text
    choices: list[Text] = Field(default=[], max_length=MAX_TEXTS, description="The answers to choose from; empty: any.")


class CaptionResponse(BaseModel):
    """A sentence about a sound, and the next best ones."""

    caption: str
    others: list[str]
    kind: str = Field(description="written word by word, or picked from known sentences.")
    note: str = Field(description="Why nothing is written; empty where it is.")


class OptionScore(BaseModel):
    """A possible answer."""

    answer: str
    score: float = Field(description="Probability among the choices.")


class AskResponse(BaseModel):
    """The answer to a question about a sound."""

    answer: str
    remark: str = Field(description='What the answer leaves open, such as "a bell is not heard"; mostly empty.')
    options: list[OptionScore] = Field(description="All choices, the best first; empty for a free answer.")
    kind: str = Field(description="written by a language model, compared by vectors, or located by spans.")
    note: str = Field(description="Why vectors were compared; empty where a language model answered.")


class MapResponse(BaseModel):
    """The positions of all files as parallel lists; x and y are in -1 to 1."""

    method: str
    ids: list[str]
    names: list[str]
    x: list[float]
    y: list[float]
    tags: list[list[str]]
    group: list[int] = Field(description="Index into groups, per file.")
    groups: list[str] = Field(description="Words that describe each group of similar sounds, largest group first.")


class LibraryResponse(BaseModel):
    """A description of the library."""

    model: str
    files: int
    windows: int
    window_s: float
    tags: dict[str, int] = Field(description="Number of files per tag, most frequent first; at most 200 tags.")
    columns: dict[str, str] = Field(description="Columns that filters can use, with the kind of each.")


class FacetsResponse(BaseModel):
    """The number of files per value of each column; `low..high` is a range from `low` up to, but without, `high`."""

    facets: dict[str, dict[str, int]]


class Health(BaseModel):
    """The state of the server."""

    status: str
    version: str


class SessionRequest(Strict):
    """The token to store as a cookie."""

    token: str = Field(max_length=1000)


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="Kind of the problem, for programs.", examples=["urn:aural:problem:invalid-input"])
    title: str = Field(description="Kind of the problem, for people.")
    status: int
    detail: str = Field(description="What is wrong with this request and how to fix it, as one sentence.")
    request_id: str = Field(description="Id of the request in the header X-Request-Id and in the server's log.")
