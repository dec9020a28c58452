"""Wrap any `Embedder` as a model of the mteb package, so that mteb's runner scores its audio tasks (MAEB).

The embedder receives sounds at the data set's rate; it resamples them, reads long sounds in windows and adds its
end-of-text token. Batches of mteb mix rates, so sounds are not stacked here.

    import mteb
    from aural.evaluate.adapters.mteb_model import model_meta
    mteb.evaluate(model_meta("libre-small"), tasks=mteb.get_tasks(["ESC50_Zeroshot"]))
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aural.audio.io import as_source
from aural.core.types import FloatArray
from aural.core.vectors import unit_rows
from aural.core.weights import weight_card
from aural.evaluate.adapters.embedders import model_hash
from aural.models.load import load


class MtebModel:
    """A model that satisfies mteb's EncoderProtocol; `name` has the form "owner/name" that mteb requires."""

    def __init__(self, embedder: Any, *, name: str = "aural/model", revision: str | None = None) -> None:
        self.embedder = embedder
        self.model_name = name
        self.revision = revision or model_hash(embedder)
        values = {"name": name, "revision": self.revision, "embed_dim": int(embedder.embed_dim)}
        self.mteb_model_meta = _meta(values)

    def encode(self, inputs: Any, **options: Any) -> FloatArray:
        """Embed the sounds or texts of mteb's loader as (N, E); rows with both get the unit mean."""
        inputs.collate_fn = _rows
        parts = [self._batch(batch) for batch in inputs]
        return np.concatenate(parts) if parts else np.empty((0, self.embedder.embed_dim), np.float32)

    def _batch(self, batch: list[dict[str, Any]]) -> FloatArray:
        vectors = []
        if "audio" in batch[0]:
            vectors.append(self.embedder.embed_audio([as_source(row["audio"]) for row in batch]))
        if "text" in batch[0]:
            vectors.append(self.embedder.embed_text([str(row["text"]) for row in batch]))
        return unit_rows(np.sum(vectors, axis=0))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines (N, M) as a tensor."""
        import torch

        return torch.as_tensor(np.asarray(embeddings1)) @ torch.as_tensor(np.asarray(embeddings2)).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Return the cosines (N,) of pairs as a tensor."""
        import torch

        return (torch.as_tensor(np.asarray(embeddings1)) * torch.as_tensor(np.asarray(embeddings2))).sum(-1)


def model_meta(name: str) -> Any:
    """Return mteb's ModelMeta of a model of `aural models list`, whose loader opens it with `aural.load`.

    mteb names it "aural/NAME". Raises ConfigError for an unknown name.
    """
    card = weight_card(name)
    values = {
        "loader": _load,
        "name": f"aural/{card.name}",
        "revision": card.revision or card.sha256,
        "embed_dim": card.embed_dim,
        "languages": ["eng-Latn"] if card.languages == "English" else None,
        "open_weights": True,
        "use_instructions": False,
        "reference": card.url if card.repository is None else f"https://huggingface.co/{card.repository}",
        "citation": card.citation,
    }
    return _meta(values)


def _load(model_name: str, revision: str | None = None, device: str | None = None, **_options: Any) -> MtebModel:
    """Load the model "aural/NAME" for mteb."""
    return MtebModel(load(model_name.removeprefix("aural/"), device=device), name=model_name, revision=revision)


def _meta(values: dict[str, Any]) -> Any:
    from mteb.models import ModelMeta

    fixed = {"modalities": ["audio", "text"], "similarity_fn_name": "cosine", "framework": ["PyTorch"]}
    return ModelMeta.create_empty(fixed | values)


def _rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the loader's rows unchanged: their lengths and rates differ."""
    return rows
