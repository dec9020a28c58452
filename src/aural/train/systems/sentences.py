"""A text encoder that learns sentence vectors from texts alone, by a weighted list of toggles.

Legend: B texts, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from aural.encoders.bert import Bert
from aural.encoders.text import TextConfig
from aural.train.config import Recipe
from aural.train.sentences import TOGGLES, Shape, Step, Toggle
from aural.train.sentences.tokens import sentence_tokenizer, start_weights
from aural.train.sentences.words import word_vectors
from aural.train.system import SYSTEMS, PartConfig, Plan, System, SystemConfig, build_part

if TYPE_CHECKING:
    from aural.train.loader import Batch, Batches

Second = Literal["", "frozen", "ema"]
TEXTS_AT_ONCE = 256


class SentencesConfig(SystemConfig):
    """A text encoder and the toggles that train it."""

    text: TextConfig
    init: str = "random"
    """Start weights: "random", "packaged-minilm" (from an installed package), or the model folder of an earlier run."""
    words: str = ""
    """Word vectors to start from, with init "random": "packaged-minilm" (see `aural.train.sentences.words`) or a
    file."""
    toggles: tuple[PartConfig, ...] = Field(min_length=1)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    locked: bool = False
    """Freeze the encoder; only parameters of the toggles are trained."""
    second: Second = ""
    """A second encoder without gradient. frozen: the start weights. ema: the exponential average of the encoder. Empty:
    what the toggles need."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """ema: share of the average that stays at each step."""

    @model_validator(mode="after")
    def _one_second(self) -> SentencesConfig:
        wanted = {self.second or "", *(TOGGLES[toggle.name].second for toggle in self.toggles)} - {""}
        if len(wanted) > 1:
            raise ValueError("the toggles need different second encoders (frozen and ema); train them in separate runs")
        return self

    @property
    def second_kind(self) -> str:
        """The kind of the second encoder, "" without one."""
        return next((kind for kind in (self.second, *(TOGGLES[t.name].second for t in self.toggles)) if kind), "")

    def plan(self, recipe: Recipe) -> Plan:
        """Return the plan: examples in, the loss out."""
        return Plan({"examples": {}}, gives_loss=True, lists=frozenset({"examples", "draws"}))


@SYSTEMS.register("sentences", architecture="two towers", training="contrastive")
class Sentences(System):
    """A text encoder with toggles. A batch gives "loss" and the scalars of the toggles."""

    config_type = SentencesConfig
    config: SentencesConfig

    def __init__(self, config: SentencesConfig, batches: Batches | None = None) -> None:
        super().__init__(config, batches)
        self.encoder = Bert(config.text, config.dropout)
        self.tokenizer = sentence_tokenizer(config.text, config.init)
        if config.init != "random":
            self.encoder.load_state_dict(start_weights(config.text, config.init))
        elif config.words:
            with torch.no_grad():
                self.encoder.words.copy_(word_vectors(config.text, self.tokenizer, config.words))
        self.shape = Shape(config.text, self.tokenizer, self.encoder)
        self.special = self.shape.special
        self.toggles = nn.ModuleList(
            build_part(TOGGLES, toggle, self.shape, key="system.toggles") for toggle in config.toggles
        )
        self.number: Tensor
        self.register_buffer("number", torch.zeros((), dtype=torch.int64))
        self.steps_seen = -1
        """Copy of `number` on the host; -1: not read yet."""
        if config.second_kind:
            self.second = deepcopy(self.encoder).requires_grad_(False)
        if config.locked:
            self.encoder.requires_grad_(False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if self.steps_seen < 0:
            self.steps_seen = int(self.number)
        if self.config.second_kind == "ema" and self.steps_seen:
            self._follow()
        step = self.step(batch["examples"], np.random.default_rng(batch["draws"]))
        out: dict[str, Tensor] = {}
        total: Tensor | None = None
        for config, toggle in zip(self.config.toggles, self.toggles, strict=True):
            parts = toggle(step)
            loss = parts.pop("loss").float()
            total = config.weight * loss if total is None else total + config.weight * loss
            out |= {f"{config.name}.{name}": value.detach() for name, value in parts.items()}
            if len(self.toggles) > 1:
                out[f"{config.name}.loss"] = loss.detach()
        assert total is not None
        if self.training:
            self.number += 1
            self.steps_seen += 1
        return {"loss": total, **out}

    def step(self, examples: Sequence[Any], rng: np.random.Generator) -> Step:
        """Return what toggles see of these examples."""
        second = self.second if self.config.second_kind else None
        return Step(
            examples, self.encoder, second, self.tokenizer, self.special, rng, self.steps_seen, self.number.device
        )

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (N, D) of texts, not normalized; by the toggle that defines `embed`, if one does."""
        training = self.training
        self.eval()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows: list[Tensor] = []
        for at in range(0, len(order), TEXTS_AT_ONCE):
            part = [texts[i] for i in order[at : at + TEXTS_AT_ONCE]]
            step = self.step((), np.random.default_rng(0))
            special = (toggle.embed(step, part) for toggle in self.toggles)  # type: ignore[operator]
            vectors = next((one for one in special if one is not None), None)
            rows.append((step.vectors(part) if vectors is None else vectors).float().cpu())
        self.train(training)
        joined = torch.cat(rows)
        out = torch.empty_like(joined)
        out[torch.tensor(order)] = joined
        array: NDArray[np.float32] = out.numpy()
        return array

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the encoder."""
        decay = self.config.decay
        torch._foreach_lerp_(list(self.second.parameters()), list(self.encoder.parameters()), 1 - decay)

    def parts(self) -> dict[str, nn.Module]:
        """Return the encoder and the toggles."""
        return {"text": self.encoder, "toggles": self.toggles}

    def train(self, mode: bool = True) -> Sentences:
        super().train(mode)
        if self.config.second_kind:
            self.second.eval()
        return self

    def blank(self, batches: Batches) -> Sentences:
        """Construct a system of the same shape without reading start weights."""
        return Sentences(self.config.model_copy(update={"init": "random", "words": ""}), batches)

    def export(self, folder: Path, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
        """Write the encoder as a folder that aural, transformers and sentence-transformers open."""
        from aural.models.prefix import strip_prefix
        from aural.models.sentence_folder import write_sentence_folder
        from aural.train.export import card_of

        special = [toggle.name for toggle in self.config.toggles if TOGGLES[toggle.name].embed is not Toggle.embed]
        note = f"\nVectors of this folder lack the part of {', '.join(special)} at test time.\n" if special else ""
        write_sentence_folder(
            folder,
            self.config.text,
            strip_prefix(state, "encoder."),
            self.tokenizer.backend.to_str(),
            card=card_of(folder, recipe) + note,
        )
