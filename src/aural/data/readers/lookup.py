"""Tables that turn a code into a word or a file into its split: written in the card, or published with the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import Field, model_validator

from aural.core.config import Config
from aural.core.errors import ConfigError, DataError, near_miss
from aural.data.readers.files import Files
from aural.data.readers.tables import records, tables
from aural.data.readers.template import value


class Lookup(Config):
    """One table, in one of three forms.

    - `values`: the pairs themselves;
    - `file`: a published csv or tsv with the columns `key` and `value`, or any text in which the regular expression
      `pattern` finds the groups key and value;
    - `lists`: word -> published file that lists the keys of that word, one a line (split lists).

    `default` is the word of a key that is nowhere; without it such a key is an error.
    """

    values: dict[str, str] = Field(default_factory=dict)
    file: str = ""
    key: str = ""
    value: str = ""
    columns: tuple[str, ...] = ()
    delimiter: str = ","
    lists: dict[str, str] = Field(default_factory=dict)
    pattern: str = r"^[ \t]*(?P<key>\S.*?)[ \t\r]*$"
    default: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Lookup:
        if sum(map(bool, (self.values, self.file, self.lists))) != 1:
            raise ConfigError("a table has one of values, file, lists")
        return self

    def needs(self) -> Iterator[str]:
        """Return the globs of the published files."""
        yield from (path for path in (self.file, *self.lists.values()) if path)

    def pairs(self, files: Files) -> dict[str, str]:
        """Key -> word."""
        if self.values:
            return self.values
        if self.key:
            rows = records(files, self.file, self.delimiter, self.columns)
            return {value(self.key, record): value(self.value, record) for _, record in rows}
        listed = {key: word for word, path in self.lists.items() for key, _ in self._matches(files, path)}
        return listed or dict(self._matches(files, self.file))

    def _matches(self, files: Files, glob: str) -> Iterator[tuple[str, str]]:
        for path in tables(files, glob) if glob else ():
            for match in re.finditer(self.pattern, (files.root / path).read_text("utf-8-sig"), re.MULTILINE):
                yield match["key"], match.groupdict().get("value") or ""


class Tables:
    """The tables of one reader, each read when it is first asked."""

    def __init__(self, lookups: dict[str, Lookup], files: Files) -> None:
        self._lookups, self._files = lookups, files
        self._read: dict[str, dict[str, str]] = {}

    def translate(self, name: str, key: str) -> str:
        """Return the word for `key` in table `name`."""
        if name not in self._read:
            if name not in self._lookups:
                raise ConfigError(f'the card has no table "{name}"; {near_miss(name, self._lookups)}')
            self._read[name] = self._lookups[name].pairs(self._files)
        default: Any = self._lookups[name].default
        word = self._read[name].get(key, default)
        if word is None:
            raise DataError(f'"{key}" is not in table "{name}"; {near_miss(key, self._read[name])}')
        return str(word)
