"""Write files and folders so that readers see the old content or the new, never a part of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aural.core.errors import AuralError, DataError


@contextmanager
def atomic_write(path: str | Path, error: type[AuralError] = DataError) -> Iterator[Path]:
    """Yield a temporary path in the same folder as `path` and move it to `path` when the block ends.

    The block writes a file or makes a folder at the temporary path, which keeps the suffix of `path`. When the block
    raises, the temporary file or folder is deleted and `path` is unchanged. An existing file is replaced; an existing
    folder is not (OSError). The content is flushed to disk before the move, so that a crash leaves no empty file.

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
    part = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        if part.is_file():
            with part.open("rb") as stream:
                os.fsync(stream.fileno())
        os.replace(part, path)
    except IsADirectoryError as failure:
        raise error(f"{path}: is a folder; name a file") from failure
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise error(f"{path}: cannot be written ({reason}); check the folder and the free space") from failure
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def write_text(path: str | Path, text: str, error: type[AuralError] = DataError) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all; see `atomic_write`."""
    with atomic_write(path, error) as part:
        part.write_text(text, encoding="utf-8")
