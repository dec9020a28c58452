"""Neural fingerprints and hashes of spectral peaks, in one run: which clip is a 1-s excerpt from, and where in it?

    python bench/fingerprints.py SOUNDS [--weights FILE] [--seconds 1] [--out FILE]

SOUNDS is a folder with `test_lengths.npy` (samples at 8 kHz per clip) and `test*.opus`, the clips one after the other;
with --distractors the clips of `lengths.npy` and `train*.opus` are indexed too, but no query comes from them.
A query is 1 s (--seconds) of a clip from a random place on, in a room (image sources, pyroomacoustics), with babble
of other clips or pink noise at a signal-to-noise ratio, and for some rows re-encoded or played faster. Excerpts below
-50 dB are not asked. Right: the best clip is the right one or holds the same samples (a correlation with the
unchanged excerpt of at least 0.9, since libraries hold copies); placed: and the place is within 0.5 s. The peak
hashes are those of Wang (2003), "An industrial strength audio search algorithm": pairs of local maxima of the
spectrogram, and votes for the clip and the offset.
"""

from __future__ import annotations

import argparse
import json
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from scipy.stats import binomtest

from aural.core.types import FloatArray
from aural.models.segment_prints import HOP_S, RATE_HZ, SEGMENT, SegmentPrints, bundled, cut, segment_prints
from aural.reproduce.excerpts import Excerpts
from aural.search.peak_hashes import PeakHashes


def clips_of(folder: Path, lengths: str, files: str) -> list[FloatArray]:
    """Return clips that are stored one after the other."""
    ends = np.cumsum(np.load(folder / lengths).astype(np.int64))
    wave = np.concatenate([soundfile.read(file, dtype="float32")[0] for file in sorted(folder.glob(files))])
    return np.split(wave, ends[:-1])


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
        """Return the clip and the start whose segments have the largest sum of cosines with those of the excerpt."""
        count = (len(wave) - SEGMENT) // round(HOP_S * RATE_HZ) + 1
        with torch.inference_mode():
            asked = self.network(torch.from_numpy(cut(wave, count, 0)[0].copy())).numpy()
        sums = self.rows @ asked[0]
        for later in range(1, count):
            cosines = self.rows[later:] @ asked[later]
            follows = self.owner[later:] == self.owner[:-later]
            follows &= np.abs(self.starts_s[later:] - self.starts_s[:-later] - HOP_S * later) < 0.01
            sums[:-later] += np.where(follows, cosines, 0.0)
        at = int(np.argmax(sums))
        return int(self.owner[at]), float(self.starts_s[at])


class Peaks(PeakHashes):
    """Pairs of spectral peaks and where they occur."""

    def best(self, wave: FloatArray) -> tuple[int, float]:  # type: ignore[override]
        clip, shift = super().best(wave)
        return clip, shift / RATE_HZ


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
    queries = Excerpts(clips, RATE_HZ, length=round(args.seconds * RATE_HZ), rooms=args.rooms, seed=7)
    order = queries.random.permutation(SHARED["asked"])[: args.queries]
    cases = queries.cases(order)
    waves = [queries.query(clips[i], at, CHANGES[what]) for i, at in cases]
    rows = []
    for name, method in SHARED["methods"].items():
        began = time.process_time()
        answers = [method.best(wave) for wave in waves]
        took = time.process_time() - began
        pairs = list(zip(cases, answers, strict=True))
        good = [queries.is_right(case, clip) for case, (clip, _) in pairs]
        placed = sum(
            ok and (clip != i or abs(start - at / RATE_HZ) <= 0.5)
            for ok, ((i, at), (clip, start)) in zip(good, pairs, strict=True)
        )
        right = sum(good)
        limits = binomtest(right, len(pairs)).proportion_ci(method="wilson")
        row = {"change": what, "method": name, "queries": len(pairs), "right": round(right / len(pairs), 4)}
        row |= {"interval": [round(limits.low, 4), round(limits.high, 4)], "placed": round(placed / len(pairs), 4)}
        rows.append(row | {"ms_per_query": round(1e3 * took / len(pairs), 2)})
    return rows


SHARED: dict[str, Any] = {}
"""What forked processes read: the clips, the methods and the arguments."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--weights", type=Path, help="of tools/train_segment_prints.py; default: the package's")
    parser.add_argument("--queries", type=int, default=1000, help="per row")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a query")
    parser.add_argument("--methods", nargs="+", default=["neural", "peaks"], choices=["neural", "peaks"])
    parser.add_argument("--rooms", type=int, default=60)
    parser.add_argument("--distractors", action="store_true", help="also index the clips that the network learned from")
    parser.add_argument("--clips", type=int, default=0, help="take so many clips only")
    parser.add_argument("--only", type=lambda text: text.split(";"), default=list(CHANGES), help="changes, by ;")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = bundled(args.weights) if args.weights else bundled()
    least = 1.15 * args.seconds * RATE_HZ
    clips = [clip for clip in clips_of(args.sounds, "test_lengths.npy", "test*.opus") if len(clip) >= least]
    clips = clips[: args.clips or None]
    asked = len(clips)
    if args.distractors:
        clips += clips_of(args.sounds, "lengths.npy", "train*.opus")
    minutes = sum(map(len, clips)) / RATE_HZ / 60
    print(
        json.dumps({"clips": len(clips), "queried": asked, "minutes": round(minutes, 1), "seconds": args.seconds}),
        flush=True,
    )
    report: list[dict[str, Any]] = []
    SHARED.update(clips=clips, asked=asked, args=args, methods={})
    builds: dict[str, Any] = {"neural": lambda: Neural(clips, network), "peaks": lambda: Peaks(clips)}
    for name in args.methods:
        began = time.process_time()
        method = SHARED["methods"][name] = builds[name]()
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
