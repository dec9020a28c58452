"""An embedding function for tables of LanceDB: source columns of sounds or texts, queries by words or sounds.

    import aural.models.lancedb_function  # registers "aural"
    from lancedb.embeddings import get_registry
    from lancedb.pydantic import LanceModel, Vector

    function = get_registry().get("aural").create(model="libre-small")

    class Sound(LanceModel):
        path: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

`table.search("rain on a tin roof")` then embeds the words, and `table.add([{"path": "rain.wav"}])` the sound.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lancedb.embeddings import EmbeddingFunction, register

from aural.core.errors import AudioError, DataError
from aural.core.types import Clip, Embedder


@register("aural")
class AuralEmbeddings(EmbeddingFunction):  # type: ignore[misc]
    """The vectors of a model of aural.

    model: a name of `aural models list`, a path or a hub repository. source: what the source column holds: "sound"
    (paths, or the bytes of sound files) or "text". A query that is a string is a text, one that is a `Path`, bytes or
    a `Clip` is a sound. device: cpu, cuda or auto.
    """

    model: str
    source: Literal["sound", "text"] = "sound"
    device: str = "auto"
    max_retries: int = 0  # nothing here fails for a moment only

    def ndims(self) -> int:
        """Return the number of dimensions of the vectors."""
        return self._embedder.embed_dim

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the unit vector of a query, as a list of one."""
        if isinstance(query, str):
            return list(self._embedder.embed_text([query]))
        return list(self._embedder.embed_audio([_sound(query)]))

    def compute_source_embeddings(self, values: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the unit vector per value of the source column; None for a sound that cannot be decoded."""
        values = self.sanitize_input(values)
        if self.source == "text":
            return list(self._embedder.embed_text([str(value) for value in values]))
        return [self._of_sound(value) for value in values]

    @cached_property
    def _embedder(self) -> Embedder:
        from aural.models.load import load

        return load(self.model, device=self.device)

    def _of_sound(self, value: Any) -> np.ndarray[Any, Any] | None:
        try:
            return np.asarray(self._embedder.embed_audio([_sound(value)])[0])
        except AudioError:
            return None


def _sound(value: Any) -> Any:
    """Return a value of a column or a query as something that models embed."""
    if isinstance(value, str):
        return Path(value)
    if isinstance(value, (Path, bytes, Clip)):
        return value
    raise DataError(f"a sound is a path, the bytes of a file or a Clip, not {type(value).__name__}")
