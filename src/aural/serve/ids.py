"""Public ids of sounds: the ids of the library under a secret permutation.

The id of a sound in a library is a hash of its path, which anybody can compute. The server therefore shows and accepts
keyed ids, so that nobody can ask whether the library contains a certain path. The permutation of the 64-bit ids is a
balanced Feistel network with keyed BLAKE2b as its round function. Source: Luby and Rackoff (1988).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

from aural.core.errors import ConfigError

KEY_FILE: Final = "serve.key"
KEY_BYTES: Final = 32
ROUNDS: Final = 6
_HALF: Final = 4  # bytes


class PublicIds:
    """Converts between the ids of a library and the ids that clients see; both are 16 hex digits.

    >>> ids = PublicIds(bytes(32))
    >>> ids.reveal(ids.hide("00112233445566ff"))
    '00112233445566ff'
    >>> ids.hide("00112233445566ff") == PublicIds(bytes(31) + b"1").hide("00112233445566ff")
    False
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def hide(self, file: str) -> str:
        """Return the public id of a file of the library."""
        left, right = bytes.fromhex(file)[:_HALF], bytes.fromhex(file)[_HALF:]
        for number in range(ROUNDS):
            left, right = right, self._mix(left, right, number)
        return (left + right).hex()

    def reveal(self, public: str) -> str:
        """Return the id in the library; for a public id that was never given out it is the id of no file."""
        left, right = bytes.fromhex(public)[:_HALF], bytes.fromhex(public)[_HALF:]
        for number in reversed(range(ROUNDS)):
            left, right = self._mix(right, left, number), left
        return (left + right).hex()

    def tag(self, text: str) -> str:
        """Return 16 hex digits that depend on a text and the key, for entity tags."""
        return hashlib.blake2b(text.encode(), key=self._key, person=b"tag", digest_size=8).hexdigest()

    def _mix(self, changed: bytes, kept: bytes, number: int) -> bytes:
        mask = hashlib.blake2b(kept, key=self._key, person=b"round%d" % number, digest_size=_HALF).digest()
        return bytes(a ^ b for a, b in zip(changed, mask, strict=True))


def library_key(folder: Path) -> bytes | None:
    """Return the secret of a library, created at the first start of a server and readable by its owner only.

    A file that others could read is replaced. Returns None if the key cannot be read or written. Raises ConfigError if
    the name is a link or a folder.
    """
    path = folder / KEY_FILE
    if path.is_symlink() or path.is_dir():
        raise ConfigError(f"{path}: is a link or a folder; delete it, and the server writes a new key")
    with contextlib.suppress(OSError):
        for _ in range(3):
            key = _read_key(path)
            if key is not None:
                return key
            path.unlink(missing_ok=True)
            _write_key(path)
    return None


def _read_key(path: Path) -> bytes | None:
    """Return the key, or None if it is missing, not a key, or readable by others."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            private = not os.fstat(file.fileno()).st_mode & 0o077
            key = file.read(KEY_BYTES + 1)
    except FileNotFoundError:
        return None
    return key if private and len(key) == KEY_BYTES else None


def _write_key(path: Path) -> None:
    """Write a new key unless another server was first; it is complete when it appears under its name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink(missing_ok=True)
