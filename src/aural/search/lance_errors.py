"""Turn the errors of LanceDB, which come as several types, into errors that name the library and the fix."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from aural.core.errors import AuralError, DataError, one_line
from aural.search.folder import DamagedLibraryError, UnusableLibraryError

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_NOT_DAMAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE}
"""Errors of the system after which the library is as it was."""


@contextlib.contextmanager
def lance_errors(folder: Path) -> Iterator[None]:
    """Turn the errors of LanceDB, which come as several types, into a DataError that names the library and the fix."""
    try:
        yield
    except AuralError:
        raise
    except (ValueError, RuntimeError, OSError) as error:
        raise _sentence(folder, error) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Rust; it is no Exception
            raise
        raise _sentence(folder, error) from None


def _sentence(folder: Path, error: BaseException) -> DataError:
    code = getattr(error, "errno", None)
    if code is None and (named := _OS_ERROR.search(str(error))):
        code = int(named.group(1))
    if code in _NOT_DAMAGE:
        reason = os.strerror(code)
        return UnusableLibraryError(
            f"{folder}: cannot be used ({reason}); check the folder's permissions and the free space"
        )
    return DamagedLibraryError(folder, one_line(error, 160))
