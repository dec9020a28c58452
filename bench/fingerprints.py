"""Neural fingerprints and hashes of spectral peaks, in one run: which clip is a 1-s excerpt from, and where in it?

    python bench/fingerprints.py SOUNDS [--weights FILE] [--out FILE]

SOUNDS is a folder with `test_lengths.npy` (samples at 8 kHz per clip) and `test*.opus`, the clips one after the other;
with --distractors the clips of `lengths.npy` and `train*.opus` are indexed too, but no query comes from them.
A query is 1 s of a clip from a random place on, in a room (image sources, pyroomacoustics), with babble of other clips
or pink noise at a signal-to-noise ratio, and for some rows re-encoded or played faster. Excerpts below -50 dB are not
asked. Right: the best clip is the right one or holds the same samples (a correlation with the unchanged excerpt of at
least 0.9, since libraries hold copies); placed: and the place is within 0.5 s. The peak hashes are those of Wang
(2003), "An industrial strength audio search algorithm": pairs of local maxima of the spectrogram, and votes for the
clip and the offset.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections import Counter, defaultdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import fftconvolve
from scipy.stats import binomtest

from aural.core.types import FloatArray
from aural.models.segment_prints import HOP_S, RATE_HZ, SEGMENT, SegmentPrints, bundled, segment_prints

SIZE, STEP = 1024, 128
"""Samples of a transform, and between two, for the peaks."""
NEAR = (9, 15)
"""Frames and bins in which a peak is the highest."""
FAN_OUT, SOONEST, LATEST, WIDEST = 8, 1, 48, 96
"""Pairs per peak; least and greatest distance in frames, and greatest distance in bins."""
LEAST_DB = -50.0
COPY = 0.9
"""Correlation from which a part of a clip is the same recording as an excerpt."""


def clips_of(folder: Path, lengths: str, files: str) -> list[FloatArray]:
    """Return clips that are stored one after the other."""
    ends = np.cumsum(np.load(folder / lengths).astype(np.int64))
    wave = np.concatenate([soundfile.read(file, dtype="float32")[0] for file in sorted(folder.glob(files))])
    return np.split(wave, ends[:-1])


def level_db(wave: FloatArray) -> float:
    """Return the mean power in dB re full scale."""
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-20))


def correlation(excerpt: FloatArray, clip: FloatArray) -> float:
    """Return the largest normalized correlation of an excerpt with as long a part of a clip that is not silent."""
    padded = np.pad(clip.astype(np.float64), len(excerpt))
    products = fftconvolve(padded, excerpt[::-1].astype(np.float64), mode="valid")
    sums = np.cumsum(np.r_[0.0, padded**2])
    powers = sums[len(excerpt) :] - sums[: -len(excerpt)]
    power = float(np.sum(excerpt.astype(np.float64) ** 2))
    return float(np.max(np.abs(products) / np.sqrt(power * np.maximum(powers, 0.01 * power))))


class Queries:
    """Draws excerpts and changes them."""

    def __init__(self, clips: list[FloatArray], seed: int, rooms: int) -> None:
        import pyroomacoustics

        self.clips, self.random = clips, np.random.default_rng(seed)
        self.rooms = list[FloatArray]()
        for _ in range(rooms):
            size = self.random.uniform([3, 3, 2.4], [10, 8, 4])
            absorption, order = pyroomacoustics.inverse_sabine(self.random.uniform(0.2, 0.8), size)
            room = pyroomacoustics.ShoeBox(
                size, fs=RATE_HZ, materials=pyroomacoustics.Material(absorption), max_order=min(order, 17)
            )
            room.add_source(self.random.uniform(0.5, size - 0.5))
            room.add_microphone(self.random.uniform(0.5, size - 0.5))
            room.compute_rir()
            response = np.asarray(room.rir[0][0], np.float32)
            self.rooms.append(response[max(0, int(np.argmax(np.abs(response))) - 40) :])

    def place(self, clip: FloatArray) -> int:
        """Return where an excerpt starts: the loudest of three random places."""
        starts = self.random.integers(0, len(clip) - SEGMENT + 1, 3)
        return int(max(starts, key=lambda at: float(np.square(clip[at : at + SEGMENT]).sum())))

    def cases(self, numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Return clips and places of excerpts that are not silent."""
        drawn = [(int(i), self.place(self.clips[int(i)])) for i in numbers]
        return [(i, at) for i, at in drawn if level_db(self.clips[i][at : at + SEGMENT]) > LEAST_DB]

    def noise(self) -> FloatArray:
        """Return the sum of four other clips, or pink noise, each for half of the queries."""
        if self.random.random() < 0.5:
            total = np.zeros(SEGMENT, np.float32)
            for number in self.random.integers(0, len(self.clips), 4):
                part = self.clips[int(number)]
                at = self.place(part)
                piece = part[at : at + SEGMENT]
                total += piece / max(float(np.sqrt(np.mean(piece**2))), 1e-4)
            return total
        spectrum = np.fft.rfft(self.random.standard_normal(SEGMENT))
        return np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), SEGMENT).astype(np.float32)

    def query(self, clip: FloatArray, at: int, change: dict[str, Any]) -> FloatArray:
        """Return the excerpt at a place after a change: speed, room, snr_db and codec."""
        speed, before = change.get("speed", 1.0), min(at, 4000)
        wave = clip[at - before : at + SEGMENT]
        if speed != 1.0:
            places = before + np.arange(SEGMENT) * speed
            wave = np.interp(places, np.arange(len(wave)), wave).astype(np.float32)
            before = 0
        if change.get("room"):
            response = self.rooms[int(self.random.integers(0, len(self.rooms)))]
            wave = fftconvolve(wave, response)[: len(wave)].astype(np.float32)
        wave = wave[before : before + SEGMENT]
        if "snr_db" in change:
            noise = self.noise()
            snr_db = self.random.uniform(*np.broadcast_to(change["snr_db"], 2))
            level = np.sqrt(np.mean(wave**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
            wave = wave + noise * level
        wave = wave / max(float(np.abs(wave).max()), 1e-6) * 0.7
        if "codec" in change:
            stream = io.BytesIO()
            subtype = {"MP3": "MPEG_LAYER_III", "OGG": "VORBIS"}[change["codec"]]
            soundfile.write(stream, wave, RATE_HZ, format=change["codec"], subtype=subtype, compression_level=0.9)
            decoded = soundfile.read(io.BytesIO(stream.getvalue()), dtype="float32")[0]
            wave = np.pad(decoded, (0, max(0, SEGMENT - len(decoded))))[:SEGMENT]
        return wave.astype(np.float32)


class Neural:
    """Exact search over all fingerprints."""

    def __init__(self, clips: list[FloatArray], network: SegmentPrints) -> None:
        self.network = network
        prints = [segment_prints((clip, RATE_HZ), network) for clip in clips]
        self.rows = np.concatenate([rows for rows, _ in prints])
        self.starts_s = np.concatenate([starts for _, starts in prints])
        self.owner = np.repeat(np.arange(len(clips)), [len(rows) for rows, _ in prints])

    @property
    def bytes_used(self) -> int:
        return len(self.rows) * (self.rows.shape[1] * 2 + 8)  # 16-bit numbers, clip and start

    def best(self, wave: FloatArray) -> tuple[int, float]:
        with torch.inference_mode():
            row = self.network(torch.from_numpy(wave)[None]).numpy()[0]
        at = int(np.argmax(self.rows @ row))
        return int(self.owner[at]), float(self.starts_s[at])


class Peaks:
    """Pairs of spectral peaks and where they occur."""

    def __init__(self, clips: list[FloatArray]) -> None:
        self.places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, clip in enumerate(clips):
            for code, frame in hashes(clip):
                self.places[code].append((number, frame))

    @property
    def bytes_used(self) -> int:
        return 8 * sum(map(len, self.places.values()))  # 32 bits of hash, 32 of clip and frame

    def best(self, wave: FloatArray) -> tuple[int, float]:
        votes: Counter[tuple[int, int]] = Counter()
        for code, frame in hashes(wave):
            votes.update((clip, at - frame) for clip, at in self.places.get(code, ()))
        if not votes:
            return -1, 0.0
        (clip, shift), _ = votes.most_common(1)[0]
        return clip, shift * STEP / RATE_HZ


def hashes(wave: FloatArray) -> list[tuple[int, int]]:
    """Return the hash of each pair of peaks and the frame of the first."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, SIZE // 2), SIZE)[::STEP]
    power: NDArray[np.float64] = np.log(np.abs(np.fft.rfft(frames * np.hanning(SIZE), axis=1)) + 1e-6)
    high = (power == maximum_filter(power, NEAR)) & (power > power.max() - 6.9)  # 60 dB
    at, bins = np.nonzero(high)
    found = []
    for i in range(len(at)):
        pairs = 0
        for j in range(i + 1, len(at)):
            distance, shift = int(at[j] - at[i]), int(bins[j] - bins[i])
            if distance > LATEST or pairs == FAN_OUT:
                break
            if distance >= SOONEST and abs(shift) <= WIDEST:
                found.append((int(bins[i]) << 16 | int(bins[j]) << 6 | distance, int(at[i])))
                pairs += 1
    return found


CHANGES: dict[str, dict[str, Any]] = {
    "none": {},
    "room": {"room": True},
    "room, 0 to 10 dB": {"room": True, "snr_db": (0, 10)},
    **{f"room, {snr_db} dB": {"room": True, "snr_db": snr_db} for snr_db in (10, 5, 0)},
    "10 dB": {"snr_db": 10},
    "0 dB": {"snr_db": 0},
    "MP3": {"codec": "MP3"},
    "Vorbis": {"codec": "OGG"},
    "2% faster": {"speed": 1.02},
    "5% faster": {"speed": 1.05},
}


def rows_of(what: str) -> list[dict[str, Any]]:
    """Ask every method of `SHARED` the same queries with one change; return a row per method."""
    clips, args = SHARED["clips"], SHARED["args"]
    queries = Queries(clips, 7, args.rooms)
    order = queries.random.permutation(SHARED["asked"])[: args.queries]
    cases = queries.cases(order)
    waves = [queries.query(clips[i], at, CHANGES[what]) for i, at in cases]
    rows = []
    for name, method in SHARED["methods"].items():
        began = time.process_time()
        answers = [method.best(wave) for wave in waves]
        took = time.process_time() - began
        pairs = list(zip(cases, answers, strict=True))
        copies = sum(clip != i and is_copy(clips, i, at, clip) for (i, at), (clip, _) in pairs)
        right = sum(clip == i for (i, _), (clip, _) in pairs) + copies
        placed = sum(clip == i and abs(start - at / RATE_HZ) <= 0.5 for (i, at), (clip, start) in pairs) + copies
        limits = binomtest(right, len(pairs)).proportion_ci(method="wilson")
        row = {"change": what, "method": name, "queries": len(pairs), "right": round(right / len(pairs), 4)}
        row |= {"interval": [round(limits.low, 4), round(limits.high, 4)], "placed": round(placed / len(pairs), 4)}
        rows.append(row | {"ms_per_query": round(1e3 * took / len(pairs), 2)})
    return rows


def is_copy(clips: list[FloatArray], number: int, at: int, answer: int) -> bool:
    """Return whether the clip that a method answers holds the same samples as an excerpt of another clip."""
    return answer >= 0 and correlation(clips[number][at : at + SEGMENT], clips[answer]) >= COPY


SHARED: dict[str, Any] = {}
"""What forked processes read: the clips, the methods and the arguments."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--weights", type=Path, help="of tools/train_segment_prints.py; default: the package's")
    parser.add_argument("--queries", type=int, default=1000, help="per row")
    parser.add_argument("--rooms", type=int, default=60)
    parser.add_argument("--distractors", action="store_true", help="also index the clips that the network learned from")
    parser.add_argument("--clips", type=int, default=0, help="take so many clips only")
    parser.add_argument("--only", type=lambda text: text.split(";"), default=list(CHANGES), help="changes, by ;")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = bundled(args.weights) if args.weights else bundled()
    clips = [clip for clip in clips_of(args.sounds, "test_lengths.npy", "test*.opus") if len(clip) >= SEGMENT * 1.15]
    clips = clips[: args.clips or None]
    asked = len(clips)
    if args.distractors:
        clips += clips_of(args.sounds, "lengths.npy", "train*.opus")
    minutes = sum(map(len, clips)) / RATE_HZ / 60
    print(json.dumps({"clips": len(clips), "queried": asked, "minutes": round(minutes, 1), "hop_s": HOP_S}), flush=True)
    report: list[dict[str, Any]] = []
    SHARED.update(clips=clips, asked=asked, args=args, methods={})
    for name, build in (("neural", lambda: Neural(clips, network)), ("peaks", lambda: Peaks(clips))):
        began = time.process_time()
        method = SHARED["methods"][name] = build()
        took = time.process_time() - began
        size = {"bytes_per_hour": round(method.bytes_used / minutes * 60)}
        report.append({"method": name, "index_s_per_hour": round(took / minutes * 60, 1), **size})
        print(json.dumps(report[-1]), flush=True)
    with get_context("fork").Pool(args.jobs) as processes:
        for rows in processes.imap(rows_of, args.only):
            report += rows
            print("\n".join(json.dumps(row) for row in rows), flush=True)
    if args.out:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
