"""A bridge from the vectors of an embedding model to a frozen language model, and the words of its prompts.

The language model reads P vectors of the bridge and then a prompt: "Caption:" for a sentence about the sound, before it
"Sounds: ..., ..." where the bridge was trained with the nearest known sentences, or "Question: ... Answer:". The bridge
is trained by `tools/train_captioner.py`; the language model never is.

Legend: B sounds, E dimensions, P prefix positions, W width of the language model, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import torch
from pydantic import Field
from torch import Tensor

from aural.core.config import Config, read_mapping
from aural.core.errors import CheckpointError
from aural.models.rounding import with_steps
from aural.models.weight_files import read_safetensors
from aural.nn.bridges.mapper import MapperConfig, MlpMapper, mapper

CAPTION_PROMPT: Final = "Caption:"
QUESTION_PROMPT: Final = "Question: {} Answer:"


class BridgeConfig(Config):
    """A description of a bridge: the two models that it joins, its sizes, and where it comes from."""

    embedder: str
    decoder: str
    mapper: MapperConfig
    decoder_sha256: str
    questions: bool = False
    """Whether it learned to answer questions, or to write captions only."""
    source: str = ""
    prompts: Annotated[int, Field(ge=0, le=64)] = 0
    """Known sentences nearest to the sound that the prompt for a caption names."""
    candidates: Annotated[int, Field(ge=0, le=64)] = 0
    """Known sentences nearest to the sound that are ranked together with the written captions."""
    likelihood: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Weight of the mean log-likelihood per token next to the cosine with the sound when candidates are ranked."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    """How much better a written caption must be than a known sentence to be ranked above it."""

    longest: Annotated[int, Field(ge=1, le=512)] = 512
    """Tokens of the longest caption; without a limit a text that does not end takes seconds."""

    @property
    def sentences(self) -> int:
        """Return how many known sentences a caption needs."""
        return max(self.prompts, self.candidates)


def choice_question(question: str, options: Sequence[str]) -> str:
    """Return a question that lists its options.

    >>> choice_question("Which sound is it?", ["a dog", "a cat", "rain"])
    'Which sound is it? a dog, a cat or rain?'
    """
    listed = ", ".join(options[:-1]) + f" or {options[-1]}" if len(options) > 1 else options[0]
    return f"{question} {listed}?"


def prompt_ids(encode: Callable[[str], list[int]], question: str | None, sentences: Sequence[str] = ()) -> list[int]:
    """Return the tokens that follow the prefix. question: None asks for a caption. sentences: named before that."""
    if question is not None:
        return encode(QUESTION_PROMPT.format(question))
    return caption_prompt([encode(f" {one}") for one in sentences], encode)


def caption_prompt(sentences: Sequence[Sequence[int]], encode: Callable[[str], list[int]]) -> list[int]:
    """Return the tokens of "Sounds: ..., .... Caption:" for sentences that are given as tokens, or of "Caption:".

    Its parts are encoded one by one, so that the tokens of a sentence do not depend on what is around it.
    """
    if not sentences:
        return encode(CAPTION_PROMPT)
    named = [token for n, one in enumerate(sentences) for token in (*(encode(",") if n else ()), *one)]
    return [*encode("Sounds:"), *named, *encode("."), *encode(f" {CAPTION_PROMPT}")]


def caption_text(sentence: str) -> str:
    """Return a plain sentence as it is written after the prompt of a caption.

    >>> caption_text("a dog barking")
    ' A dog barking.'
    """
    return f" {sentence[0].upper()}{sentence[1:]}."


def plain_text(caption: str) -> str:
    """Return a written caption as a plain sentence, the reverse of `caption_text`; abbreviations keep their letters.

    >>> plain_text(" A dog barking."), plain_text("MP3 noise")
    ('a dog barking', 'MP3 noise')
    """
    text = caption.strip().rstrip(".")
    return text[0].lower() + text[1:] if text[:1].isupper() and not text[1:2].isupper() else text


def read_bridge_config(folder: Path) -> BridgeConfig | None:
    """Return the config of the bridge in a folder, None where there is no bridge."""
    file = folder / "config.json"
    return BridgeConfig.parse(read_mapping(file), str(file)) if file.is_file() else None


def read_bridge(folder: Path) -> tuple[BridgeConfig, MlpMapper]:
    """Open the bridge in a folder with config.json and model.safetensors, in float32.

    Raises CheckpointError when the tensors are not those of the config.
    """
    config = BridgeConfig.parse(read_mapping(folder / "config.json"), str(folder / "config.json"))
    bridge = mapper(config.mapper)
    assert isinstance(bridge, MlpMapper)
    stored = with_steps(read_safetensors(folder / "model.safetensors"))
    tensors = {name: tensor.float() for name, tensor in stored.items()}
    try:
        bridge.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the tensors are not those of config.json ({str(error)[:120]})") from None
    return config, bridge.requires_grad_(False).eval()


def joined(prefix: Tensor, embedded: Tensor) -> Tensor:
    """Return the vectors (B, P + L, W) of a prefix (B, P, W) and embedded tokens (B or 1, L, W)."""
    return torch.cat([prefix, embedded.expand(len(prefix), -1, -1)], dim=1)
