"""Token ids of SONAR and NLLB with a sentencepiece model: the language, the pieces moved up by one, the closing token.

Ids: 0 padding, 1 unknown, 2 opening (unused), 3 closing, then the pieces and one token per language (fairseq2's order).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aural.core.errors import MissingDependencyError
from aural.core.hub import hub_file
from aural.encoders.tokenize import Tokens, padded_rows

REPOSITORY, FILE = "facebook/SONAR", "sentencepiece.source.256000.model"
PADDING = 0
ENGLISH = 256047
"""The id of eng_Latn."""
CLOSING = 3
LONGEST = 514
"""Tokens; a longer text is cut there, without a closing token, as glap_model does."""


class NllbTokenizer:
    """Encodes texts as English."""

    def __init__(self, file: Path) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError:
            raise MissingDependencyError(f'{file}: is read with sentencepiece; pip install "aural[families]"') from None
        try:
            self.pieces: Any = SentencePieceProcessor(model_file=str(file))
        except (OSError, RuntimeError) as error:
            raise MissingDependencyError(f"{file}: is not a sentencepiece model ({error}); download it again") from None

    @classmethod
    def open(cls, place: str | Path | None, *, offline: bool = False) -> NllbTokenizer:
        """Open a .model file or a folder that holds one; by default that of the hub's facebook/SONAR.

        Raises MissingDependencyError when there is none.
        """
        if place is None:
            return cls(hub_file(REPOSITORY, FILE, offline=offline))
        files = sorted(Path(place).glob("*.model")) if Path(place).is_dir() else [Path(place)]
        if len(files) != 1:
            raise MissingDependencyError(f"{place}: holds {len(files)} files *.model; give the path of {FILE}")
        return cls(files[0])

    def ids(self, text: str) -> list[int]:
        """Return the ids of one text."""
        return [ENGLISH, *(number + 1 for number in self.pieces.encode(text)), CLOSING][:LONGEST]

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Return the ids of a batch, padded to its longest text."""
        rows = [self.ids(text) for text in texts]
        ids, mask = padded_rows(rows, PADDING)
        cut = sum(len(row) == LONGEST and row[-1] != CLOSING for row in rows)
        return Tokens(torch.from_numpy(ids), torch.from_numpy(mask), cut)
