"""Words for every file of a library, from a list of labels: `tags`, which filters can ask for (`tags has 'rain'`).

A file gets the labels whose multi-label score exceeds one half (`aural.core.scoring`), the best first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import Embedder
from aural.search.folder import writer_lock
from aural.search.library import Library, file_vectors


def tag(
    library: Library, embedder: Embedder, labels: Sequence[str], *, top: int = 3, template: str = DEFAULT_TEMPLATE
) -> dict[str, int]:
    """Give every file up to `top` of the labels in place of its old tags; how many files got each label."""
    import pyarrow as pa

    labels = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if not labels:
        raise ConfigError("no labels were given to tag with")
    prompts = embedder.embed_text(label_prompts([*labels, NEUTRAL], template))  # (M + 1, E)
    with writer_lock(library.folder):
        files, vectors = file_vectors(library.store.rows(["file", "window", "end", "vector"]), library.card.embed_dim)
        cosines = vectors @ prompts.T
        order = np.argsort(-cosines[:, :-1], axis=1, kind="stable")[:, :top]
        applies = Calibration.of(embedder).label_logits(cosines[:, :-1], cosines[:, -1]) > 0  # (N, M)
        best = [[labels[j] for j in row if applied[j]] for row, applied in zip(order, applies, strict=True)]
        kinds = pa.schema([("file", pa.string()), ("tags", pa.list_(pa.string()))])
        if files:
            library.store.revise(pa.table({"file": files, "tags": best}, schema=kinds))
    counts = dict.fromkeys(labels, 0)
    for row in best:
        for label in row:
            counts[label] += 1
    return counts
