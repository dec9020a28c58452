"""Read and write files on this machine and in object stores (fsspec) with the same functions."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aural.core.errors import DataError, MissingDependencyError
from aural.core.files import atomic_write


def is_remote(url: str) -> bool:
    """Return whether a location is outside this machine ("s3://...", "memory://..."; "file://" is not)."""
    return "://" in url and not url.startswith("file://")


def local_path(url: str) -> Path:
    """Return the path of a location on this machine."""
    return Path(url.removeprefix("file://"))


def filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a location and the path inside it.

    Raises:
        MissingDependencyError: fsspec is not installed.
        DataError: fsspec has no support for this kind of location.
    """
    try:
        import fsspec
    except ImportError:
        raise MissingDependencyError(f"{url}: object stores need fsspec; install aural[data]") from None
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise DataError(f"{url}: cannot be reached ({error})") from None
    return system, path


def expand(locations: str | Sequence[str]) -> tuple[str, ...]:
    """Return the shards that folders, globs and names stand for, sorted within each.

    Raises:
        DataError: a location has no shards.
    """
    shards: list[str] = []
    for location in [locations] if isinstance(locations, str) else locations:
        names = _expand(str(location))
        if not names:
            raise DataError(f"{location}: no shards (.tar) there; give their folder, a glob, or their names")
        shards += names
    return tuple(shards)


def _expand(location: str) -> list[str]:
    is_pattern = any(sign in location for sign in "*?[")
    if not is_remote(location):
        path = local_path(location)
        if path.is_dir():
            # Hidden files are incomplete: a killed run left them.
            return sorted(str(entry) for entry in path.glob("*.tar") if not entry.name.startswith("."))
        if is_pattern:
            return sorted(glob.glob(str(path)))
        return [str(path)] if path.is_file() else []
    system, inner = filesystem(location)
    if system.isdir(inner):
        inner, is_pattern = f"{inner.rstrip('/')}/*.tar", True
    if is_pattern:
        names = system.glob(inner)
    else:
        names = [inner] if system.exists(inner) else []
    return [system.unstrip_protocol(name) for name in sorted(names)]


@contextlib.contextmanager
def local_copy(url: str) -> Iterator[Path]:
    """Yield a path with the contents of `url`: the file itself if local, else a copy that is deleted afterwards."""
    if not is_remote(url):
        if not local_path(url).is_file():
            raise DataError(f"{url}: no such file")
        yield local_path(url)
        return
    system, path = filesystem(url)
    handle, copy = tempfile.mkstemp(suffix=".tar")
    os.close(handle)
    try:
        try:
            system.get_file(path, copy)
        except FileNotFoundError:
            raise DataError(f"{url}: no such file") from None
        except OSError as error:
            raise DataError(f"{url}: cannot be fetched ({error}); check access and try again") from None
        yield Path(copy)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(copy)


@contextlib.contextmanager
def atomic_upload(folder: str, name: str) -> Iterator[Path]:
    """Yield a path to write to; its content appears as `folder`/`name` when the block ends without an error.

    The folder may be local or remote. Readers never see a part of the file.
    """
    if not is_remote(folder):
        with atomic_write(local_path(folder) / name, parents=True) as part:
            yield part
        return
    handle, copy = tempfile.mkstemp()
    os.close(handle)
    try:
        yield Path(copy)
        system, path = filesystem(folder)
        system.makedirs(path, exist_ok=True)
        system.put_file(copy, f"{path.rstrip('/')}/{name}")
    except OSError as error:
        raise DataError(
            f"{folder}/{name}: cannot be written ({error.strerror or error}); check access and free space"
        ) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(copy)


def read_bytes(folder: str, name: str) -> bytes | None:
    """Return the content of a small file, or None if there is none."""
    if not is_remote(folder):
        path = local_path(folder) / name
        return path.read_bytes() if path.is_file() else None
    system, inner = filesystem(f"{folder.rstrip('/')}/{name}")
    return bytes(system.cat_file(inner)) if system.exists(inner) else None


def file_size(folder: str, name: str) -> int | None:
    """Return the number of bytes of a file, or None if there is none."""
    if not is_remote(folder):
        path = local_path(folder) / name
        return path.stat().st_size if path.is_file() else None
    system, inner = filesystem(f"{folder.rstrip('/')}/{name}")
    return int(system.size(inner)) if system.exists(inner) else None
