"""Lookup tables, for example from code to label or from file to split, in the card or published with the data."""

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
    """A lookup table from key to value, in one of three forms.

    - `values`: the pairs in the card;
    - `file`: a published csv or tsv, with the names of its columns in `key` and `value`, or any text file in which the
      regular expression `pattern` matches the groups key and value;
    - `lists`: value -> published file that lists the keys of that value, one per line (split lists).

    `default` is the value of all other keys; without a default, another key is an error.
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
            raise ConfigError("a table needs exactly one of the keys values, file, lists")
        return self

    def needs(self) -> Iterator[str]:
        """Yield the globs of the published files."""
        yield from (path for path in (self.file, *self.lists.values()) if path)

    def pairs(self, files: Files) -> dict[str, str]:
        """Return the table as a mapping from key to value."""
        if self.values:
            return self.values
        if self.key:
            rows = records(files, self.file, self.delimiter, self.columns)
            return {value(self.key, record): value(self.value, record) for _, record in rows}
        listed = {key: entry for entry, path in self.lists.items() for key, _ in self._matches(files, path)}
        return listed or dict(self._matches(files, self.file))

    def _matches(self, files: Files, glob: str) -> Iterator[tuple[str, str]]:
        for path in tables(files, glob) if glob else ():
            for match in re.finditer(self.pattern, (files.root / path).read_text("utf-8-sig"), re.MULTILINE):
                yield match["key"], match.groupdict().get("value") or ""


class Tables:
    """The lookup tables of one reader, each read at its first use."""

    def __init__(self, lookups: dict[str, Lookup], files: Files) -> None:
        self._lookups, self._files = lookups, files
        self._read: dict[str, dict[str, str]] = {}

    def translate(self, name: str, key: str) -> str:
        """Return the value of `key` in table `name`.

        Raises:
            ConfigError: the card has no such table.
            DataError: the table has neither the key nor a default.
        """
        if name not in self._read:
            if name not in self._lookups:
                raise ConfigError(f'the card has no table "{name}"; {near_miss(name, self._lookups)}')
            self._read[name] = self._lookups[name].pairs(self._files)
        default: Any = self._lookups[name].default
        entry = self._read[name].get(key, default)
        if entry is None:
            raise DataError(f'"{key}" is not in table "{name}"; {near_miss(key, self._read[name])}')
        return str(entry)
