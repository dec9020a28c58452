"""The model that `tune_libre_base.py` trains: libre-small with YAMNet's branch, its trainable parts, its texts.

Legend: B clips or texts, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from aural.core.config import read_mapping
from aural.core.weights import weight_card
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.models.clap import Clap, TaggedBranch
from aural.models.format import Header
from aural.models.packaged import MINILM
from aural.models.rounding import with_steps
from aural.models.tagger import Tagger
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit
from aural.nn.lora import add_low_rank
from make_libre_base import config_of

RANK = 16
UPDATES = (".lora_a", ".lora_b")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings of one run. A rate of 0 freezes a part."""

    name: str = "tuned"
    seed: int = 0
    steps: int = 400
    batch: int = 512
    rate: float = 3e-3
    """Of the linear map and the names."""
    branch_rate: float = 1e-4
    text_rate: float = 3e-4
    small_rate: float = 1e-4
    """Of libre-small's projection."""
    tower_rate: float = 0.0
    """Of libre-small's encoder."""
    contrast: float = 1.0
    classes: float = 0.5
    tags: float = 0.5
    keep: float = 1.0
    """Weights of the InfoNCE, of the two cross-entropies and of the distance to the frozen tagger's scores."""
    distill: float = 4.0
    """Weight of the distance to the embedding of the teacher."""
    teacher: str = ""
    """Name of a bundled model or of a finished run, with whose text tower the student starts."""
    student: Literal["", "small", "tagger"] = ""
    """With a teacher: the tower that is trained alone, libre-small's or YAMNet with the linear map."""
    average: tuple[str, ...] = ()
    """Names of finished runs; no training, but the mean of their weights."""
    part: float = 1.0
    """How far to go from the start to that mean."""
    dropout: float = 0.2
    small_dropout: float = 0.5
    """Share of clips for which libre-small's embedding, which was trained on them before, is left out."""
    augment: bool = True
    share: float = 1.0
    """Share of the training clips that is used."""
    grains: str = "all"
    """Which captions: all, or the label alone."""
    extra: tuple[str, ...] = ()
    """Names, without the ending, of files of --captions that are used too."""
    edition: int = 2
    """Clips of sources of later editions of the corpus are not used."""
    languages: bool = True
    """Whether captions of speech in another language count as false, as those of another class do."""
    mix: tuple[float, float, float] = (0.75, 1.0, 0.15)
    toggles: tuple[dict[str, Any], ...] = ()
    """Objectives of sentence vectors for the text tower: the fields of `tune_texts.TextTask`."""
    decay: float = 0.99
    """Of the averaged weights, which are scored and saved."""
    save: bool = True


def assemble(tagger: Tagger) -> Clap:
    """Return libre-small with YAMNet's branch; its text tower has the low-rank updates as parameters."""
    folder = weight_card("libre-small").bundled()
    header = Header.parse(read_mapping(folder / "config.json"), str(folder / "config.json"))
    stored = read_safetensors(folder / "model.safetensors")
    clap = Clap(config_of(header.clap))
    add_low_rank(clap.text, RANK)
    state = clap.state_dict() | stored | MINILM.tensors(header.clap)
    for part, module in (("encoder", tagger.network.network.encoder), ("classes", tagger.network.classes)):
        state |= {f"audio.branch.{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    clap.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True)
    return clap.eval().requires_grad_(False)


def branch_of(clap: Clap) -> TaggedBranch:
    branch = clap.audio.branch
    assert branch is not None
    return branch


def parts_of(clap: Clap, run: Run) -> list[tuple[list[tuple[str, torch.nn.Parameter]], float]]:
    """Return the named parameters of each part of the model with the rate of the run."""
    kinds: list[tuple[tuple[str, ...], float]] = [
        (("audio.branch.linear.", "audio.branch.names.", "logit_scale"), run.rate),
        (("audio.branch.encoder.", "audio.branch.classes."), run.branch_rate),
        (("audio.projection.",), run.small_rate),
        (("audio.encoder.",), run.tower_rate),
    ]
    named = list(clap.named_parameters())
    parts = [([(n, p) for n, p in named if n.startswith(start)], rate) for start, rate in kinds]
    return [*parts, ([(n, p) for n, p in named if n.endswith(UPDATES)], run.text_rate)]


def trainable(clap: Clap, run: Run) -> list[dict[str, Any]]:
    """Make the parts with a rate trainable and return the optimizer's groups."""
    groups = [{"params": [p for _, p in part], "lr": rate} for part, rate in parts_of(clap, run) if rate > 0]
    for group in groups:
        for parameter in group["params"]:
            parameter.requires_grad_(True)
    return groups


def changed(clap: Clap, run: Run) -> dict[str, Tensor]:
    """Return the tensors that differ between the model of a run and libre-small with YAMNet, as float16."""
    parts = ["audio.branch.linear.", "audio.branch.names.", "audio.branch.mix", "audio.projection.", "logit_scale"]
    parts += ["audio.branch.encoder.", "audio.branch.classes."] if run.branch_rate else []
    parts += ["audio.encoder."] if run.tower_rate else []
    return {
        name: tensor.detach().half().cpu().contiguous()
        for name, tensor in clap.state_dict().items()
        if name.startswith(tuple(parts)) or name.endswith(UPDATES)
    }


def bundled(name: str) -> dict[str, Tensor]:
    """Return the stored tensors of a bundled model that has the layout of `assemble`."""
    folder = weight_card(name).bundled()
    return {k: t.float() for k, t in with_steps(read_safetensors(folder / "model.safetensors")).items()}


def put(clap: Clap, tensors: dict[str, Tensor]) -> Clap:
    """Copy saved tensors into a model and return it."""
    state = clap.state_dict()
    for name, tensor in tensors.items():
        state[name].copy_(tensor)
    return clap


def between(start: Clap, end: Clap, share: float, into: Clap) -> Clap:
    """Set the parameters of `into` to start + share * (end - start) and return it. Wortsman et al. (2022)."""
    for a, b, c in zip(start.parameters(), end.parameters(), into.parameters(), strict=True):
        c.data.copy_(torch.lerp(a.data, b.data, share))
    return into


class Texts:
    """Embeds texts with the text tower of a model, each token sequence tokenized once."""

    def __init__(self, clap: Clap, device: torch.device) -> None:
        text = clap.config.text
        self.tokenizer = Tokenizer(
            load_backend(text.tokenizer), special=text.special_tokens, max_tokens=text.max_tokens,
            pad_id=text.pad_id, keep=100_000,
        )  # fmt: skip
        self.device = device

    def __call__(self, clap: Clap, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings (B, E); equal texts are computed once."""
        place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        tokens = self.tokenizer(list(place))
        vectors = clap.text(tokens.ids.to(self.device), tokens.mask.to(self.device)).float()
        return unit(vectors)[[place[text] for text in texts]]

    @torch.inference_mode()
    def every(self, clap: Clap, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings of any number of texts, computed in parts."""
        return torch.cat([self(clap, texts[first : first + 512]) for first in range(0, len(texts), 512)]).clone()
