"""BEATs: a transformer on patches of Kaldi's filter bank with gated relative positions.

Chen et al. (2022), "BEATs: Audio Pre-Training with Acoustic Tokenizers", arXiv 2212.09058; the layout of the published
files (iterations 1 to 3, pretrained or fine-tuned; code and weights MIT). Layers are post-norm with residuals scaled by
(2 layers)^(1/4) (DeepNorm). A sound is the mean of its states; the classifier of a fine-tuned file is not read.

Legend: N items, T samples, P patches, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from aural.audio.kaldi import RATE_HZ, KaldiMel
from aural.encoders.convert.base import Piece, Publisher, Shape
from aural.models.families.audio_only import AudioOnly
from aural.models.families.base import FILES, OpenOptions, Traits, depth_of, tensor_shape

WINDOW_S = 10.0
SHORTEST = 2800
"""Samples of 16 frames, one patch; a shorter sound is extended by zeros."""
BANDS = 128
GAIN = 2.0**15
MEAN, DEVIATION = 15.41663, 6.55582
FARTHEST = 800
"""Distance in patches from which on all positions share a bias; fixed in the published configurations."""
BIAS = "encoder.layers.{}.self_attn.relative_attention_bias.weight"


class BeatsLayer(nn.Module):
    """One layer: states (N, P, D) and the bias of positions (H, P, P) to states."""

    def __init__(self, dim: int, heads: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.heads, self.alpha = heads, (2 * depth) ** 0.25
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))
        self.grep_linear = nn.Linear(dim // heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, heads, 1, 1))
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj)
        )  # (N, H, P, D / H)
        a, b = self.grep_linear(q).unflatten(-1, (2, 4)).sum(-1).sigmoid().unbind(-1)  # (N, H, P)
        gate = a[..., None] * (b[..., None] * self.grep_a - 1.0) + 2.0
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=gate * bias)
        x = self.self_attn_layer_norm(x * self.alpha + self.out_proj(y.transpose(1, 2).flatten(2)))
        return self.final_layer_norm(x * self.alpha + self.fc2(nn.functional.gelu(self.fc1(x))))


class BeatsEncoder(nn.Module):
    """Normalized log-mels (N, W, F) to states (N, P, D)."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        dim, inner, patch, kernel = (sizes[name] for name in ("dim", "inner", "patch", "kernel"))
        self.patch_embedding = nn.Conv2d(1, inner, patch, stride=patch, bias=False)
        self.layer_norm = nn.LayerNorm(inner)
        self.post_extract_proj = nn.Linear(inner, dim)
        self.pos_conv = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim // sizes["group"])
        self.norm = nn.LayerNorm(dim)
        self.positions = nn.Embedding(sizes["buckets"], sizes["heads"])
        self.layers = nn.ModuleList(
            BeatsLayer(dim, sizes["heads"], sizes["hidden"], sizes["depth"]) for _ in range(sizes["depth"])
        )

    def forward(self, mel: Tensor) -> Tensor:
        x = self.patch_embedding(mel[:, None]).flatten(2).transpose(1, 2)  # in order of time, then of bands
        x = self.post_extract_proj(self.layer_norm(x))
        near = self.pos_conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        x = self.norm(x + nn.functional.gelu(near))
        bias = self.bias(x.shape[1])
        for layer in self.layers:
            x = layer(x, bias)
        return x

    def bias(self, patches: int) -> Tensor:
        """Return the bias (H, P, P) of the relative positions."""
        at = buckets(patches, self.positions.num_embeddings)
        return self.positions(at.to(self.positions.weight.device)).permute(2, 0, 1)


@lru_cache(maxsize=8)
def buckets(patches: int, count: int) -> Tensor:
    """Return the bucket (P, P) of each pair of patches, as in T5."""
    from transformers.models.t5.modeling_t5 import T5Attention

    at = torch.arange(patches, device="cpu")
    table: Tensor = T5Attention._relative_position_bucket(
        at[None] - at[:, None], num_buckets=count, max_distance=FARTHEST
    )
    return table


class Beats(AudioOnly):
    """A BEATs model; its encoder is built on first use."""

    def __init__(self, state: Mapping[str, Tensor], path: Path, options: OpenOptions) -> None:
        self.state, self.path = state, str(path)
        self.dim = tensor_shape(state, "encoder.layer_norm.weight", self.path)[0]
        super().__init__(Traits(self.dim, RATE_HZ, WINDOW_S), options)
        self.front_end = KaldiMel(BANDS, gain=GAIN).to(self.device)

    @cached_property
    def encoder(self) -> BeatsEncoder:
        state, where = self.state, self.path
        inner, _, patch, _ = tensor_shape(state, "patch_embedding.weight", where)
        _, group, kernel = tensor_shape(state, "encoder.pos_conv.0.weight_v", where)
        buckets, heads = tensor_shape(state, BIAS.format(0), where)
        depth = depth_of(state, "encoder.layers.{}.fc1.weight")
        sizes = {"dim": self.dim, "inner": inner, "patch": patch, "group": group, "kernel": kernel, "heads": heads}
        sizes |= {"buckets": buckets, "depth": depth, "hidden": state["encoder.layers.0.fc1.weight"].shape[0]}
        shared = [BIAS.format(i) for i in range(1, depth)]  # the same tensor under the name of each layer
        unused = {name: tuple(t.shape) for name, t in state.items() if name in shared or name.startswith("predictor.")}
        return self.translated(lambda: BeatsEncoder(sizes), state, Publisher(_piece, unused), where)

    def audio_rows(self, waves: Tensor) -> Tensor:
        waves = nn.functional.pad(waves, (0, max(0, SHORTEST - waves.shape[1])))
        return self.encoder((self.front_end(waves) - MEAN) / (2 * DEVIATION)).mean(1)


_NAMES = {"norm": "encoder.layer_norm", "pos_conv": "encoder.pos_conv.0", "positions": BIAS.format(0)[:-7]}
_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj", "grep_linear", "grep_a")


def _piece(name: str, shape: Shape) -> Piece:
    if name == "pos_conv.weight":
        return Piece(
            {f"{_NAMES['pos_conv']}.weight_g": (1, 1, shape[2]), f"{_NAMES['pos_conv']}.weight_v": shape}, _normed
        )
    part, _, leaf = name.partition(".")
    if part != "layers":
        return Piece({f"{_NAMES.get(part, part)}.{leaf}": shape})
    number, _, rest = leaf.partition(".")
    attention = "self_attn." if rest.startswith(_ATTENTION) else ""
    return Piece({f"encoder.layers.{number}.{attention}{rest}": shape})


def _normed(tensors: list[Tensor]) -> Tensor:
    """Return the weight of a convolution with weight normalization per position of the kernel."""
    length, direction = tensors
    return direction * (length / direction.norm(dim=(0, 1), keepdim=True))


@FILES.register("encoder.pos_conv.0.weight_v")
def open_beats(state: Mapping[str, Tensor], path: Path, options: OpenOptions) -> Beats:
    """Open a published weight file of BEATs."""
    return Beats(state, path, options)
