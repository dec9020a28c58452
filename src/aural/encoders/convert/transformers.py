"""transformers' ClapModel repositories: config.json, preprocessor_config.json and model.safetensors."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from aural.encoders.convert.base import Piece, Publisher, Shape, htsat_constants, stacked
from aural.encoders.htsat import HtsatConfig

RENAMES = (  # inside a Swin block: aural's name -> the name in transformers
    ("attn.relative_position_bias_table", "attention.self.relative_position_bias_table"),
    ("attn.proj.", "attention.output.dense."),
    ("mlp.fc1.", "intermediate.dense."),
    ("mlp.fc2.", "output.dense."),
    ("norm1.", "layernorm_before."),
    ("norm2.", "layernorm_after."),
)


def clapmodel_name(name: str) -> str:
    """Return the name that ClapModel gives one of aural's tensors, except query, key and value."""
    if name == "logit_scale":
        return "logit_scale_a"
    side, part, rest = name.split(".", 2)
    if part == "projection":
        return f"{side}_projection.{rest}"
    if side == "text":
        return f"text_model.{rest.removeprefix('model.')}"
    for name_here, name_there in RENAMES:
        if "blocks." in rest:
            rest = rest.replace(name_here, name_there)
    return f"audio_model.audio_encoder.{'batch_norm.' + rest[4:] if rest.startswith('bn0.') else rest}"


def qkv_names(name: str) -> list[str]:
    """Return the names of ClapModel's query, key and value for aural's `...attn.qkv.weight` or `.bias`."""
    base, kind = clapmodel_name(name).rsplit("attn.qkv.", 1)
    return [f"{base}attention.self.{part}.{kind}" for part in ("query", "key", "value")]


def publisher(htsat: HtsatConfig, front_end: Callable[[str], Tensor]) -> Publisher:
    """Describe a ClapModel file; `front_end(name)` returns the window and filters, which the file does not hold."""

    def piece(name: str, shape: Shape) -> Piece:
        if name.startswith("audio.front_end."):
            return Piece({}, lambda _: front_end(name.removeprefix("audio.front_end.")))
        if "attn.qkv." in name:
            return stacked(qkv_names(name), shape)
        return Piece({clapmodel_name(name): shape})

    audio = "audio_model.audio_encoder."
    constants = htsat_constants(audio, htsat.depths, htsat.window, htsat.image_side // htsat.patch, masks=False)
    return Publisher(piece, {"logit_scale_t": ()}, constants)
