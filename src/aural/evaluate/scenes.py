"""Build the data set "libre-scenes": simulated scenes of held-out clips, with false captions and timed events."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aural.core.errors import DataError
from aural.core.files import atomic_write
from aural.data.manifest import Manifest, Row, write_manifest

if TYPE_CHECKING:
    from aural.data.simulate import Negative, SceneSimulator

SCENES: Final = 200
RATE_HZ: Final = 32_000
HELD_OUT: Final = ("test", "eval-only")
VALIDATION: Final = ("valid",)
PER_CLASS: Final = 6
VERSION: Final = "2"


def build_scenes(
    manifest: Manifest,
    folder: str | Path,
    *,
    count: int = SCENES,
    seed: int = 0,
    splits: Collection[str] = HELD_OUT,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write `count` scenes of the clips of `splits` to `folder`, complete or not at all.

    Each row holds the scene's caption and paraphrases in `captions`, meta.negatives [[kind, text], ...], and
    meta.events [[onset_s, offset_s, label], ...] of every occurrence, and meta.questions (`StoredQuestion`); `tags` are
    the labels that sound.
    Raises DataError if the splits have fewer than four classes.
    """
    from aural.data.simulate import SceneConfig, SceneSimulator
    from aural.data.simulate.corpus import clips_of

    folder = Path(folder)
    clips = clips_of(manifest, RATE_HZ, split=splits, per_class=PER_CLASS)
    if len({clip.label for clip in clips}) < 4:
        raise DataError(f"{manifest.folder}: its splits {', '.join(splits)} have too few classes for scenes")
    simulator = SceneSimulator(clips, SceneConfig(sample_rate_hz=RATE_HZ, room_chance=0.0), seed=seed)
    return write_scene_set(simulator, folder, count, version=VERSION, progress=progress)


def write_scene_set(
    simulator: SceneSimulator,
    folder: Path,
    count: int,
    *,
    version: str,
    kinds: Callable[[Negative], Sequence[str]] = lambda negative: (negative.kind,),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the first `count` scenes of a simulator as FLAC files with a manifest, complete or not at all.

    kinds: returns the kinds under which a false caption is stored, once per kind.
    """
    import soundfile

    from aural.data.simulate.statements import stored_questions

    rate_hz = simulator.config.sample_rate_hz
    with atomic_write(folder, parents=True) as part:
        (part / "clips").mkdir(parents=True)
        rows = []
        for index in range(count):
            scene = simulator.scene(index)
            path = f"clips/{index:04}.flac"
            stream = BytesIO()  # libsndfile does not report that a disk is full
            soundfile.write(stream, scene.clip.samples.T, rate_hz, format="FLAC", subtype="PCM_16")
            (part / path).write_bytes(stream.getvalue())
            events = [[o.onset_s, o.offset_s, event.label] for event in scene.truth.events for o in event.occurrences]
            negatives = [[kind, n.text] for n in scene.negatives for kind in kinds(n)]
            facts = {"negatives": negatives, "events": events, "questions": stored_questions(simulator, scene, index)}
            rows.append(
                Row(
                    path=path, source="libre-scenes", source_version=version, split="test",
                    duration_s=scene.clip.duration_s, sample_rate_hz=rate_hz, channels=1,
                    license="of the clips it is made of",
                    tags=sorted({event.label for event in scene.truth.events}),
                    captions=[scene.caption, *scene.paraphrases],
                    meta=json.dumps(facts, ensure_ascii=False, sort_keys=True),
                )
            )  # fmt: skip
            progress(index + 1, count)
        write_manifest(part / "manifest.parquet", rows)
    return folder
