"""Draw where texts are heard in recordings: spectrogram, located spans and the probability of each frame, as one PNG.

    python tools/draw_located.py out.png --model libre-base RECORDING "TEXT; TEXT" [RECORDING "TEXT; TEXT" ...]

Spans above the spectrogram have the color of their text; the curves below are the probabilities of the frames, with
the threshold as a dashed line.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import aural
from aural.audio.io import read
from aural.models.locate import Locator


def draw(figure: Figure, rows: list[tuple[Path, Locator]]) -> None:
    """Draw each recording as a column of two panels."""
    axes = figure.subplots(2, len(rows), squeeze=False, height_ratios=[2, 1])
    for column, (path, locator) in enumerate(rows):
        clip = read(path, sample_rate_hz=16_000, mono=True)
        top, below = axes[:, column]
        top.specgram(clip.samples[0] + 1e-7, NFFT=512, Fs=16_000, noverlap=256, cmap="gray_r", vmin=-140, vmax=-40)
        result = locator.locate(path)
        colors = {text: f"C{n}" for n, text in enumerate(locator.texts)}
        for span in result.spans:
            height = 7600 - 450 * locator.texts.index(span.text)
            top.hlines(height, span.onset_s, span.offset_s, colors[span.text], linewidth=5)
        for scores, times_s in locator.scored(path):
            for n, text in enumerate(locator.texts):
                below.plot(times_s.mean(1), scores[:, n], color=colors[text])
        for text, color in colors.items():
            below.plot([], [], color=color, label=f"{text} ({100 * result.best[text][0]:.0f}%)")
        below.axhline(locator.threshold, color="gray", linestyle="--", linewidth=0.8)
        below.set(ylim=(0, 1), xlim=(0, result.duration_s), xlabel="s")
        top.set(xlim=(0, result.duration_s), title=path.name)
        below.legend(fontsize=7, loc="upper right")
        print(path.name, *(f"\n  {s.onset_s:6.1f} {s.offset_s:6.1f} {s.confidence:.2f} {s.text}" for s in result.spans))
    axes[0, 0].set_ylabel("Hz")
    axes[1, 0].set_ylabel("probability")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("pairs", nargs="+", metavar="RECORDING TEXTS")
    parser.add_argument("--model", default="libre-base")
    arguments = parser.parse_args()
    model = aural.load(arguments.model, device="cpu")
    recordings = [Path(one) for one in arguments.pairs[::2]]
    texts = [[text.strip() for text in one.split(";")] for one in arguments.pairs[1::2]]
    locators = [Locator(model, one) for one in texts]
    figure = Figure(
        figsize=(5 * len(recordings), 4), dpi=np.clip(220 // len(recordings), 60, 110), layout="constrained"
    )
    draw(figure, list(zip(recordings, locators, strict=True)))
    figure.savefig(arguments.out)
    Image.open(arguments.out).quantize(48).save(arguments.out, optimize=True)
