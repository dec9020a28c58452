"""Weight cards: what each published or bundled checkpoint is, where it lies, and under which license."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from aural.core.config import Config, read_mapping
from aural.core.errors import ConfigError, near_miss


class WeightCard(Config):
    """One checkpoint: either a file or repository on the hub, or a folder bundled with the package."""

    renamed_keys: ClassVar = {"weights_licence": "weights_license"}

    name: str
    title: str
    repository: str | None = None
    file: str | None = None
    revision: str | None = None
    sha256: str | None = None
    folder: str | None = None
    audio: str
    text: str
    window_s: float
    sample_rate_hz: int
    embed_dim: int
    status: Literal["published", "stand-in", "own"] = "published"
    weights_license: str
    citation: str
    notes: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> WeightCard:
        if (self.repository is None) == (self.folder is None):
            raise ValueError("exactly one of repository and folder must be given")
        return self

    def bundled(self) -> Path:
        """The folder inside the installed package."""
        return Path(str(resources.files("aural"))) / str(self.folder)


@cache
def weight_cards() -> dict[str, WeightCard]:
    """All cards of catalog/weights by name."""
    folder = Path(str(resources.files("aural"))) / "catalog" / "weights"
    cards = [WeightCard.parse(read_mapping(file), file.name) for file in sorted(folder.glob("*.toml"))]
    return {card.name: card for card in cards}


def weight_card(name: str) -> WeightCard:
    """The card of an exact name; ConfigError names the near miss."""
    try:
        return weight_cards()[name]
    except KeyError:
        raise ConfigError(f'unknown model "{name}"; {near_miss(name, weight_cards())}') from None
