"""What goes over the wire, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aural.search.index import Hit
from aural.search.query import NOT_WEIGHT

MAX_TEXT, MAX_TEXTS, MAX_LABELS, MAX_TOP = 1000, 32, 1000, 1000
FILE_ID = r"^[0-9a-f]{16}$"

# Surrogates and NUL cannot be written as UTF-8 or SQL; everything else is a text.
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, description="A sentence or a few words.")]
FileId = Annotated[str, Field(pattern=FILE_ID, description="A file's id, as search gives it.")]
Weight = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Strict(BaseModel):
    """Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class SearchRequest(Strict):
    """Words, held sounds and unwanted words, summed with their weights."""

    words: list[Text] = Field(default=[], max_length=MAX_TEXTS, examples=[["rain on a tin roof"]])
    like: list[FileId] = Field(default=[], max_length=MAX_TEXTS, description="Ids of sounds that the library holds.")
    minus: list[Text] = Field(default=[], max_length=MAX_TEXTS, description="Words that a hit must not resemble.")
    where: str | None = Field(None, max_length=2000, examples=["duration < 5 and path like '%ambience%'"])
    top: int = Field(20, ge=1, le=MAX_TOP)
    words_weight: Weight = 1.0
    like_weight: Weight = 1.0
    minus_weight: Weight = NOT_WEIGHT


class SoundHit(BaseModel):
    """A file with the window of it that lies nearest to the query."""

    id: str = Field(description="The file's id; see /v1/audio/{id}.")
    path: str
    name: str
    score: float = Field(description="Cosine of the window's vector and the query's.")
    window: int
    start_s: float
    end_s: float
    duration_s: float
    silent: bool
    tags: list[str]

    @classmethod
    def of(cls, hit: Hit) -> SoundHit:
        return cls(
            id=hit.file,
            path=hit.path,
            name=hit.path.rsplit("/", 1)[-1],
            score=hit.score,
            window=hit.window,
            start_s=hit.start_s,
            end_s=hit.end_s,
            duration_s=hit.duration_s,
            silent=hit.silent,
            tags=list(hit.tags),
        )


class SearchResponse(BaseModel):
    """Hits, best first."""

    hits: list[SoundHit]
    took_ms: float


class TextsRequest(Strict):
    """Texts to embed."""

    texts: list[Text] = Field(min_length=1, max_length=MAX_TEXTS)


class VectorsResponse(BaseModel):
    """Unit vectors, one a text or sound."""

    model: str
    vectors: list[list[float]]


class Label(BaseModel):
    """A label with its score."""

    label: str
    score: float = Field(description="A probability: over the labels, or each on its own with multi_label.")
    cosine: float


class ClassifyResponse(BaseModel):
    """Labels of the uploaded sound, best first."""

    labels: list[Label]
    duration_s: float


class MapResponse(BaseModel):
    """All files in the plane: parallel lists; x and y in -1 to 1."""

    method: str
    ids: list[str]
    names: list[str]
    x: list[float]
    y: list[float]
    tags: list[list[str]]


class LibraryResponse(BaseModel):
    """What the library is."""

    model: str
    files: int
    windows: int
    window_s: float
    tags: dict[str, int] = Field(description="Files with each tag, the most frequent first; at most 200 tags.")
    columns: dict[str, str] = Field(description="What filters may ask for, with the kind of each.")


class Health(BaseModel):
    """The server is up."""

    status: str
    version: str


class SessionRequest(Strict):
    """The token, to be kept as a cookie."""

    token: str = Field(max_length=1000)


class Problem(BaseModel):
    """What went wrong, in one sentence."""

    error: str
    request_id: str
