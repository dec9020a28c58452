"""The base class of readers: convert the records of a table to items (clips with labels, captions, events).

A reader yields records (`records`). Templates in the card specify everything else: the file of a record, its labels,
captions, split and group. A new data set therefore needs no code.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, TypeVar

from pydantic import Field, field_validator

from aural.core.config import Config
from aural.core.errors import DataError, near_miss
from aural.data.readers.files import Files
from aural.data.readers.lookup import Lookup, Tables
from aural.data.readers.template import Record, fill, pieces, value

T = TypeVar("T")

PLAIN_END = ("", "", "", "")  # the last piece of a template that ends with a field
PYTHON_LIST = "python-list"  # separator for fields that contain a Python list literal


class Event(NamedTuple):
    """A labeled interval of a clip, in seconds from its start."""

    onset_s: float
    offset_s: float
    label: str


@dataclass(frozen=True, slots=True)
class Item:
    """One clip of a data set, as described by its tables."""

    wanted: str  # the first path that the card's templates give
    path: str  # the existing file, relative to the root, or "" if there is none
    split: str
    labels: tuple[str, ...]
    captions: tuple[str, ...]
    events: tuple[Event, ...]
    fold: str
    group: str
    speaker: str
    language: str
    transcript: str
    license: str
    meta: tuple[tuple[str, str], ...]

    def joined(self, other: Item) -> Item:
        """Return this item with the labels, captions, events and metadata of `other` appended, without duplicates."""
        return dataclasses.replace(
            self,
            labels=_union(self.labels, other.labels),
            captions=_union(self.captions, other.captions),
            events=_union(self.events, other.events),
            meta=_union(self.meta, other.meta),
        )


class Reader(Config):
    """Base class of readers, with the parameters that all of them have.

    Strings may be templates: names in braces are fields of the record (see `template`).
    """

    kind: ClassVar[str]

    split: str  # "train", or "{split|splits}"; records whose split is "" are skipped
    audio: tuple[str, ...] = ()  # paths of the sound, the first that exists; suffix optional, `**/` = any folder
    extract: dict[str, str] = Field(default_factory=dict)  # field -> regex whose named groups become fields
    keep: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # field -> values; other records are skipped
    label: str = ""
    separator: str = ""  # splits the label into several; "python-list" for "['a', 'b']"
    names: str = ""  # table that maps each label to its name
    captions: tuple[str, ...] = ()
    onset_s: str = ""
    offset_s: str = ""
    fold: str = ""
    group: str = ""
    speaker: str = ""
    language: str = ""
    transcript: str = ""
    license: str = ""
    meta: dict[str, str] = Field(default_factory=dict)
    tables: dict[str, Lookup] = Field(default_factory=dict)
    optional: bool = False  # published separately: if its table is missing, only the other parts are read

    @field_validator("extract")
    @classmethod
    def _patterns(cls, patterns: dict[str, str]) -> dict[str, str]:
        for pattern in patterns.values():
            re.compile(pattern)
        return patterns

    @property
    @abstractmethod
    def anchor(self) -> str:
        """Glob of the files that this part requires: its table, or its sounds."""

    @abstractmethod
    def records(self, files: Files) -> Iterator[tuple[str, Record]]:
        """Yield (position, fields) of each record in file order. A position is for example "esc50.csv: line 7"."""

    def needs(self) -> Iterator[str]:
        """Yield the globs of all tables that this part reads."""
        yield self.anchor
        for table in self.tables.values():
            yield from table.needs()

    def items(self, files: Files) -> Iterator[Item]:
        """Yield one item per clip, in the order of their first records.

        Raises:
            DataError: a table is missing, or a record is invalid; the message gives the file and line.
        """
        tables = Tables(self.tables, files)
        items: dict[str, Item] = {}
        for where, record in self.records(files):
            try:
                if (item := self._item(record, files, tables)) is not None:
                    key = item.path or item.wanted
                    items[key] = items[key].joined(item) if key in items else item
            except DataError as error:
                raise DataError(f"{files.root / where}: {error}") from None
        yield from items.values()

    def _item(self, record: Record, files: Files, tables: Tables) -> Item | None:
        for name, pattern in self.extract.items():
            text = str(value(name, record))
            if (match := compiled(pattern).search(text)) is None:
                raise DataError(f'"{text}" does not match {pattern}')
            record |= {key: group or "" for key, group in match.groupdict().items()}
        for name, accepted in self.keep.items():
            if str(value(name, record)) not in accepted:
                return None

        def filled(template: str) -> str:
            return fill(template, record, tables.translate).strip() if template else ""

        if not (split := filled(self.split)):
            return None
        paths = map(filled, self.audio)
        wanted = next(paths)
        labels = self._labels(record, tables)
        return Item(
            wanted=wanted,
            path=files.sound([wanted]) or files.sound(paths),
            split=split,
            labels=labels if not self.onset_s else tuple(dict.fromkeys(labels)),
            captions=tuple(text for text in map(filled, self.captions) if text),
            events=self._events(record, labels, filled),
            fold=filled(self.fold),
            group=filled(self.group),
            speaker=filled(self.speaker),
            language=filled(self.language),
            transcript=filled(self.transcript),
            license=filled(self.license),
            meta=tuple((key, text) for key, template in self.meta.items() if (text := filled(template))),
        )

    def _labels(self, record: Record, tables: Tables) -> tuple[str, ...]:
        if not self.label:
            return ()
        (before, name, table, form), *rest = pieces(self.label)  # a label that is one field may be a list of strings
        raw = value(name, record) if name and not (before or table or form) and rest == [PLAIN_END] else None
        if isinstance(raw, list):
            parts = [str(part) for part in raw]
        else:
            text = fill(self.label, record, tables.translate).strip()
            parts = python_list(text) if self.separator == PYTHON_LIST else _split(text, self.separator)
        names = (tables.translate(self.names, part.strip()) if self.names else part.strip() for part in parts)
        return tuple(name for name in names if name)

    def _events(self, record: Record, labels: tuple[str, ...], filled: Any) -> tuple[Event, ...]:
        if not (self.onset_s and labels and filled(self.onset_s)):
            return ()
        onset, offset = (seconds(filled(template)) for template in (self.onset_s, self.offset_s))
        if not 0 <= onset <= offset:
            raise DataError(f"onset {onset} s and offset {offset} s must satisfy 0 <= onset <= offset")
        return tuple(Event(onset, offset, label) for label in labels)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression, with caching."""
    return re.compile(pattern)


def seconds(text: str) -> float:
    """Parse a time in seconds."""
    try:
        return float(text)
    except ValueError:
        raise DataError(f'"{text}" is not a time in seconds') from None


def python_list(text: str) -> list[str]:
    """Parse a Python list literal as strings; an empty string gives an empty list."""
    try:
        return [str(part) for part in ast.literal_eval(text or "[]")]
    except (ValueError, SyntaxError, TypeError):
        raise DataError(f'"{text[:60]}" is not a list') from None


def check_split(split: str, allowed: tuple[str, ...]) -> str:
    """Return the split, or raise DataError if it is not one of the allowed splits."""
    if split not in allowed:
        raise DataError(f'unknown split "{split}"; {near_miss(split, allowed)}')
    return split


def _union(first: tuple[T, ...], second: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator and text else [text]
