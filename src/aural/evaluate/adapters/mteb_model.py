"""Any `Embedder` as a model of the mteb package: its audio tasks (MAEB) run on it by mteb's own runner.

Sounds go to the embedder as (samples, rate) as the data set holds them: the embedder resamples, reads long sounds
whole, and adds its own end-of-text token. mteb's batches mix rates, so nothing is stacked here.

    import aural, mteb
    from aural.evaluate.adapters.mteb_model import MtebModel
    mteb.evaluate(MtebModel(aural.load(), name="aural/libre-small"), tasks=mteb.get_tasks(["ESC50_Zeroshot"]))
"""

from __future__ import annotations

from typing import Any

import numpy as np

from aural.core.types import AudioSource, Clip, FloatArray
from aural.evaluate.adapters.embedders import model_hash


class MtebModel:
    """Satisfies mteb's EncoderProtocol; `name` is "owner/name" as mteb wants it."""

    def __init__(self, embedder: Any, *, name: str = "aural/model", revision: str | None = None) -> None:
        from mteb.models import ModelMeta

        self.embedder, self.model_name = embedder, name
        self.revision = revision or model_hash(embedder)
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "loader": None,
                "name": name,
                "revision": self.revision,
                "modalities": ["audio", "text"],
                "embed_dim": int(embedder.embed_dim),
                "similarity_fn_name": "cosine",
                "framework": ["PyTorch"],
            }
        )

    def encode(self, inputs: Any, **options: Any) -> FloatArray:
        """(N, E): of the sounds, or of the texts, that mteb's loader gives; of both their unit mean."""
        inputs.collate_fn = _rows
        parts = [self._batch(batch) for batch in inputs]
        return np.concatenate(parts) if parts else np.empty((0, self.embedder.embed_dim), np.float32)

    def _batch(self, batch: list[dict[str, Any]]) -> FloatArray:
        found = []
        if "audio" in batch[0]:
            found.append(self.embedder.embed_audio([_clip(row["audio"]) for row in batch]))
        if "text" in batch[0]:
            found.append(self.embedder.embed_text([str(row["text"]) for row in batch]))
        total = np.sum(found, axis=0)
        return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12), np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """(N, M) cosines as a tensor."""
        import torch

        return torch.as_tensor(np.asarray(embeddings1)) @ torch.as_tensor(np.asarray(embeddings2)).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """(N,) cosines as a tensor."""
        import torch

        return (torch.as_tensor(np.asarray(embeddings1)) * torch.as_tensor(np.asarray(embeddings2))).sum(-1)


def _rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The loader's rows as they are: lengths and rates differ."""
    return rows


def _clip(audio: Any) -> AudioSource:
    """A sound as the `datasets` library holds it: a mapping with array and rate, or a decoder of torchcodec."""
    if hasattr(audio, "get_all_samples"):
        samples = audio.get_all_samples()
        return Clip(np.asarray(samples.data, np.float32), int(samples.sample_rate))
    wave = np.asarray(audio["array"], np.float32)
    return Clip(wave[None] if wave.ndim == 1 else wave, int(audio["sampling_rate"]))
