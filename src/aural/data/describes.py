"""Decide by a vocabulary of sounds whether a caption describes a sound, or only names a file, a device or a license."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from aural.audio.ucs import categories

WORD: Final = re.compile(r"[^\W\d_]+")
_NOT_SOUNDS = """
archived adr and misc general other type test tone tonal user interface designed design source room medium
small large long short open close up down on off left right music digital data files file
"""
NOT_SOUNDS: Final = frozenset(_NOT_SOUNDS.split())
"""Words of the list that name no sound, or that occur in any text."""
_VERBS = """
bark beep bang bleat blow boil call bubble burst buzz chirp clang clank clap click cough crack crash creak
cry drip drum explod fall fly hiss hit honk hum knock laugh meow moo pluck pop pour purr ring roar rub
rumble rustle say scream scratch shake shoot sing slam snap sneeze snore speak splash squeak stroke talk tap
tick toll voice walk whistle whoosh yell
"""
VERBS: Final = frozenset(_VERBS.split())
_INSTRUMENTS = """
accordion banjo bass bassoon bongo cello celesta chord clarinet conga cymbal dulcimer fiddle flute
glockenspiel gong guiro guitar harmonica harp harpsichord hat horn koto kalimba lute marimba melody note
oboe ocarina orchestra organ pad piano piccolo recorder rhythm saxophone shaker shamisen sitar snare song
speech string synthesizer tabla tambourine timpani tom triangle trombone trumpet tuba ukulele vibraphone
vibraslap viola violin xylophone
"""
INSTRUMENTS: Final = frozenset(_INSTRUMENTS.split())
ENDINGS: Final = ("ing", "es", "s", "ed", "er")


def names_sound(caption: str, *, most: int = 40) -> bool:
    """Return whether a caption has a word for a source or an action of sound, and no more than `most` words.

    Sources are instruments and the categories and subcategories of the Universal Category System. A word may have an
    ending.

    Source: the filters "complexity" and "action" of DiHT (arXiv 2301.02280), section 3.1, with a vocabulary in place of
    a parser.

    >>> names_sound("A dog barks twice."), names_sound("IMG_0231 uploaded on Sunday, CC0 1.0")
    (True, False)
    """
    words = [word.lower() for word in WORD.findall(caption)]
    return len(words) <= most and any(_is_sound(word) for word in words)


@cache
def _vocabulary() -> frozenset[str]:
    words = {word.lower() for names in categories().values() for name in names for word in WORD.findall(name)}
    singular = {word.removesuffix("s") for word in words}
    return frozenset(
        word for word in words | singular | VERBS | INSTRUMENTS if len(word) > 2 and word not in NOT_SOUNDS
    )


@cache
def _is_sound(word: str) -> bool:
    stems = {word} | {word.removesuffix(ending) for ending in ENDINGS if word.endswith(ending)}
    stems |= {stem[:-1] for stem in stems if len(stem) > 3 and stem[-1] == stem[-2]}  # drumming: drumm, drum
    return not stems.isdisjoint(_vocabulary())
