"""Dataset cards: descriptions of public data sets, with their origin, folder layout and expected content.

A card is a data file (`catalog/datasets/NAME.toml`). No code in the package is specific to one data set.
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
    """The expected content of a split."""

    clips: int | None = None  # None: not published, or depends on the release
    captions: int | None = None
    note: str = ""


class DatasetCard(Config):
    """The description of one version of one data set."""

    renamed_keys: ClassVar = {"licence": "license", "licence_text": "license_text"}

    name: str
    title: str
    version: str
    homepage: str
    license: str  # of the sounds
    license_text: str = ""  # of labels and captions, where it differs
    citation: str
    get: str  # instructions in words: where it is published and what to unpack where
    source: str  # where the facts of this card come from, and which of them are uncertain
    language: str = ""  # of the captions
    holds: tuple[str, ...] = ()  # captions, labels, events, speech, music ...
    classes: tuple[str, ...] = ()
    class_count: int | None = None
    splits: dict[str, Split]
    parts: tuple[SerializeAsAny[Reader], ...] = ()
    checksums: dict[str, str] = Field(default_factory=dict)  # archive -> "md5:..."
    ignore: tuple[str, ...] = ()  # sound files of the download that are not clips
    known_bad: dict[str, str] = Field(default_factory=dict)  # glob of sound files -> their defect
    gathered: bool = False  # users download each sound from the web, so some are no longer available
    notes: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _readers(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Merge `defaults` into each part and build the reader of each part."""
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
        """Published number of clips in all splits, or None if the number of any split is not published."""
        counts = [split.clips for split in self.splits.values()]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def expected_classes(self) -> int | None:
        """Number of classes: the length of the class list, or `class_count` if the card lists no classes."""
        return len(self.classes) or self.class_count

    def files(self, folder: str | Path) -> Files:
        """Return the files of a download. `folder` is the folder of the data set, or one or two levels above it."""
        return find_root(folder, [part.anchor for part in self.parts if not part.optional])

    def items(self, files: Files, splits: Sequence[str] = (), *, partial: bool = False) -> Iterator[Item]:
        """Yield the clips of all parts, including clips whose sound file is missing.

        splits: Only clips of these splits; empty for all splits.
        partial: Skip every part whose table is missing, not only the parts that the card marks as optional.

        Raises:
            DataError: the table of a required part is missing, or a table cannot be read.
        """
        for part in self.parts:
            is_skipped = (partial or part.optional) and not files.glob(part.anchor)
            if is_skipped or (splits and _static(part.split, splits) is False):
                continue
            for item in part.items(files):
                check_split(item.split, SPLITS)
                if not splits or item.split in splits:
                    yield item


def reader(values: Mapping[str, Any], number: int) -> Reader:
    """Build the reader of a part: the key `reader` is its name, and the other keys are its parameters."""
    rest = dict(values)
    name = str(rest.pop("reader", ""))
    return READERS[name].parse(rest, f"parts.{number} ({name})")


DATASETS = Catalog("data set", "datasets", DatasetCard)


def card(name: str | Path) -> DatasetCard:
    """Return a card of the catalog by its exact name, or read a card from a .toml file."""
    return DATASETS.card(name)


def names() -> tuple[str, ...]:
    """Return the names of all cards in the catalog, sorted."""
    return tuple(DATASETS)


def _static(split: str, wanted: Sequence[str]) -> bool | None:
    """Return whether a fixed split is selected, or None if the split depends on the record."""
    return None if "{" in split else split in wanted
