"""Write listening pages: spectrograms as PNG, sounds as data links, and the page of a world."""

from __future__ import annotations

import base64
import html
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.audio.resample import resample
from aural.core.types import Clip
from aural.data.encode import encode
from aural.data.worlds import WorldItem

COLORS: Final = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e")
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222 }
article { border: 1px solid #ddd; border-radius: 8px; padding: 1rem; margin: 1rem 0; background: #fff }
body { background: #f6f6f6 } h1 { font-size: 1.3rem } h2 { font-size: 1rem; margin: 0 0 .5rem }
img { width: 100%; height: 120px; image-rendering: pixelated; display: block } audio { width: 100%; margin: .4rem 0 }
.lane { position: relative; height: 18px; background: #f0f0f0; margin-top: 2px; overflow: hidden }
.lane span { position: absolute; top: 0; bottom: 0; opacity: .55 }
.lane b { position: absolute; left: 4px; font: 12px/18px system-ui; white-space: nowrap }
.false { color: #a33 } .kind { color: #777; font-size: 12px } ul { margin: .3rem 0; padding-left: 1.2rem }
pre { overflow-x: auto; font-size: 12px; background: #f6f6f6; padding: .5rem } summary { color: #777; cursor: pointer }
"""


def world_page(title: str, items: Iterable[WorldItem]) -> Iterator[str]:
    """Yield a self-contained HTML page: a player, a spectrogram, the events, captions and truth record per item."""
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
    yield f"<style>{STYLE}</style>\n<h1>{html.escape(title)}</h1>\n"
    for item in items:
        yield _article(item)
    yield "</html>\n"


def _article(item: WorldItem) -> str:
    parts = [f"<article><h2>{html.escape(item.key)}</h2>"]
    if item.wave is not None:
        clip = Clip(item.wave[None], item.sample_rate_hz)
        parts.append(f'<img alt="spectrogram" src="data:image/png;base64,{spectrogram_png(clip, 600, 60)}">')
        parts.append(_lanes(item.facts, clip.duration_s))
        sound = base64.b64encode(encode(clip, "opus")).decode()
        parts.append(f'<audio controls preload=none src="data:audio/ogg;base64,{sound}"></audio>')
    parts.append("<ul>" + "".join(f"<li>{html.escape(text)}" for text in item.captions) + "</ul>")
    if item.negatives:
        lines = zip(item.negatives, item.negative_kinds, strict=True)
        false = (f"<li>{html.escape(text)} <span class=kind>{html.escape(kind)}</span>" for text, kind in lines)
        parts.append("False captions, with what was changed:<ul class=false>" + "".join(false) + "</ul>")
    record = html.escape(json.dumps(item.facts, indent=1, ensure_ascii=False))
    parts.append(f"<details><summary>truth record</summary><pre>{record}</pre></details></article>\n")
    return "".join(parts)


def _lanes(facts: Mapping[str, Any], duration_s: float) -> str:
    """Return one line per event of the truth record, with a bar from onset to offset of each occurrence."""
    lanes = []
    for number, event in enumerate(facts.get("events") or _phone_events(facts.get("phones") or ())):
        color = COLORS[number % len(COLORS)]
        bars = "".join(
            f'<span style="left:{100 * part["onset_s"] / duration_s:.2f}%;'
            f'width:{100 * (part["offset_s"] - part["onset_s"]) / duration_s:.2f}%;background:{color}"></span>'
            for part in event.get("occurrences") or [event]
        )
        level = f", {event['level_db']:.0f} dB" if "level_db" in event else ""
        lanes.append(f"<div class=lane>{bars}<b>{html.escape(str(event['label']))}{level}</b></div>")
    return "".join(lanes)


def _phone_events(phones: Iterable[tuple[str, float, float]]) -> list[dict[str, Any]]:
    """Return one event per phoneme symbol, with all its occurrences; pauses are left out."""
    spans: dict[str, list[dict[str, float]]] = {}
    for symbol, onset_s, offset_s in phones:
        spans.setdefault(symbol, []).append({"onset_s": onset_s, "offset_s": offset_s})
    return [{"label": symbol, "occurrences": parts} for symbol, parts in spans.items() if symbol]


def spectrogram_png(clip: Clip, width: int, height: int) -> str:
    """Return a spectrogram as a gray PNG in base64: log frequency up to 8 kHz, 60 dB from white to black."""
    mono = resample(clip.samples.mean(0, keepdims=True), clip.sample_rate_hz, 16_000)[0]
    mono = np.pad(mono, (256, max(256, 1024 - len(mono))))
    starts = np.linspace(0, len(mono) - 512, width).astype(int)
    frames = np.stack([mono[start : start + 512] for start in starts]) * np.hanning(512)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    bins = np.unique(np.geomspace(2, 256, height + 1).round()).astype(int)
    bands = np.add.reduceat(power, bins[:-1], axis=1) / np.diff(bins, append=257)[: len(bins) - 1]
    decibels = 10 * np.log10(bands / max(float(bands.max()), 1e-20) + 1e-9)
    gray = 255 - np.clip((decibels + 60) / 60 * 255, 0, 255).astype(np.uint8)
    return base64.b64encode(_png(np.ascontiguousarray(gray.T[::-1]))).decode()


def _png(gray: NDArray[np.uint8]) -> bytes:
    """Return an 8-bit gray PNG of an image (height, width)."""
    height, width = gray.shape
    raw = b"".join(b"\0" + row.tobytes() for row in gray)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw, 9)),
        (b"IEND", b""),
    ]
    chunks = (struct.pack(">I", len(data)) + k + data + struct.pack(">I", zlib.crc32(k + data)) for k, data in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
