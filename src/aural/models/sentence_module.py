"""A module of sentence-transformers that computes with an aural model; it needs the package sentence-transformers.

    model = SentenceTransformer("my-model", trust_remote_code=True)         # modules.json names this class
    model = SentenceTransformer(modules=[SoundModule.load("my-model")])     # the same without the flag

sentence-transformers imports a class from outside its package only with trust_remote_code=True.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule

from aural.audio.find import SOUND_SUFFIXES
from aural.core.errors import CheckpointError, DataError
from aural.core.types import FloatArray
from aural.models.load import load
from aural.models.pipeline import Model
from aural.models.publish import save_pretrained


class SoundModule(InputModule):
    """A module that embeds sounds and texts as unit rows, whole sounds in windows and with the model's tokenizer.

    A string that ends in the suffix of a sound file is a path: a missing file is an error, not a text. Give a text that
    ends so as {"text": ...}. Sounds may also be {"array", "sampling_rate"}, {"bytes", "path"}, {"audio": sound}, a
    torchcodec AudioDecoder, bytes or a Path. The vectors carry no gradient.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.folder = str(folder)
        self.register_buffer("place", torch.zeros(()), persistent=False)  # moved by SentenceTransformer.to
        self._model: Model | None = None

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **options: Any) -> SoundModule:
        """Open a folder or a hub repository that `aural models export --format sentence-transformers` wrote."""
        names = ("token", "cache_folder", "revision", "local_files_only")
        where = {name: options[name] for name in names if name in options}
        folder = cls.load_dir_path(model_name_or_path, subfolder, **where)
        if folder is None:
            raise CheckpointError(f"{model_name_or_path}: cannot be found; give a folder or a hub repository")
        return cls(folder)

    @property
    def model(self) -> Model:
        """The aural model, on the device of this module."""
        if self._model is None or self._model.device != self.place.device:
            self._model = load(self.folder, engine="torch", device=self.place.device)
        return self._model

    @property
    def modalities(self) -> list[Any]:
        """The kinds of input; sentence-transformers calls a batch of texts and sounds a "message"."""
        return ["text", "audio", "message"]

    def get_embedding_dimension(self) -> int:
        """Return E, the dimensions of the joint space."""
        return self.model.embed_dim

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_options: Any) -> dict[str, Any]:
        """Separate texts from sounds; a prompt is put in front of texts."""
        texts: dict[int, str] = {}
        sounds: dict[int, Any] = {}
        for i, item in enumerate(inputs):
            text = _text_of(item)
            if text is None:
                sounds[i] = item
            else:
                texts[i] = (prompt or "") + text
        return {"texts": texts, "sounds": sounds}

    def forward(self, features: dict[str, Any], **_options: Any) -> dict[str, Any]:
        """Return the unit rows (N, E) of the inputs as "sentence_embedding"."""
        texts, sounds = features["texts"], features["sounds"]
        rows = torch.empty(len(texts) + len(sounds), self.model.embed_dim, device=self.place.device)
        for chosen, embed in ((texts, self.model.embed_text), (sounds, self.model.embed_audio)):
            if chosen:
                vectors: FloatArray = embed(list(chosen.values()))
                rows[list(chosen)] = torch.from_numpy(vectors).to(rows)
        return {"sentence_embedding": rows}

    def save(self, output_path: str, *_args: Any, **_options: Any) -> None:
        """Write the model to a folder in aural's own format."""
        save_pretrained(self.model, output_path)


def _text_of(item: Any) -> str | None:
    """Return an input that is a text, None if it is a sound."""
    if isinstance(item, Mapping) and "text" in item:
        if "audio" in item:
            raise DataError('an input has both "text" and "audio"; embed them separately')
        return str(item["text"])
    if isinstance(item, str) and Path(item).suffix.lower() not in SOUND_SUFFIXES:
        return item
    return None
