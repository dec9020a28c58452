"""Microsoft CLAP: CLAP_weights_2022.pth and CLAP_weights_2023.pth (microsoft/CLAP, msclap/models)."""

from __future__ import annotations

from aural.audio.mel import window_from_kernels
from aural.encoders.convert.base import Piece, Publisher, Shape, htsat_constants
from aural.encoders.htsat import HtsatConfig


def publisher(htsat: bool, n_fft: int = 1024, n_mels: int = 64) -> Publisher:
    """Describe the file of 2023 (`htsat`) or of 2022 (CNN14). Inside the towers, aural uses the same tensor names."""
    audio = "audio_encoder.base.htsat." if htsat else "audio_encoder.base."

    def piece(name: str, shape: Shape) -> Piece:
        if name == "audio.front_end.window":
            kernel = (n_fft // 2 + 1, 1, n_fft)
            names = [f"{audio}spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag")]
            return Piece(dict.fromkeys(names, kernel), lambda kernels: window_from_kernels(*kernels))
        for prefix, published in (
            ("audio.front_end.filters", f"{audio}logmel_extractor.melW"),
            ("audio.encoder.", audio),
            ("audio.projection.", "audio_encoder.projection."),
            ("text.encoder.model.", "caption_encoder.base."),
            ("text.projection.", "caption_encoder.projection."),
        ):
            if name.startswith(prefix):
                return Piece({published + name.removeprefix(prefix): shape})
        return Piece({name: shape})  # logit_scale

    if htsat:
        c = HtsatConfig()
        heads = {"tscam_conv.weight": (527, 768, 2, 3), "tscam_conv.bias": (527,), "head.weight": (527, 527)}
        unused = {audio + name: shape for name, shape in (heads | {"head.bias": (527,)}).items()}
        return Publisher(piece, unused, htsat_constants(audio, c.depths, c.window, c.image_side // c.patch, masks=True))
    unused = {f"{audio}fc_audioset.weight": (527, 2048), f"{audio}fc_audioset.bias": (527,)}
    pooler = "caption_encoder.base.pooler.dense."
    return Publisher(piece, unused | {f"{pooler}weight": (768, 768), f"{pooler}bias": (768,)})
