"""Find a recording by one second of it, by neural fingerprints and by hashes of spectral peaks.

Claim: a network that learned by contrast of segments with their replicas (offset, noise, rooms) finds the recording of
a noisy second better than hashes of peaks, from a smaller index. Paper: Chang et al. (2021), arXiv 2010.11910.

The clips are those of the corpus, at 8 kHz; queries come from clips of held-out splits, which the network did not
learn from. A seed draws excerpts, rooms (image sources) and noise. Arms:

    neural      the packaged fingerprints, 64 numbers per second (`aural.models.segment_prints`)
    untrained   the same network with random weights
    log-mel     the network's input, its mean removed, as one vector
    peaks       hashes of pairs of spectral peaks (`aural.search.peak_hashes`)

Tasks, 1 per query whose best clip is right (`Excerpts.is_right`): clean; noisy, a room and noise at 0 to 10 dB; faster,
5% faster; mp3. "bytes" is the size of the index per second of sound.

Legend: N clips, S segments, T samples, E dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from aural.audio.io import read
from aural.core.types import FloatArray
from aural.core.vectors import unit_rows
from aural.data.manifest import read_manifest
from aural.models.segment_prints import RATE_HZ, SEGMENT, SegmentPrints, bundled, segments_of
from aural.reproduce.excerpts import Excerpts
from aural.reproduce.shared import shared_arrays
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import HELD_OUT, corpus_folder
from aural.search.peak_hashes import PeakHashes

VERSION: Final = 1
LONGEST_S: Final = 10.0
QUERIES: Final = 300
ROOMS: Final = 12
CHANGES: Final[dict[str, dict[str, Any]]] = {
    "clean": {},
    "noisy": {"room": True, "snr_db": (0, 10)},
    "faster": {"speed": 1.05},
    "mp3": {"codec": "MP3"},
}
Embed: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> scores."""
    clips, held = load_clips(context)
    network = bundled()
    torch.manual_seed(0)
    untrained = SegmentPrints().eval()
    arms: dict[str, Embed] = {"neural": network, "untrained": untrained, "log-mel": lambda x: flat(network, x)}
    draws = Excerpts(clips, RATE_HZ, length=SEGMENT, rooms=2 if context.smoke else ROOMS, seed=context.seed)
    cases = draws.cases(draws.random.permutation(held))[: 6 if context.smoke else QUERIES]  # as many for every seed
    queries = {task: [draws.query(clips[i], at, change) for i, at in cases] for task, change in CHANGES.items()}
    seconds = sum(map(len, clips)) / RATE_HZ
    scores: dict[str, dict[str, NDArray[np.float64] | float]] = {}
    for arm, embed in arms.items():
        rows, owner = segment_rows(clips, embed)
        scores[arm] = {"bytes": len(rows) * (2 * rows.shape[1] + 8) / seconds}
        for task, waves in queries.items():
            answers = [int(owner[int(at)]) for at in (rows @ embedded(embed, np.stack(waves)).T).argmax(0)]
            scores[arm][task] = right_answers(draws, cases, answers)
    peaks = PeakHashes(clips)
    scores["peaks"] = {"bytes": peaks.bytes_used / seconds}
    for task, waves in queries.items():
        scores["peaks"][task] = right_answers(draws, cases, [peaks.best(wave)[0] for wave in waves])
    return scores


def right_answers(draws: Excerpts, cases: Sequence[tuple[int, int]], answers: Sequence[int]) -> NDArray[np.float64]:
    """Return 1 per right answer, else 0."""
    return np.array([draws.is_right(case, answer) for case, answer in zip(cases, answers, strict=True)], np.float64)


def flat(network: SegmentPrints, segments: torch.Tensor) -> torch.Tensor:
    """Return the network's input as unit rows (S, N F) without their mean."""
    rows = network.pictures(segments).flatten(1)
    return torch.nn.functional.normalize(rows - rows.mean(1, keepdim=True), dim=1)


@torch.inference_mode()
def embedded(embed: Embed, segments: FloatArray) -> FloatArray:
    """Return the rows (S, E) of segments (S, T)."""
    parts = torch.from_numpy(np.ascontiguousarray(segments)).split(256)
    return unit_rows(torch.cat([embed(part) for part in parts]).numpy())


def segment_rows(clips: Sequence[FloatArray], embed: Embed) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return the rows (S, E) of all segments of the clips, and the clip of each (S,)."""
    cuts = [np.concatenate([rows for rows, _ in segments_of((clip, RATE_HZ))]) for clip in clips]
    owner = np.repeat(np.arange(len(cuts)), [len(rows) for rows in cuts])
    return embedded(embed, np.concatenate(cuts)), owner


def load_clips(context: StudyContext) -> tuple[list[FloatArray], NDArray[np.int64]]:
    """Return the clips (T,) of the corpus, and the places of those that queries may come from."""
    folder = corpus_folder(context.data, context.out)
    manifest = read_manifest(folder)
    rows = list(manifest)[: 60 if context.smoke else None]

    def compute() -> dict[str, NDArray[Any]]:
        waves = [
            read(manifest.file(row), sample_rate_hz=RATE_HZ, mono=True, start_s=row.start_s, duration_s=LONGEST_S)
            for row in rows
        ]
        joined = np.concatenate([wave.samples[0] for wave in waves])
        lengths = np.array([wave.frames for wave in waves])
        return {"lengths": lengths, "waves": np.round(joined.clip(-1, 1) * 32767).astype(np.int16)}

    digest = repr((VERSION, [(row.path, row.sha256) for row in rows], LONGEST_S))
    stored = shared_arrays(context, "recordings", digest, compute)
    parts = np.split(stored["waves"].astype(np.float32) / 32768, np.cumsum(stored["lengths"])[:-1])
    if context.smoke:  # synthetic sounds are shorter than a segment
        parts = [np.resize(part, 2 * SEGMENT) for part in parts]
    split = [row.split for row in rows]
    least = 1.15 * SEGMENT
    held = [i for i, part in enumerate(parts) if len(part) >= least and (split[i] in HELD_OUT or context.smoke)]
    return [np.asarray(part, np.float32) for part in parts], np.array(held, np.int64)
