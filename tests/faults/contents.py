"""Read what a command left in a folder, so that contents can be compared and half-written files are noticed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet

MEASURED = {"seconds", "seconds_embedding", "clips_embedded", "peak_memory_mb", "stamp", "began", "date", "commit"}
"""Keys of JSON files whose values differ between equal runs."""


def contents(folder: Path) -> dict[str, Any]:
    """Return the content of every visible file below a folder by its relative name; a half-written file fails."""
    names = {file: file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file()}
    visible = {file: name for file, name in names.items() if not any(part.startswith(".") for part in name.parts)}
    return {str(name): content(file) for file, name in visible.items()}


def content(file: Path) -> Any:
    """Return a file's content without measured values; AssertionError if it cannot be read completely."""
    try:
        if file.suffix == ".json":
            return _without_measured(json.loads(file.read_text(encoding="utf-8")))
        if file.suffix == ".parquet":
            return parquet.read_table(file).to_pylist()
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                return {name: arrays[name].tolist() for name in sorted(arrays)}
    except Exception as error:
        raise AssertionError(f"{file} is half written: {error}") from error
    if file.suffix in (".html", ".md"):
        return re.sub(r"\d+(\.\d+)? s\b", "", file.read_text(encoding="utf-8"))
    return hashlib.sha256(file.read_bytes()).hexdigest()


def fingerprint(folder: Path) -> str:
    """Return a hash of every name and byte below a folder; the lock of a library, which holds a note, is empty."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() and path.name != "writer.lock" else b""
        digest.update(f"{path.relative_to(folder)}\0{len(data)}\0{path.is_dir()}\0".encode() + data)
    return digest.hexdigest()


def _without_measured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_measured(one) for key, one in value.items() if key not in MEASURED}
    return [_without_measured(one) for one in value] if isinstance(value, list) else value
