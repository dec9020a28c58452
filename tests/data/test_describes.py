from __future__ import annotations

import pytest

from aural.data.describes import names_sound

SOUNDS = (
    "A dog barks in the rain.", "drumming on a tom", "You can hear a saxophone.", "footsteps", "speech in Spanish",
    "A CAR PASSES", "something exploding, dull and low", "a man says hello",
)  # fmt: skip
NO_SOUNDS = (
    "", "IMG_0231.WAV", "Zoom H4n, 44.1 kHz, 24 bit, stereo", "Free to use under CC0, please credit",
    "take 3, final version 12", "copyright 2012, all rights reserved", "file 12 of the pack",
)  # fmt: skip


@pytest.mark.parametrize("caption", SOUNDS)
def test_a_caption_with_a_source_or_an_action_passes(caption: str) -> None:
    assert names_sound(caption)


@pytest.mark.parametrize("caption", NO_SOUNDS)
def test_a_caption_without_one_does_not(caption: str) -> None:
    assert not names_sound(caption)


def test_a_long_text_is_no_caption() -> None:
    assert not names_sound("a dog barks " * 20)
    assert names_sound("a dog barks " * 20, most=100)
