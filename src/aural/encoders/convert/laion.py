"""LAION CLAP: the .pt files of lukewys/laion_clap (LAION-AI/CLAP, clap_module/model.py), HTSAT and PANN-14."""

from __future__ import annotations

from torch import Tensor

from aural.audio.mel import window_from_kernels
from aural.encoders.convert.base import Piece, Publisher, Shape, htsat_constants
from aural.encoders.htsat import HtsatConfig

LINEARS = {"linear1": "0", "linear2": "2"}


def publisher(
    htsat: HtsatConfig | None,
    fused: bool,
    embed_dim: int,
    *,
    complete: bool = True,
    n_fft: int = 1024,
    n_mels: int = 64,
) -> Publisher:
    """Describe a LAION CLAP file; `htsat` is None for PANN-14.

    Fused models compute their mel outside the network, so the front end in the file is unused. complete: whether the
    file holds the transforms, class heads and second scale of laion_clap; OpenFLAM's file does not.
    """
    audio = "audio_branch."
    kernels = [f"{audio}spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag")]
    kernel_shape, filters = (n_fft // 2 + 1, 1, n_fft), f"{audio}logmel_extractor.melW"

    def piece(name: str, shape: Shape) -> Piece:
        if name.startswith("audio.front_end."):
            if fused:
                return Piece({}, lambda _: _default_front_end(name))
            if name.endswith("window"):
                return Piece(dict.fromkeys(kernels, kernel_shape), lambda pair: window_from_kernels(*pair))
            return Piece({filters: shape})
        if name == "logit_scale":
            return Piece({"logit_scale_a": shape})
        side, part, rest = name.split(".", 2)
        if part == "projection":
            linear, kind = rest.split(".")
            return Piece({f"{side}_projection.{LINEARS[linear]}.{kind}": shape})
        return Piece({f"{side}_branch.{rest.removeprefix('model.')}": shape})

    if htsat is not None:
        masks = htsat_constants(audio, htsat.depths, htsat.window, htsat.image_side // htsat.patch, masks=True)
        if not complete:
            return Publisher(piece, {}, masks)
    unused: dict[str, Shape] = {"logit_scale_t": ()}
    for side in ("audio", "text"):
        for layer in (0, 3):
            at = f"{side}_transform.sequential.{layer}."
            unused |= {f"{at}weight": (embed_dim, embed_dim), f"{at}bias": (embed_dim,)}
    if fused:
        unused |= dict.fromkeys(kernels, kernel_shape) | {filters: (n_fft // 2 + 1, n_mels)}
    if htsat is None:
        unused |= {f"{audio}fc_audioset.weight": (527, 2048), f"{audio}fc_audioset.bias": (527,)}
        return Publisher(piece, unused)
    dim = htsat.embed_dim * 8
    heads: dict[str, Shape] = {"tscam_conv.weight": (527, dim, 2, 3), "tscam_conv.bias": (527,)}
    heads |= {"head.weight": (527, 527), "head.bias": (527,)}
    return Publisher(piece, unused | {audio + name: shape for name, shape in heads.items()}, masks)


def _default_front_end(name: str) -> Tensor:
    from aural.audio.mel import PRESETS, LogMel

    return LogMel(PRESETS["laion-fused"]).state_dict()[name.removeprefix("audio.front_end.")]
