"""M2D-CLAP: a vision transformer on log-mels at 16 kHz, a projection, and BERT or GTE for texts.

Niizumi et al. (2024), "M2D-CLAP: Masked Modeling Duo Meets CLAP for Learning General-purpose Audio-Language
Representation", arXiv 2406.02032; Niizumi et al. (2025), IEEE Access. Code and weights of the publisher are for
non-commercial evaluation only (NTT). This module was written for aural; the papers and the publisher's code were read
for facts (names and shapes of tensors, front end, pooling), and nothing of that code is copied.

    2024    flat names; patches of 608 frames; the projection is two layers on the mean of the states; texts are vectors
            of thenlper/gte-base, which the file does not hold
    2025    names below "backbone." and "text_encoder."; patches of 1001 frames; the projection is a token that attends
            to all states; texts are the first state of a BERT that the file holds

Sounds of less than 10 s are extended by zeros, as in the publisher's examples. Log-mels of 80 bands are normalized by
the mean and deviation of the file.

Legend: N items, T samples, F mel bands, W frames, Q rows and P columns of patches, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from aural.audio.mel import PRESETS, LogMel
from aural.core.errors import CheckpointError
from aural.encoders.convert.base import Publisher
from aural.encoders.convert.timm import timm_piece
from aural.encoders.text import TEXT_TOWERS, TextConfig, TextEncoder
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.encoders.vit import TransformerBlock
from aural.models.families.base import FILES, FamilyModel, OpenOptions, Traits, depth_of, tensor_shape
from aural.models.families.sentence_text import is_text_folder, open_text
from aural.models.open import folder_config, locate
from aural.models.prefix import strip_prefix

WINDOW_S = 10.0
RATE_HZ = 16000
HEADS = 12
FLOOR = torch.finfo(torch.float32).eps
"""Added to the mel power before the logarithm."""
OLD_STATISTICS = (-7.1, 4.2)
"""Mean and deviation of the log-mels of files that hold none."""
FRAMES = {62: 1001}
"""Columns of patches -> frames of one input, where it is no multiple of the patch: the published sizes are 80 x 608 (38
columns) and 80 x 1001 (62 columns; the last 9 frames are not read)."""
SCALE = 1 / 0.07
"""The inverse temperature at the start of training, for files without a scale."""
GTE = "thenlper/gte-base"
ENCODER = ("blocks.", "cls_token", "norm.", "patch_embed.", "pos_embed")
PROJECTION = "audio_proj."


class M2dEncoder(nn.Module):
    """The transformer: images (N, 1, F, W) to states (N, Q P, D), without that of the class token."""

    def __init__(self, dim: int, depth: int, grid: tuple[int, int], patch: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], dim))
        self.patch_embed = nn.Conv2d(1, dim, patch, stride=patch)
        self.blocks = nn.ModuleList(TransformerBlock(dim, HEADS, 4.0, 0.0, eps=1e-6) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.patch_embed(image)  # (N, D, Q, P)
        at = self.pos_embed[:, 1:].unflatten(1, self.grid)[:, :, : patches.shape[-1]]  # (1, Q, P, D)
        x = (patches.permute(0, 2, 3, 1) + at).flatten(1, 2)
        first = self.cls_token + self.pos_embed[:, :1]
        x = torch.cat([first.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:]


class SemanticToken(nn.Module):
    """The projection of 2025: a learned token attends to the states (N, P, D) in blocks of one head; (N, D)."""

    def __init__(self, dim: int, depth: int, mlp_ratio: float) -> None:
        super().__init__()
        self.sem_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.sem_blocks = nn.ModuleList(TransformerBlock(dim, 1, mlp_ratio, 0.0) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.sem_token.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.sem_blocks:
            x = block(x)
        return self.norm(x[:, 0])


class M2dClap(FamilyModel):
    """An M2D-CLAP model; each tower is built on first use.

    state: the tensors of the audio side, without the prefix "backbone.". text: those of the text tower; empty if the
    file holds none.
    """

    def __init__(
        self, state: Mapping[str, Tensor], text: Mapping[str, Tensor], path: Path, options: OpenOptions
    ) -> None:
        self.state, self.text, self.path = state, text, str(path)
        stored: Sequence[float] = state["norm_stats"].tolist() if "norm_stats" in state else OLD_STATISTICS
        self.mean, self.deviation = stored
        dim = tensor_shape(state, "cls_token", self.path)[-1]
        scale = float(state["logit_scale"].float().exp()) if "logit_scale" in state else SCALE
        traits = Traits(dim, RATE_HZ, WINDOW_S, shorter="pad", logit_scale=scale)
        super().__init__(traits, options)
        self.front_end = LogMel(PRESETS["m2d"]).to(self.device)

    @cached_property
    def audio_encoder(self) -> M2dEncoder:
        state = {name: tensor for name, tensor in self.state.items() if name.startswith(ENCODER)}
        dim, _, *patch = tensor_shape(state, "patch_embed.proj.weight", self.path)
        rows = PRESETS["m2d"].n_mels // patch[0]
        columns = (tensor_shape(state, "pos_embed", self.path)[1] - 1) // rows
        depth = depth_of(state, "blocks.{}.norm1.weight")
        return self.translated(
            lambda: M2dEncoder(dim, depth, (rows, columns), (patch[0], patch[1])),
            state,
            Publisher(timm_piece),
            self.path,
        )

    @cached_property
    def audio_projection(self) -> nn.Module:
        state = strip_prefix(self.state, PROJECTION)
        if "sem_token" not in state:
            return self.two_layers(self.state, PROJECTION, self.path)
        hidden, dim = tensor_shape(state, "sem_blocks.0.mlp.fc1.weight", self.path)
        depth = depth_of(state, "sem_blocks.{}.norm1.weight")
        return self.translated(lambda: SemanticToken(dim, depth, hidden / dim), state, Publisher(timm_piece), self.path)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The BERT of the file."""
        state, where = self.text, f"{self.path}: text_encoder"
        layers = {name: t for name, t in strip_prefix(state, "text_encoder.").items() if not name.startswith("pooler.")}
        config = self._text_config(layers, where)
        return self.filled(lambda: TextEncoder(config), {f"model.{k}": t for k, t in layers.items()}, "", where)

    def _text_config(self, state: Mapping[str, Tensor], where: str) -> TextConfig:
        vocabulary, dim = tensor_shape(state, "embeddings.word_embeddings.weight", where)
        positions = tensor_shape(state, "embeddings.position_embeddings.weight", where)[0]
        hidden = tensor_shape(state, "encoder.layer.0.intermediate.dense.weight", where)[0]
        depth = depth_of(state, "encoder.layer.{}.output.dense.bias")
        sizes = {"vocab_size": vocabulary, "dim": dim, "hidden_dim": hidden, "depth": depth, "positions": positions}
        return TEXT_TOWERS["bert"].model_copy(update={**sizes, "max_tokens": positions})

    @cached_property
    def gte(self) -> FamilyModel:
        """The text encoder that a file without one needs: the folder of the option `tokenizer`, or the hub's."""
        folder = Path(self.options.tokenizer or locate(GTE, offline=self.options.offline))
        values = folder_config(folder)
        if not is_text_folder(folder, values):
            raise CheckpointError(f"{folder}: is not the folder of {GTE}, which embeds the texts of this model")
        return open_text(folder, values, OpenOptions(str(folder), self.options.device, self.options.precision))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        config = self.text_encoder.config
        backend = load_backend(config.tokenizer, self.options.tokenizer)
        return Tokenizer(backend, special=config.special_tokens, max_tokens=config.max_tokens, pad_id=config.pad_id)

    def audio_rows(self, waves: Tensor) -> Tensor:
        image = (self.front_end(waves) + FLOOR).log().transpose(1, 2)[:, None]  # (N, 1, F, W)
        image = (image - self.mean) / self.deviation
        width = self.audio_encoder.patch_embed.stride[1]
        columns = self.audio_encoder.grid[1]
        frames = FRAMES.get(columns, columns * width)
        image = nn.functional.pad(image, (0, -(image.shape[-1] % frames) % width))
        states = torch.cat([self.audio_encoder(piece) for piece in image.split(frames, dim=-1)], dim=1)
        if not isinstance(self.audio_projection, SemanticToken):
            states = states.mean(1)
        return self.audio_projection(states)

    def text_rows(self, texts: Sequence[str]) -> Tensor:
        if not self.text:
            return self.gte.text_rows(texts)
        tokens = self.tokenizer(texts)
        pooled: Tensor = self.text_encoder(tokens.ids.to(self.device), tokens.mask.to(self.device)).pooled
        return pooled


@FILES.register("backbone.cls_token")
def open_m2d_2025(state: Mapping[str, Tensor], path: Path, options: OpenOptions) -> M2dClap:
    """Open a file of 2025, with its text tower."""
    audio, text = strip_prefix(state, "backbone."), strip_prefix(state, "text_encoder.")
    return M2dClap(_checked(audio, path), text, path, options)


@FILES.register("cls_token")
def open_m2d_2024(state: Mapping[str, Tensor], path: Path, options: OpenOptions) -> M2dClap:
    """Open a file of 2024, whose decoder is not read."""
    return M2dClap(_checked(state, path), {}, path, options)


def _checked(state: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """Refuse an encoder without a projection and one with a text projection, which no published file has."""
    if not any(name.startswith(PROJECTION) for name in state):
        raise CheckpointError(f"{path}: is an M2D encoder without a text side; only M2D-CLAP files embed texts")
    if any(name.startswith("text_proj.") for name in state):
        raise CheckpointError(f"{path}: has a projection of texts, which the published files of M2D-CLAP lack")
    return state
