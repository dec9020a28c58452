"""Compute a digest of every row, with which a repair distinguishes intact rows from damaged ones.

A digest is the first 8 bytes of BLAKE2b over the values that only the model or the sound can give again: id, window,
times, content hash, rate, channels, silence and vector. It does not cover the tags, or what follows from the path and
the file on disk.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

DIGEST: Final = "digest"
DIGESTED: Final = ("file", "hash", "window", "sample_rate", "channels", "start", "end", "duration", "silent")
_VALUES: Final = struct.Struct("<iiiddd?")


def digests(table: pa.Table) -> NDArray[np.int64]:
    """Return the digest of every row (N,). The table needs the columns of `DIGESTED` and `vector`, without nulls."""
    vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype("<f4", copy=False)
    vectors = vectors.reshape(table.num_rows, -1) if table.num_rows else vectors.reshape(0, 0)
    columns = [table[name].to_pylist() for name in DIGESTED]
    values = np.empty(table.num_rows, np.int64)
    for i, (file, content_hash, *numbers) in enumerate(zip(*columns, strict=True)):
        state = hashlib.blake2b(f"{file}\0{content_hash}\0".encode(), digest_size=8)
        state.update(_VALUES.pack(*numbers))
        state.update(vectors[i].tobytes())
        values[i] = int.from_bytes(state.digest(), "little", signed=True)
    return values
