"""The names of timm's vision transformer (1.0, models/vision_transformer.py), which Dasheng and M2D keep."""

from __future__ import annotations

from aural.encoders.convert.base import Piece, Shape

_PARTS = {
    "patch_embed.": "patch_embed.proj.",
    ".qkv.": ".attn.qkv.",
    ".proj.": ".attn.proj.",
    ".mlp.0.": ".mlp.fc1.",
    ".mlp.2.": ".mlp.fc2.",
}


def timm_name(name: str) -> str:
    """Return timm's name of a tensor of a patch embedding or of `aural.encoders.vit.TransformerBlock`.

    >>> timm_name("patch_embed.weight"), timm_name("blocks.0.mlp.2.bias"), timm_name("norm.weight")
    ('patch_embed.proj.weight', 'blocks.0.mlp.fc2.bias', 'norm.weight')
    """
    part = next((part for part in _PARTS if part in name), None)
    return name if part is None else name.replace(part, _PARTS[part])


def timm_piece(name: str, shape: Shape) -> Piece:
    """Return the origin of a tensor in a file with timm's names."""
    return Piece({timm_name(name): shape})
