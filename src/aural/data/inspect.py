"""Summarize shards: samples, hours, splits, sources, codecs, captions, and damaged parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aural.data.stream import ShardStream, StreamConfig


@dataclass
class Inspection:
    """Counts over all samples of some shards."""

    shards: int
    by: dict[str, Counter[str]]  # split, source, codec, rate -> counts
    samples: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    captions: int = 0
    first: list[str] = field(default_factory=list)
    damages: list[str] = field(default_factory=list)
    damage_count: int = 0

    def lines(self, show: int = 3) -> Iterator[str]:
        """Yield the counts as text, with up to `show` samples and damages."""
        yield f"{self.shards:,} shards, {self.samples:,} samples, {self.size_bytes / 1e6:,.1f} MB of sound"
        yield f"{self.seconds / 3600:,.2f} hours, {self.captions:,} captions"
        for name, counts in self.by.items():
            shown = ", ".join(f"{value or '(none)'} {count:,}" for value, count in counts.most_common(12))
            yield f"{name}: {shown}" + (f", ... ({len(counts)} in all)" if len(counts) > 12 else "")
        yield from self.first[:show]
        if self.damage_count:
            yield f"damaged or skipped: {self.damage_count:,}"
            yield from (f"  {damage}" for damage in self.damages[: max(show, 1)])


def inspect(shards: str | Sequence[str], *, decode: bool = False) -> Inspection:
    """Read all samples and return their counts. Checksums are compared; with `decode` every sound is decoded."""
    names = (shards,) if isinstance(shards, str) else tuple(shards)
    stream = ShardStream(StreamConfig(shards=names, shuffle=False, mix=1, decode=decode))
    columns = ("split", "source", "codec", "rate")
    result = Inspection(shards=len(stream.shards), by={name: Counter() for name in columns})
    for sample in stream:
        meta, captions = sample.meta, sample.captions
        result.samples += 1
        result.size_bytes += len(sample.audio)
        result.seconds += sample.clip.duration_s if sample.clip else float(meta.get("duration_s", 0.0))
        result.captions += len(captions)
        rate = sample.clip.sample_rate_hz if sample.clip else meta.get("sample_rate_hz", "")
        facts = {"split": meta.get("split", ""), "source": meta.get("source", ""), "codec": sample.suffix, "rate": rate}
        for name, value in facts.items():
            result.by[name][str(value)] += 1
        if len(result.first) < 10:
            words = captions[0] if captions else ", ".join(meta.get("tags", ())) or meta.get("label", "")
            result.first.append(f"{sample.key}.{sample.suffix}: {words}")
    result.damages, result.damage_count = stream.skipped, stream.skip_count
    return result
