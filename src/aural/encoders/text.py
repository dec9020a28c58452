"""Text encoders through transformers: GPT-2, BERT, RoBERTa and MiniLM, with the pooling rule of each published model.

transformers is imported only when an encoder is built. `text_layout` lists the names and shapes of an encoder's tensors
without it, so that every checkpoint is checked completely when it is opened.

Legend: B texts, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.core.registry import Registry
from aural.encoders.base import ENCODER_AXES
from aural.encoders.packed import Packed
from aural.encoders.tokenize import SpecialTokens

Architecture = Literal["gpt2", "bert", "roberta"]
Size = Annotated[int, Field(ge=1, le=65_536)]
Pooling = Literal["last-token", "cls", "pooler", "mean"]


class TextConfig(Config):
    """The sizes, pooling and tokenizer of a text encoder; `TEXT_TOWERS` holds named configs."""

    architecture: Architecture = "gpt2"
    dim: Size = 768
    depth: Size = 12
    heads: Size = 12
    hidden_dim: Size = 3072
    vocab_size: Annotated[int, Field(ge=1, le=1 << 24)] = 50257
    positions: Size = 1024
    token_types: int = 2
    layer_norm_eps: float = 1e-5
    pooling: Pooling = "last-token"
    """last-token: state of the last token that is not padding (msclap 2023); cls: state of the first token (msclap
    2022); pooler: tanh layer on the first token (LAION, transformers); mean: over tokens that are not padding
    (MiniLM)."""
    tokenizer: str = "gpt2"
    special_tokens: SpecialTokens = "none"
    suffix: str = ""
    pad_id: int = 50256
    max_tokens: int = 77


TEXT_TOWERS: Registry[TextConfig] = Registry("text encoder", ENCODER_AXES)
for _name, _config in {
    "gpt2": TextConfig(suffix=" <|endoftext|>"),
    "bert": TextConfig(
        architecture="bert", vocab_size=30522, positions=512, layer_norm_eps=1e-12, pooling="cls",
        tokenizer="bert-base-uncased", special_tokens="bert", pad_id=0, max_tokens=100,
    ),
    "roberta": TextConfig(
        architecture="roberta", vocab_size=50265, positions=514, token_types=1, pooling="pooler",
        tokenizer="roberta-base", special_tokens="roberta", pad_id=1, max_tokens=77,
    ),
    "minilm": TextConfig(
        architecture="bert", dim=384, depth=6, hidden_dim=1536, vocab_size=30522, positions=512, layer_norm_eps=1e-12,
        pooling="mean", tokenizer="bert-base-uncased", special_tokens="bert", pad_id=0, max_tokens=128,
    ),
}.items():  # fmt: skip
    _kind = "causal transformer" if _config.architecture == "gpt2" else "transformer"
    TEXT_TOWERS.add(_name, _config, modality="text", architecture=_kind, input="token ids")


class TextFeatures(NamedTuple):
    """The output of a text encoder.

    pooled: (B, D). tokens: last hidden states (B, L, D). mask: (B, L), 1 on the text and 0 on padding. layers: the
    input embeddings and the output of each layer, depth + 1 tensors (B, L, D); None unless requested.
    """

    pooled: Tensor
    tokens: Tensor
    mask: Tensor
    layers: tuple[Tensor, ...] | None = None


class TextEncoder(nn.Module):
    """A text encoder from token ids (B, L) and a mask (B, L) to `TextFeatures`."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config, self.dim = config, config.dim
        self.model = _build(config)

    def restore_buffers(self) -> None:
        """Set the buffers that no checkpoint holds, after the module was built on the meta device."""
        for name, buffer in self.model.named_buffers():
            if not buffer.is_meta:
                continue
            owner, leaf = name.rpartition(".")[::2]
            module = self.model.get_submodule(owner) if owner else self.model
            size = buffer.shape[-1] if buffer.ndim else 0
            setattr(module, leaf, _BUFFERS[leaf](size))

    def forward(
        self,
        ids: Tensor,
        mask: Tensor | None = None,
        last: Tensor | None = None,
        *,
        packed: Packed | None = None,
        layers: bool = False,
    ) -> TextFeatures:
        """Return the features of a batch of texts.

        last: (B,), overrides the position that pooling "last-token" takes. packed: the places of texts that are packed
        into rows of `ids` (R, W); then tokens and mask are those of the rows. layers: also return the inner layers.
        """
        if packed is not None:
            return self._packed(ids, packed)
        assert mask is not None
        options = {"output_hidden_states": True} if layers else {}
        out = self.model(input_ids=ids, attention_mask=mask, **options)
        pooled = out.pooler_output if self.config.pooling == "pooler" else self._pool(out.last_hidden_state, mask, last)
        return TextFeatures(pooled, out.last_hidden_state, mask, tuple(out.hidden_states) if layers else None)

    def _packed(self, ids: Tensor, packed: Packed) -> TextFeatures:
        config = self.config
        positions = packed.positions
        if config.architecture == "roberta":  # counts positions from the padding id
            positions = positions + config.pad_id + 1
        mask = packed.attention(causal=config.architecture == "gpt2")
        states = self.model(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state
        pooled = packed.pool(states, _PACKED_POOLING[config.pooling])
        if config.pooling == "pooler":
            pooled = self.model.pooler(pooled[:, None])  # type: ignore[operator]
        return TextFeatures(pooled, states, packed.segments)

    def _pool(self, states: Tensor, mask: Tensor, last: Tensor | None) -> Tensor:
        """Pool the last hidden states (B, L, D) to (B, D)."""
        if self.config.pooling == "cls":
            return states[:, 0]
        if self.config.pooling == "mean":
            weight = mask[..., None].to(states.dtype)
            return (states * weight).sum(1) / weight.sum(1).clamp_min(1e-9)
        last = mask.sum(1) - 1 if last is None else last
        return states[torch.arange(states.shape[0], device=states.device), last]


_PACKED_POOLING: dict[Pooling, str] = {"last-token": "last", "cls": "first", "pooler": "first", "mean": "mean"}
_BUFFERS: dict[str, Callable[[int], Tensor]] = {
    "position_ids": lambda size: torch.arange(size)[None],
    "token_type_ids": lambda size: torch.zeros(1, size, dtype=torch.int64),
    "bias": lambda size: torch.ones(1, 1, size, size, dtype=torch.bool).tril(),
    "masked_bias": lambda size: torch.tensor(-1e4),
}


def _build(c: TextConfig) -> nn.Module:
    from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, RobertaConfig, RobertaModel

    if c.architecture == "gpt2":
        gpt2 = GPT2Config(
            vocab_size=c.vocab_size, n_positions=c.positions, n_embd=c.dim, n_layer=c.depth, n_head=c.heads,
            n_inner=c.hidden_dim, layer_norm_epsilon=c.layer_norm_eps, use_cache=False,
        )  # fmt: skip
        return GPT2Model(gpt2)
    config_class, model_class = (BertConfig, BertModel) if c.architecture == "bert" else (RobertaConfig, RobertaModel)
    config = config_class(
        vocab_size=c.vocab_size, hidden_size=c.dim, num_hidden_layers=c.depth, num_attention_heads=c.heads,
        intermediate_size=c.hidden_dim, max_position_embeddings=c.positions, type_vocab_size=c.token_types,
        layer_norm_eps=c.layer_norm_eps, pad_token_id=c.pad_id,
    )  # fmt: skip
    return model_class(config, add_pooling_layer=c.pooling == "pooler")


def text_layout(c: TextConfig, *, pooler: bool | None = None) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of an encoder, as transformers names them.

    pooler: whether the pooling layer is included; by default if the config uses it.
    """
    d, m = c.dim, c.hidden_dim
    shapes: dict[str, tuple[int, ...]] = {}
    if c.architecture == "gpt2":
        shapes |= {"wte.weight": (c.vocab_size, d), "wpe.weight": (c.positions, d)}
        for i in range(c.depth):
            for name, shape in {
                "ln_1": (d,), "attn.c_attn": (d, 3 * d), "attn.c_proj": (d, d), "ln_2": (d,), "mlp.c_fc": (d, m),
                "mlp.c_proj": (m, d),
            }.items():  # fmt: skip
                shapes |= {f"h.{i}.{name}.weight": shape, f"h.{i}.{name}.bias": shape[-1:]}
        return shapes | {"ln_f.weight": (d,), "ln_f.bias": (d,)}
    rows = {"word": c.vocab_size, "position": c.positions, "token_type": c.token_types}
    shapes |= {f"embeddings.{name}_embeddings.weight": (count, d) for name, count in rows.items()}
    layers: dict[str, tuple[int, ...]] = {"embeddings.LayerNorm": (d,)}
    for i in range(c.depth):
        at = f"encoder.layer.{i}"
        layers |= {f"{at}.attention.self.{name}": (d, d) for name in ("query", "key", "value")}
        layers |= {f"{at}.attention.output.dense": (d, d), f"{at}.attention.output.LayerNorm": (d,)}
        layers |= {f"{at}.intermediate.dense": (m, d), f"{at}.output.dense": (d, m), f"{at}.output.LayerNorm": (d,)}
    if pooler is None:
        pooler = c.pooling == "pooler"
    if pooler:
        layers["pooler.dense"] = (d, d)
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes
