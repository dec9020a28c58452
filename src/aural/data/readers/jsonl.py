"""Reader `jsonl`: records in JSON lines, JSON, YAML, or pickles of plain values."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import model_validator

from aural.core.errors import ConfigError, DataError, near_miss
from aural.data.readers import tables
from aural.data.readers.base import Reader
from aural.data.readers.files import Files, suffix
from aural.data.readers.registry import READERS
from aural.data.readers.template import Record


@READERS.register("jsonl")
class Jsonl(Reader):
    """A reader of a list of mappings, or of a mapping of records.

    In a mapping, each key becomes the field `key`, and a value that is not a mapping becomes the field `value`. `at` is
    the dotted path of the list or mapping in the file ("data"). `each` is the name of a list inside a record: each of
    its entries becomes a record that also has the fields of the outer record.
    """

    kind: ClassVar[str] = "jsonl"
    file: str
    at: str = ""
    each: str = ""

    @model_validator(mode="after")
    def _check_required(self) -> Jsonl:
        if not self.audio:
            raise ConfigError('reader "jsonl" needs the key "audio"')
        return self

    @property
    def anchor(self) -> str:
        return self.file

    def records(self, files: Files) -> Iterator[tuple[str, Record]]:
        for path in tables.tables(files, self.file):
            for number, entry in enumerate(self._entries(files.root / path), start=1):
                where = f"{path}: entry {number}"
                if not isinstance(entry, dict):
                    raise DataError(f"{files.root / where}: is {type(entry).__name__}, expected a mapping of fields")
                record = {"table": path, **entry}
                if not self.each:
                    yield where, record
                    continue
                inner = record.pop(self.each, None)
                if not isinstance(inner, list):
                    raise DataError(f'{files.root / where}: has no list "{self.each}"')
                for fields in inner:
                    yield where, record | dict(fields)

    def _entries(self, path: Path) -> Iterator[Any]:
        content = _load(path)
        for step in filter(None, self.at.split(".")):
            if not isinstance(content, dict) or step not in content:
                keys = content if isinstance(content, dict) else ()
                raise DataError(f'{path}: has no "{step}"; {near_miss(step, map(str, keys))}')
            content = content[step]
        if isinstance(content, dict):
            for key, entry in content.items():
                yield {"key": str(key)} | (entry if isinstance(entry, dict) else {"value": entry})
        elif isinstance(content, list):
            yield from content
        else:
            raise DataError(f"{path}: contains {type(content).__name__}, expected a list or a mapping")


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler of lists, mappings, strings and numbers that rejects every class and function without calling it."""

    def find_class(self, module: str, name: str) -> Any:
        raise DataError(f"contains {module}.{name}; only pickles of plain strings and numbers are supported")


def _load(path: Path) -> Any:
    try:
        match suffix(path.name):
            case ".jsonl":
                with path.open(encoding="utf-8") as stream:
                    return [json.loads(line) for line in stream if line.strip()]
            case ".json":
                return json.loads(path.read_bytes())
            case ".yaml" | ".yml":
                import yaml

                loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
                return yaml.load(path.read_bytes(), Loader=loader)  # the safe loader, in C where built
            case ".pkl" | ".pickle":
                with path.open("rb") as stream:
                    return _PlainUnpickler(stream, encoding="latin1").load()
            case other:
                suffixes = ".jsonl .json .yaml .yml .pkl .pickle"
                raise DataError(f"{other or 'a file without suffix'} is not supported; use one of {suffixes}")
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (ValueError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]})") from None
    except Exception as error:  # yaml's errors, without importing yaml for the other formats
        if type(error).__module__.startswith("yaml"):
            raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]})") from None
        raise
