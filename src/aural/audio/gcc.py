"""Generalized cross-correlation with phase transform: which microphone receives a sound first.

Legend: C channels, T samples, N blocks, P = C (C - 1) / 2 pairs, L = 2 `lags` + 1 lags.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from aural.core.types import FloatArray


def channel_pairs(channels: int) -> list[tuple[int, int]]:
    """Return the pairs of channels in order.

    >>> channel_pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return list(combinations(range(channels), 2))


def gcc_phat(samples: FloatArray, *, lags: int, block: int) -> FloatArray:
    """Return the cross-correlations (N, P, L) of the channels (C, T) of a clip, with whitened spectra.

    Formula, with spectra X_a, X_b of a block with a Hann window, padded to twice its length:
        R_ab(l) = inverse FFT of X_a conj(X_b) / |X_a conj(X_b)|, l = -lags ... lags samples
    The maximum is at the lag by which channel a is later than channel b.

    block: samples per block. A last block that is not complete is left out.

    Source: Knapp and Carter 1976, The generalized correlation method for estimation of time delay.

    >>> click = np.zeros((2, 64), np.float32)
    >>> click[0, 34] = click[1, 30] = 1
    >>> int(gcc_phat(click, lags=8, block=64)[0, 0].argmax()) - 8  # channel 0 is 4 samples later
    4
    """
    count = samples.shape[1] // block
    blocks = samples[:, : count * block].reshape(len(samples), count, block) * np.hanning(block)
    spectra = np.fft.rfft(blocks, 2 * block)
    rows = []
    for a, b in channel_pairs(len(samples)):
        cross = spectra[a] * spectra[b].conj()
        correlation = np.fft.irfft(cross / np.maximum(np.abs(cross), 1e-12), 2 * block)
        rows.append(np.concatenate([correlation[:, -lags:], correlation[:, : lags + 1]], axis=1))
    return np.stack(rows, axis=1).astype(np.float32)


def swap_channels(gcc: FloatArray, order: tuple[int, ...]) -> FloatArray:
    """Return the correlations (..., P, L) of the same clip with its channels in another order.

    order: the present number of each channel of the new order.

    >>> one = np.arange(3.0)[None]  # one pair, lags -1 to 1
    >>> swap_channels(one, (1, 0)).tolist()
    [[2.0, 1.0, 0.0]]
    """
    pairs = channel_pairs(len(order))
    number = {pair: n for n, pair in enumerate(pairs)}
    moved = np.empty_like(gcc)
    for n, (a, b) in enumerate(pairs):
        first, second = order[a], order[b]
        same = first < second
        source = gcc[..., number[(first, second) if same else (second, first)], :]
        moved[..., n, :] = source if same else source[..., ::-1]
    return moved
