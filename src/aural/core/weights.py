"""Weight cards: the architecture, location and license of each published or bundled checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from aural.core.catalog import Catalog
from aural.core.config import Config

Family = Literal[
    "aural",
    "msclap",
    "laion",
    "clapmodel",
    "pe-audio",
    "embedding-gemma2",
    "openflam",
    "glap",
    "m2d-clap",
    "audio-only",
    "tagger",
]


class WeightCard(Config):
    """The card of one checkpoint: on the hub, in a folder bundled with the package, or for download by hand."""

    renamed_keys: ClassVar = {"weights_licence": "weights_license"}

    name: str
    title: str
    family: Family = "aural"
    """The layout of the weights, which decides what can be exported and how frames are scored."""
    repository: str | None = None
    file: str | None = None
    revision: str | None = None
    sha256: str | None = None
    folder: str | None = None
    url: str | None = None
    """Where a file that is not on the hub is downloaded by hand."""
    audio: str
    text: str = ""
    """Empty for a model without a text tower."""
    window_s: float
    sample_rate_hz: int
    embed_dim: int
    status: Literal["published", "own"] = "published"
    weights_license: str
    citation: str
    languages: str = "English"
    """Languages of the captions that the text tower was trained on."""
    defects: str = ""
    """What is wrong with the published file; `aural.load` warns with this sentence."""
    notes: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> WeightCard:
        self.require_one_of("repository", "folder", "url")
        return self

    def bundled(self) -> Path:
        """Return the path of the folder inside the installed package; its weights have the checksum `sha256`."""
        return Path(str(resources.files("aural"))) / str(self.folder)


WEIGHTS = Catalog("model", "weights", WeightCard)


def weight_cards() -> Mapping[str, WeightCard]:
    """Return all weight cards by name."""
    return WEIGHTS


def weight_card(name: str) -> WeightCard:
    """Return the card of an exact name; a ConfigError names the near miss."""
    return WEIGHTS.card(name)


def card_for(name_or_path: object) -> WeightCard | None:
    """Return the card of a name or of a hub repository that is one model, None for anything else."""
    text = str(name_or_path)
    if text in WEIGHTS:
        return WEIGHTS[text]
    if text.count("/") != 1:
        return None
    return next((card for card in WEIGHTS.values() if card.repository == text and card.file is None), None)
