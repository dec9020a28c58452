"""Several captions per training clip at three levels of detail: label, short sentence, detailed sentence.

The phrases are those of the clip's rule or class, their rewordings by grammar (`reword`) and by a language model
(`paraphrases`). Random choices are seeded by the path of the clip.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from aural.data.libre.captions import (
    DETAILED,
    LANGUAGES,
    SHORT,
    bare,
    fill,
    measured,
    note_captions,
    sentence,
    speech_captions,
)
from aural.data.libre.paraphrases import phrases_of
from aural.data.libre.reword import rewordings
from aural.data.manifest import TRAINING_SPLITS, Row

GRAINS: Final = ("label", "short", "detailed")
MOST: Final = {"label": 6, "short": 6, "detailed": 4}
"""Largest number of captions per clip and level."""
SPEECH_DETAILED: Final = (
    '{who} says "{words}" in {language}.',
    '"{words}", spoken in {language}.',
    '{language}: "{words}".',
)


def wordings(row: Row, paraphrases: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the captions of a clip by level of detail.

    paraphrases: Phrase -> rewordings, for example `stored_paraphrases()`.
    """
    rng = random.Random(f"wordings {row.path}")
    if row.language:
        texts = _of_speech(row)
    elif "velocity" in row.meta:
        texts = _of_note(row)
    else:
        texts = _of_recording(row, paraphrases, rng)
    first = {"label": row.caption_label, "short": row.caption_short, "detailed": row.caption_detailed}
    return {
        grain: list(dict.fromkeys([first[grain], *_sampled(texts[grain], MOST[grain] - 1, rng)])) for grain in GRAINS
    }


def all_wordings(rows: Iterable[Row], paraphrases: Mapping[str, Sequence[str]]) -> dict[str, dict[str, list[str]]]:
    """Return path -> `wordings` of the training and validation clips."""
    return {row.path: wordings(row, paraphrases) for row in rows if row.split in TRAINING_SPLITS}


def _sampled(texts: Sequence[str], most: int, rng: random.Random) -> list[str]:
    unique = list(dict.fromkeys(texts))
    return unique if len(unique) <= most else rng.sample(unique, most)


def _of_recording(row: Row, paraphrases: Mapping[str, Sequence[str]], rng: random.Random) -> dict[str, list[str]]:
    phrases = phrases_of(row)
    reworded = [text for phrase in phrases for text in (*rewordings(phrase), *paraphrases.get(phrase, ()))]
    every = list(dict.fromkeys([*phrases, *reworded]))
    short = [fill(rng.choice(SHORT), phrase, "") for phrase in every for _ in range(2)]
    detailed = []
    for phrase in every:
        details = ", ".join(measured(row.duration_s, row.fingerprint, rng))
        detailed.append(fill(rng.choice(DETAILED if details else SHORT), phrase, details))
    return {"label": [*map(bare, every), row.class_name], "short": short, "detailed": detailed}


def _of_note(row: Row) -> dict[str, list[str]]:
    meta = json.loads(row.meta)
    drawn = [note_captions(f"{row.path} {n}", row.class_name, meta["key"], meta["velocity"]) for n in range(6)]
    label = drawn[0].label
    return {
        "label": [label, f"{label} note", f"note on {label}"],
        "short": [text for texts in drawn for text in (texts.short, *texts.others)],
        "detailed": [texts.detailed for texts in drawn],
    }


def _of_speech(row: Row) -> dict[str, list[str]]:
    who = json.loads(row.meta).get("who", "a person") if row.meta else "a person"
    drawn = [speech_captions(f"{row.path} {n}", row.language, row.transcript, who) for n in range(6)]
    name = LANGUAGES.get(row.language, row.language)
    spoken = row.transcript.strip().rstrip(".")
    forms = [t.format(who=sentence(who), words=spoken, language=name) for t in SPEECH_DETAILED] if spoken else []
    return {
        "label": [f"speech in {name}", f"{name} speech", f"someone speaking {name}"],
        "short": [text for texts in drawn for text in (texts.short, *texts.others)],
        "detailed": forms or [texts.short for texts in drawn],
    }
