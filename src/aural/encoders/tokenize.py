"""Convert text to token ids with the tokenizers library: bundled vocabularies, a local folder, or the hub."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import MissingDependencyError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer
    from torch import Tensor

BUNDLED = ("bert-base-uncased", "gpt2")
SpecialTokens = Literal["bert", "roberta", "none"]


@dataclass(frozen=True)
class Tokens:
    """Token ids of a batch: `ids` and `mask` are int64 (B, L).

    The mask is 1 on the text and 0 on padding. `cut` is the number of texts that were shortened.
    """

    ids: Tensor
    mask: Tensor
    cut: int


@dataclass(kw_only=True)
class Tokenizer:
    """Encodes texts as the token ids that a text encoder was trained with.

    special: "bert" adds [CLS] text [SEP], "roberta" adds <s> text </s>, "none" adds nothing (GPT-2). A text longer than
    `max_tokens` is cut before its closing special token or `suffix`, which always stays last. The ids of the first
    `keep` texts are kept in memory, for training that sees the same captions in every epoch.
    """

    backend: RustTokenizer = field(kw_only=False)
    special: SpecialTokens
    max_tokens: int
    pad_id: int
    suffix: str = ""
    keep: int = 0
    _kept: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.backend.no_padding()
        self.backend.no_truncation()

    def ids(self, text: str) -> list[int]:
        """Return all ids of one text with special tokens and suffix, without cutting it."""
        ids = self._kept.get(text)
        if ids is None:
            ids = list(self.backend.encode(text + self.suffix, add_special_tokens=self.special != "none").ids)
            if len(self._kept) < self.keep:
                self._kept[text] = ids
        return ids

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Return `padded` as torch tensors."""
        import torch

        ids, mask, cut = self.padded(texts)
        return Tokens(torch.from_numpy(ids), torch.from_numpy(mask), cut)

    def padded(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Return ids (B, L), mask (B, L) and the number of texts that were cut.

        Rows are padded to the longest text of the batch, which changes no result and saves work on short labels.
        """
        closing = len(self.backend.encode(self.suffix, add_special_tokens=False).ids) if self.suffix else 0
        closing = closing or (1 if self.special != "none" else 0)
        rows, cut = [], 0
        for text in texts:
            row = self.ids(text)
            if len(row) > self.max_tokens:
                cut += 1
                row = row[: self.max_tokens - closing] + row[len(row) - closing :]
            rows.append(row)
        return *padded_rows(rows, self.pad_id), cut


def padded_rows(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids (B, L) and mask (B, L) of texts, padded at their ends to the longest of them.

    >>> [array.tolist() for array in padded_rows([[5], [6, 7]], 1)]
    [[[5, 1], [6, 7]], [[1, 0], [1, 1]]]
    """
    ids = np.full((len(rows), max(map(len, rows))), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


def load_backend(name: str, folder: str | Path | None = None, *, offline: bool = False) -> RustTokenizer:
    """Load the tokenizer `name` from `folder` (or a tokenizer.json) if given, else the bundled one, else the hub's.

    Raises MissingDependencyError when the tokenizer is not on this machine and cannot be downloaded.
    """
    from tokenizers import Tokenizer as RustTokenizer

    if folder is not None:
        return _from_folder(Path(folder))
    if name in BUNDLED:
        packed = resources.files("aural.encoders").joinpath(f"tokenizers/{name}.json.gz").read_bytes()
        return RustTokenizer.from_str(gzip.decompress(packed).decode("utf-8"))
    from aural.core.hub import hub_file

    try:
        return RustTokenizer.from_file(str(hub_file(name, "tokenizer.json", offline=offline)))
    except MissingDependencyError as error:
        raise MissingDependencyError(
            f'the text encoder needs the tokenizer "{name}", which is not on this machine: download tokenizer.json (or '
            f"vocab.json and merges.txt) of {name} from the hub into a folder and pass tokenizer=FOLDER ({error})"
        ) from None


def _from_folder(folder: Path) -> RustTokenizer:
    from tokenizers import Tokenizer as RustTokenizer

    file = folder if folder.is_file() else folder / "tokenizer.json"
    try:
        if file.is_file():
            return RustTokenizer.from_file(str(file))
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return _byte_level(folder / "vocab.json", folder / "merges.txt")
        if (folder / "vocab.txt").is_file():
            from tokenizers.implementations import BertWordPieceTokenizer  # type: ignore[attr-defined]

            return BertWordPieceTokenizer(str(folder / "vocab.txt"))._tokenizer
    except Exception as error:  # the tokenizers library raises bare Exception
        raise MissingDependencyError(f"{folder}: holds no tokenizer that can be read ({error})") from None
    if not folder.exists():
        raise MissingDependencyError(f"{folder}: no such folder; pass the folder of the text tower's tokenizer")
    raise MissingDependencyError(
        f"{folder}: holds neither tokenizer.json, vocab.json with merges.txt, nor vocab.txt; "
        "pass the folder of the text tower's tokenizer"
    )


def _byte_level(vocab: Path, merges: Path) -> RustTokenizer:
    """Build GPT-2's byte-level BPE; add RoBERTa's opening and closing tokens if the vocabulary has them."""
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import decoders, models, pre_tokenizers, processors

    backend = RustTokenizer(models.BPE.from_file(str(vocab), str(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    start, end = backend.token_to_id("<s>"), backend.token_to_id("</s>")
    if start is not None and end is not None:
        backend.add_special_tokens(["<s>", "</s>", "<pad>", "<unk>", "<mask>"])
        backend.post_processor = processors.RobertaProcessing(("</s>", end), ("<s>", start), add_prefix_space=False)
    else:
        backend.add_special_tokens(["<|endoftext|>"])
    return backend
