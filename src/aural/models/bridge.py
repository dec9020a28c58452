"""A bridge from the vectors of an embedding model to a frozen language model, and the words of its prompts.

The language model reads P vectors of the bridge and then a prompt: "Caption:" for a sentence about the sound, or
"Question: ... Answer:". The bridge is trained by `tools/train_captioner.py`; the language model never is.

Legend: B sounds, E dimensions, P prefix positions, W width of the language model, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from aural.core.config import Config, read_mapping
from aural.core.errors import CheckpointError
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


def choice_question(question: str, options: Sequence[str]) -> str:
    """Return a question that lists its options.

    >>> choice_question("Which sound is it?", ["a dog", "a cat", "rain"])
    'Which sound is it? a dog, a cat or rain?'
    """
    listed = ", ".join(options[:-1]) + f" or {options[-1]}" if len(options) > 1 else options[0]
    return f"{question} {listed}?"


def prompt_ids(encode: Callable[[str], list[int]], question: str | None) -> list[int]:
    """Return the tokens that follow the prefix. question: None asks for a caption."""
    return encode(CAPTION_PROMPT if question is None else QUESTION_PROMPT.format(question))


def read_bridge(folder: Path) -> tuple[BridgeConfig, MlpMapper]:
    """Open the bridge in a folder with config.json and model.safetensors, in float32.

    Raises CheckpointError when the tensors are not those of the config.
    """
    config = BridgeConfig.parse(read_mapping(folder / "config.json"), str(folder / "config.json"))
    bridge = mapper(config.mapper)
    assert isinstance(bridge, MlpMapper)
    tensors = {name: tensor.float() for name, tensor in read_safetensors(folder / "model.safetensors").items()}
    try:
        bridge.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the tensors are not those of config.json ({str(error)[:120]})") from None
    return config, bridge.requires_grad_(False).eval()


def joined(prefix: Tensor, embedded: Tensor) -> Tensor:
    """Return the vectors (B, P + L, W) of a prefix (B, P, W) and embedded tokens (B or 1, L, W)."""
    return torch.cat([prefix, embedded.expand(len(prefix), -1, -1)], dim=1)
