"""Test the captions: three levels of detail, correct details, and choices seeded by the path of the clip."""

from __future__ import annotations

import numpy as np

from aural.core.types import Clip
from aural.data.fingerprint import fingerprint
from aural.data.libre.captions import bare, captions, measured, note_captions, speech_captions
from aural.data.libre.cards import taxonomy


def test_three_levels_of_detail_and_repeatable() -> None:
    result = captions("clips/x/1.flac", "chicken", "", 0.2, b"")
    assert result == captions("clips/x/1.flac", "chicken", "", 0.2, b"")
    assert result.label == "hen clucking"
    assert result.short.endswith(".")
    assert result.short[0].isupper()
    assert len(result.others) >= 2
    assert result.short not in result.others


def test_many_wordings() -> None:
    assert len({captions(f"clips/{n}", "rain", "", 3.0, b"").short for n in range(200)}) >= 15


def test_a_phrase_of_the_source_is_kept() -> None:
    result = captions("a", "footsteps", "a step on snow", 0.3, b"")
    assert result.label == "step on snow"
    assert "step on snow" in result.short.lower()
    assert "step on snow" in result.detailed.lower()


def test_notes_state_key_and_force() -> None:
    result = {note_captions(str(n), "cello", 84, 120).detailed for n in range(40)}
    assert all("cello" in text.lower() for text in result)
    assert all("loud" in text or "high" in text for text in result)
    assert any("C6" in text for text in result)


def test_speech_quotes_the_words_and_names_the_language() -> None:
    result = speech_captions("a", "it", "Buongiorno.", "a man")
    assert result.label == "speech in Italian"
    assert result.detailed == 'A man says "Buongiorno" in Italian.'
    assert "Italian" in result.short


def test_measured_words_are_true() -> None:
    import random

    time = np.arange(32_000) / 16_000
    low = Clip((np.sin(2 * np.pi * 150 * time) * np.exp(-4 * time))[None].astype(np.float32), 16_000)
    words = " ".join(measured(2.0, fingerprint(low), random.Random(0)))
    assert any(word in words for word in ("deep", "low"))
    assert any(word in words for word in ("dying", "fading", "decaying"))
    high = Clip(np.sin(2 * np.pi * 4800 * time)[None].astype(np.float32), 16_000)
    assert any(word in " ".join(measured(9.0, fingerprint(high), random.Random(0))) for word in ("bright", "high"))


def test_every_class_has_phrases() -> None:
    table = taxonomy()
    assert len(table.families) > 150
    assert all(phrases and all(bare(text) for text in phrases) for phrases in table.phrases.values())
