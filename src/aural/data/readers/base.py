"""Base of all readers: turn the records of a table into items (clips with labels, captions, events) by templates.

A reader gives records (`records`); everything else (which file a record means, its labels, captions, split, group) is
stated by templates in the card, so a new data set needs no code.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

from pydantic import Field, field_validator

from aural.core.config import Config
from aural.core.errors import DataError, near_miss
from aural.data.readers.files import Files
from aural.data.readers.lookup import Lookup, Tables
from aural.data.readers.template import Record, fill, pieces, value

T = TypeVar("T")

PLAIN_END = ("", "", "", "")  # nothing behind the last field of a template
PYTHON_LIST = "python-list"  # separator of fields that hold a list in Python's notation


@dataclass(frozen=True, slots=True)
class Event:
    """A labeled stretch of a clip, in seconds from its start."""

    onset_s: float
    offset_s: float
    label: str


@dataclass(frozen=True, slots=True)
class Item:
    """One clip of a data set as its tables describe it."""

    wanted: str  # the first path that the card's template gives
    path: str  # the file that is there, relative to the root; "" where none is
    split: str
    labels: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    fold: str = ""
    group: str = ""
    speaker: str = ""
    language: str = ""
    transcript: str = ""
    license: str = ""
    meta: tuple[tuple[str, str], ...] = ()

    def joined(self, other: Item) -> Item:
        """Merge two records of one clip: concatenate labels, captions and events without repetition."""
        return dataclasses.replace(
            self,
            labels=_union(self.labels, other.labels),
            captions=_union(self.captions, other.captions),
            events=_union(self.events, other.events),
            meta=_union(self.meta, other.meta),
        )


class Reader(Config):
    """Parameters that every reader knows; texts in braces are fields of its records (see `template`)."""

    kind: ClassVar[str]

    split: str  # "train", or "{split|splits}"; a record whose split is "" is passed over
    audio: tuple[str, ...] = ()  # path of the sound, the first that exists; suffix optional, `**/` = any folder
    extract: dict[str, str] = Field(default_factory=dict)  # field -> regex whose named groups become fields
    keep: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # only records whose field has one of the values
    label: str = ""
    separator: str = ""  # splits the label into several; "python-list" for "['a', 'b']"
    names: str = ""  # table that turns each label into its name
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
    optional: bool = False  # published apart: when its table is not there, the rest is read

    @field_validator("extract")
    @classmethod
    def _patterns(cls, patterns: dict[str, str]) -> dict[str, str]:
        for pattern in patterns.values():
            re.compile(pattern)
        return patterns

    @property
    @abstractmethod
    def anchor(self) -> str:
        """A glob of what must be there for this part to be read: its table, or its sounds."""

    @abstractmethod
    def records(self, files: Files) -> Iterator[tuple[str, Record]]:
        """Yield (where it is, fields) of each record in file order; where: "esc50.csv: line 7"."""

    def needs(self) -> Iterator[str]:
        """Return the globs of all tables that this part reads."""
        yield self.anchor
        for table in self.tables.values():
            yield from table.needs()

    def items(self, files: Files) -> Iterator[Item]:
        """Yield the clips, one item each, in the order of their first record."""
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
                raise DataError(f'"{text}" is not of the form {pattern}')
            record |= {key: text or "" for key, text in match.groupdict().items()}
        for name, kept in self.keep.items():
            if str(value(name, record)) not in kept:
                return None

        def say(template: str) -> str:
            return fill(template, record, tables.translate).strip() if template else ""

        if not (split := say(self.split)):
            return None
        paths = map(say, self.audio)
        wanted = next(paths)
        labels = self._labels(record, tables)
        return Item(
            wanted=wanted,
            path=files.sound([wanted]) or files.sound(paths),
            split=split,
            labels=labels if not self.onset_s else tuple(dict.fromkeys(labels)),
            captions=tuple(text for text in map(say, self.captions) if text),
            events=self._events(record, labels, say),
            fold=say(self.fold),
            group=say(self.group),
            speaker=say(self.speaker),
            language=say(self.language),
            transcript=say(self.transcript),
            license=say(self.license),
            meta=tuple((key, text) for key, template in self.meta.items() if (text := say(template))),
        )

    def _labels(self, record: Record, tables: Tables) -> tuple[str, ...]:
        if not self.label:
            return ()
        (before, name, table, form), *rest = pieces(self.label)  # a label that is one field may be a list of texts
        raw = value(name, record) if name and not (before or table or form) and rest == [PLAIN_END] else None
        if isinstance(raw, list):
            parts = [str(part) for part in raw]
        else:
            text = fill(self.label, record, tables.translate).strip()
            parts = python_list(text) if self.separator == PYTHON_LIST else _split(text, self.separator)
        names = (tables.translate(self.names, part.strip()) if self.names else part.strip() for part in parts)
        return tuple(name for name in names if name)

    def _events(self, record: Record, labels: tuple[str, ...], say: Any) -> tuple[Event, ...]:
        if not (self.onset_s and labels and say(self.onset_s)):
            return ()
        onset, offset = (seconds(say(template)) for template in (self.onset_s, self.offset_s))
        if not 0 <= onset <= offset:
            raise DataError(f"onset {onset} s and offset {offset} s are not in order")
        return tuple(Event(onset, offset, label) for label in labels)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a regular expression once."""
    return re.compile(pattern)


def seconds(text: str) -> float:
    """Parse a time in seconds."""
    try:
        return float(text)
    except ValueError:
        raise DataError(f'"{text}" is not a time in seconds') from None


def python_list(text: str) -> list[str]:
    """Parse a list of texts in Python's notation; an empty text is an empty list."""
    try:
        return [str(part) for part in ast.literal_eval(text or "[]")]
    except (ValueError, SyntaxError, TypeError):
        raise DataError(f'"{text[:60]}" is not a list') from None


def check_split(split: str, valid: tuple[str, ...]) -> str:
    """Return the split if it is valid."""
    if split not in valid:
        raise DataError(f'unknown split "{split}"; {near_miss(split, valid)}')
    return split


def _union(first: tuple[T, ...], second: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator and text else [text]
