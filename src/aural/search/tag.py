"""Give every file of a library up to a few labels of a list as tags; filters use them (`tags has 'rain'`).

A file gets the labels whose multi-label score is above one half (`aural.core.scoring`), the best first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import Embedder
from aural.search.library import Library


def tag(
    library: Library, embedder: Embedder, labels: Sequence[str], *, top: int = 3, template: str = DEFAULT_TEMPLATE
) -> dict[str, int]:
    """Replace the tags of every file by up to `top` of the labels; return the number of files per label.

    template: prompt of a label, with {} for the label.
    """
    import pyarrow as pa

    labels = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    if not labels:
        raise ConfigError("there are no labels to tag with; give at least one")
    prompts = embedder.embed_text(label_prompts([*labels, NEUTRAL], template))  # (L + 1, E)
    with library.writing():
        files, vectors = library.all_file_vectors()
        cosines = vectors @ prompts.T
        order = np.argsort(-cosines[:, :-1], axis=1, kind="stable")[:, :top]
        applies = Calibration.of(embedder).label_logits(cosines[:, :-1], cosines[:, -1]) > 0  # (F, L)
        tags = [[labels[j] for j in row if applied[j]] for row, applied in zip(order, applies, strict=True)]
        columns = pa.schema([("file", pa.string()), ("tags", pa.list_(pa.string()))])
        if files:
            library.store.revise(pa.table({"file": files, "tags": tags}, schema=columns))
            library.words.update()
    counts = dict.fromkeys(labels, 0)
    for row in tags:
        for label in row:
            counts[label] += 1
    return counts
