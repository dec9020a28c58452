"""Write files and folders so that readers see the old content or the new, never a part of it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from aural.core.errors import AuralError, DataError, WriteError


@contextmanager
def atomic_write(path: str | Path, error: type[AuralError] = WriteError, *, parents: bool = False) -> Iterator[Path]:
    """Yield a temporary path in the same folder as `path` and move it to `path` when the block ends.

    The block writes a file or makes a folder at the temporary path, which keeps the suffix of `path`. When the block
    raises, the temporary file or folder is deleted and `path` is unchanged. An existing file is replaced; an existing
    folder is not (OSError). The content is flushed to disk before the move, so that a crash leaves no empty file. What
    a killed process of this machine left in the folder is deleted first; see `remove_stale`.

    parents: create missing folders above the file, and delete them again if the block raises.

    Raises `error` with one sentence when the system refuses to write (no space, no permission, missing folder).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "scores.json"
    ...     with atomic_write(target) as part:
    ...         _ = part.write_text("{}")
    ...     target.read_text(), [file.name for file in Path(folder).iterdir()]
    ('{}', ['scores.json'])
    """
    path = Path(path)
    if parents:
        with made_parents(path, error), atomic_write(path, error) as part:
            yield part
        return
    if not path.absolute().parent.is_dir():
        raise error(f"{path}: the folder {path.absolute().parent} does not exist; create it first")
    if os.path.lexists(path):
        check_regular(path, error)  # a pipe or device would be replaced by a file
    remove_stale(path.parent)
    part = path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.part{path.suffix}")
    try:
        yield part
        if part.is_file():
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
        os.replace(part, path)
    except IsADirectoryError as failure:
        raise error(f"{path}: is a folder; name a file") from failure
    except AuralError:
        raise
    except Exception as failure:
        reason = system_reason(failure)
        if reason is None:
            raise
        raise error(f"{path}: cannot be written ({reason}); check the folder and the free space") from failure
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            with suppress(OSError):  # the reason for which it cannot be deleted is that for which the write failed
                part.unlink(missing_ok=True)


def user_cache() -> Path:
    """Return the user's cache folder: `$XDG_CACHE_HOME/aural`, or `~/.cache/aural` if that variable is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aural"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, so that two processes never write the same result at the same time."""
    with made_parents(path), path.open("a") as stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        except ImportError:  # not on Windows: there, do not start two processes that write it
            pass
        yield


def remove_stale(folder: Path) -> None:
    """Delete the temporary files and folders of `atomic_write` whose process was killed; a process does this once.

    Their names hold the machine and the number of the process. Those of other machines are kept: their processes may
    be running.
    """
    process = (os.getpid(), folder.absolute())
    if process in _CLEARED:
        return
    _CLEARED.add(process)
    for part in folder.glob(f".*.{_machine()}-*.part*"):
        number = _PART.search(part.name)
        if number is None or _runs(int(number.group(1))):
            continue
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Return whether a process of this machine runs; True if the system does not say."""
    if os.name == "nt":
        return True  # os.kill would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@cache
def _machine() -> str:
    """Return six characters that differ between machines, for names on a shared disk."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


_CLEARED: Final[set[tuple[int, Path]]] = set()
_PART: Final = re.compile(r"-(\d+)\.part[^/]*$")


def system_reason(failure: Exception) -> str | None:
    """Return what the system says about a failed read or write, or None if it is another failure.

    Libraries in other languages report the system's errors in their messages: "... (os error 28)" (Rust), or
    "PytorchStreamWriter failed writing file ..." (torch).

    >>> system_reason(RuntimeError("I/O error: No space left on device (os error 28)"))
    'No space left on device'
    """
    if isinstance(failure, OSError):
        return failure.strerror or str(failure)
    text = str(failure)
    if code := _OS_ERROR.search(text):
        return os.strerror(int(code.group(1)))
    if any(part in text for part in _WRITE_FAILURES):
        return "the disk refused a part of it"
    return None


_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")
_WRITE_FAILURES: Final = (
    "PytorchStreamWriter failed writing",
    "inline_container.cc",
    "unexpected pos",
    "iostream error",
    "Error opening",
    "System error",
)


def check_folder(folder: str | Path, error: type[AuralError] = DataError) -> Path:
    """Return the path of a folder to write to. Raises `error` if its name is blank or it is a file; creates nothing."""
    if not str(folder).strip():
        raise error("the name of the folder to write is empty; name a folder")
    path = Path(folder)
    for place in (path, *path.parents):
        if place.is_dir():
            break
        if place == path and os.path.lexists(path):
            raise error(f"{path}: is a file; name a folder")
        if os.path.lexists(place):
            raise error(f"{path}: cannot be created, because {place} is a file; name another folder")
    return path


def make_folder(folder: str | Path, error: type[AuralError] = WriteError) -> Path:
    """Create a folder to write to, with its parents, and return its path; see `check_folder`."""
    path = check_folder(folder, error)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise error(f"{path}: cannot be created ({failure.strerror}); name another folder") from None
    return path


@contextmanager
def filled_folder(folder: str | Path, error: type[AuralError] = WriteError) -> Iterator[Path]:
    """Create a folder for the block to fill; when the block raises, delete what was created; see `make_folder`.

    A folder that existed before is kept, with what the block wrote to it.
    """
    path = check_folder(folder, error)
    missing = [place for place in (path, *path.parents) if not place.exists()]
    try:
        yield make_folder(path, error)
    except BaseException:
        if missing:
            shutil.rmtree(missing[-1], ignore_errors=True)
        raise


def delete(path: Path, error: type[AuralError] = WriteError) -> None:
    """Delete a file, or a folder with its content, if it is there. Raises `error` that names the path.

    `shutil.rmtree` names only the last part of the path in its errors.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise error(f"{path}: cannot be deleted ({reason}); check its permissions and repeat the command") from failure


@contextmanager
def made_parents(path: Path, error: type[AuralError] = WriteError) -> Iterator[None]:
    """Create the missing folders above a file for the block to write it; delete those that are empty afterwards."""
    missing = [place for place in path.parents if not place.exists()]
    try:
        if missing:
            make_folder(path.parent, error)
        yield
    finally:
        for place in missing:
            with suppress(OSError):  # it holds the file, or what another process wrote
                place.rmdir()


def check_regular(path: Path, error: type[AuralError] = DataError) -> os.stat_result:
    """Return the status of a file. Raises `error` for a pipe, socket or device, which would block or never end.

    Raises UnicodeEncodeError for a name that is not UTF-8: most libraries cannot open it.
    """
    str(path).encode("utf-8")
    status = path.stat()
    mode = status.st_mode
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    kind = kinds.get(stat.S_IFMT(mode))
    if kind is not None:
        raise error(f"{path}: is a {kind}, not a file; write its content to a file first")
    return status


def check_readable(path: Path, error: type[AuralError] = DataError) -> None:
    """Raise `error` for a pipe, socket or device in place of a text file; pipes of the shell (/dev/fd/63) are read."""
    if not str(path).startswith(("/dev/fd/", "/dev/stdin", "/proc/self/fd/")):
        check_regular(path, error)


def write_text(path: str | Path, text: str, error: type[AuralError] = WriteError, *, parents: bool = False) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all; see `atomic_write`."""
    with atomic_write(path, error, parents=parents) as part:
        part.write_text(text, encoding="utf-8")
