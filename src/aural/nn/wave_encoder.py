"""A convolutional encoder of the raw waveform.

Legend: B clips, T samples, N frames, C channels.
"""

from __future__ import annotations

from torch import Tensor, nn

LAYERS = ((10, 5), (8, 4), (4, 2), (4, 2), (4, 2))
"""Kernel and stride of each layer; the product of the strides is 160."""


class WaveEncoder(nn.Module):
    """Five strided convolutions from a waveform (B, T) to frames (B, T // 160, C), 100 per second at 16 kHz.

    Each layer is a convolution, a group norm over all channels and time (as in wav2vec, which makes the features
    independent of the level), and ReLU. The result is log(1 + |x|), as in wav2vec.

    Source: Schneider et al. 2019, wav2vec (arXiv 1904.05862), section 3.1 and its implementation in fairseq.
    """

    hop = 160

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (1, *(channels,) * len(LAYERS))
        self.convs = nn.ModuleList(
            nn.Conv1d(before, after, kernel, stride, bias=False)
            for before, after, (kernel, stride) in zip(widths, widths[1:], LAYERS, strict=False)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) for _ in LAYERS)

    def forward(self, wave: Tensor) -> Tensor:
        x = wave[:, None, : wave.shape[1] // self.hop * self.hop]
        for conv, norm, (kernel, stride) in zip(self.convs, self.norms, LAYERS, strict=True):
            extra = kernel - stride
            x = nn.functional.pad(x, (extra // 2, extra - extra // 2))
            x = norm(conv(x)).relu()
        return x.abs().add(1).log().transpose(1, 2)
