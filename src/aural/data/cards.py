"""Dataset cards: what a public data set is, where it comes from, how its folders are laid out and what must be there.

A card is data (`catalog/datasets/NAME.toml`); nothing in the package is written for one data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from aural.core.catalog import Catalog
from aural.core.config import Config
from aural.data.manifest import SPLITS
from aural.data.readers import READERS, Item, Reader
from aural.data.readers.base import check_split
from aural.data.readers.files import Files, find_root


class Split(Config):
    """The expected contents of a split."""

    clips: int | None = None  # None: not published, or depends on the release
    captions: int | None = None
    note: str = ""


class DatasetCard(Config):
    """One version of one data set."""

    renamed_keys: ClassVar = {"licence": "license", "licence_text": "license_text"}

    name: str
    title: str
    version: str
    homepage: str
    license: str  # of the sounds
    license_text: str = ""  # of labels and captions, where it differs
    citation: str
    get: str  # plain words: where it is published and what to unpack where
    source: str  # where the facts of this card were read, and what stayed unsure
    language: str = ""  # of the captions
    holds: tuple[str, ...] = ()  # captions, labels, events, speech, music ...
    classes: tuple[str, ...] = ()
    class_count: int | None = None
    splits: dict[str, Split]
    parts: tuple[SerializeAsAny[Reader], ...] = ()
    checksums: dict[str, str] = Field(default_factory=dict)  # archive -> "md5:..."
    ignore: tuple[str, ...] = ()  # sounds that belong to the download but are no clips
    known_bad: dict[str, str] = Field(default_factory=dict)  # glob of sounds -> what is wrong with them
    gathered: bool = False  # users gather the sounds themselves from the web, so some are always gone
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _readers(cls, values: dict[str, Any]) -> dict[str, Any]:
        """`defaults` in a card's file hold what its parts share; each part becomes its reader."""
        rest = {key: value for key, value in values.items() if key != "defaults"}
        parts = [values.get("defaults", {}) | part for part in values.get("parts", ()) if isinstance(part, dict)]
        return rest | {"parts": tuple(reader(part, number) for number, part in enumerate(parts))}

    @field_validator("splits")
    @classmethod
    def _splits(cls, splits: dict[str, Split]) -> dict[str, Split]:
        for split in splits:
            check_split(split, SPLITS)
        return splits

    @property
    def clips(self) -> int | None:
        """Published number of clips in all splits; None where one is not published."""
        counts = [split.clips for split in self.splits.values()]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def expected_classes(self) -> int | None:
        """Number of classes, listed or only counted."""
        return len(self.classes) or self.class_count

    def files(self, folder: str | Path) -> Files:
        """Return the files of a download; `folder` may be the data's folder or one or two levels above it."""
        return find_root(folder, [part.anchor for part in self.parts if not part.optional])

    def items(self, files: Files, splits: Sequence[str] = (), *, partial: bool = False) -> Iterator[Item]:
        """Return the clips of all parts (of the named splits), whether their sound exists or not.

        A part whose table is missing is an error, unless the card calls it optional or `partial` is given.
        """
        for part in self.parts:
            away = (partial or part.optional) and not files.glob(part.anchor)
            if away or (splits and _static(part.split, splits) is False):
                continue
            for item in part.items(files):
                check_split(item.split, SPLITS)
                if not splits or item.split in splits:
                    yield item


def reader(values: Mapping[str, Any], number: int) -> Reader:
    """Build a part of a card: a reader by name, with the other keys as its parameters."""
    rest = dict(values)
    name = str(rest.pop("reader", ""))
    return READERS[name].parse(rest, f"parts.{number} ({name})")


DATASETS = Catalog("data set", "datasets", DatasetCard)


def card(name: str | Path) -> DatasetCard:
    """Return a card of the catalog by exact name, or read any card by its path (a .toml file)."""
    return DATASETS.card(name)


def names() -> tuple[str, ...]:
    """Return the names of all cards in the catalog, sorted."""
    return tuple(DATASETS)


def _static(split: str, wanted: Sequence[str]) -> bool | None:
    """Whether a fixed split is wanted; None where it depends on the record."""
    return None if "{" in split else split in wanted
