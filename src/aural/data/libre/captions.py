"""Generate captions from a small grammar at three levels of detail: label, short sentence, detailed sentence.

Random choices are seeded by the path of the clip. Details come only from the source (language, pitch, material) or from
measurements (length, brightness, decay).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from aural.data.fingerprint import BANDS, SIZE, STRETCHES
from aural.data.libre.cards import taxonomy

SHORT: Final = (
    "{x}.",
    "The sound of {x}.",
    "This is {x}.",
    "{x} can be heard.",
    "A recording of {x}.",
    "You can hear {x}.",
    "Here is {x}.",
    "One hears {x}.",
    "An audio clip of {x}.",
    "A sound clip: {x}.",
)
DETAILED: Final = (
    "{x}, {d}.",
    "{d}: {x}.",
    "The sound of {x}, {d}.",
    "A recording of {x}, {d}.",
    "You can hear {x}, {d}.",
    "In this clip there is {x}, {d}.",
)
NOTE_SHORT: Final = ("{x} plays a note.", "A note played on {x}.", "{x}.", "The sound of {x}.", "A single note of {x}.")
NOTE_DETAILED: Final = (
    "{x} plays {d}.",
    "{d}, played on {x}.",
    "A recording of {x} playing {d}.",
    "You can hear {x} playing {d}.",
)
SPEECH_SHORT: Final = (
    "{who} speaking {language}.",
    "{who} talking in {language}.",
    "Speech in {language}.",
    "A voice speaking {language}.",
    "{language} speech.",
)
LANGUAGES: Final = {
    "ar": "Arabic",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "en-GB": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fi": "Finnish",
    "fr": "French",
    "ga": "Irish",
    "gl": "Galician",
    "he": "Hebrew",
    "hu": "Hungarian",
    "it": "Italian",
    "lt": "Lithuanian",
    "ml": "Malayalam",
    "nb": "Norwegian",
    "nds": "Low German",
    "nl": "Dutch",
    "nn": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "pt-BR": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sl": "Slovenian",
    "sr": "Serbian",
    "sv": "Swedish",
    "tn": "Tswana",
    "uk": "Ukrainian",
    "zh": "Chinese",
    "wa": "Walloon",
    "id": "Indonesian",
    "la": "Latin",
}
NOTE_NAMES: Final = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")


@dataclass(frozen=True, slots=True)
class Captions:
    """Captions of one clip: a label, a short and a detailed sentence, and other wordings of the short one."""

    label: str
    short: str
    detailed: str
    others: list[str] = field(default_factory=list)


def captions(
    seed: str, class_name: str, phrase: str, duration_s: float, fingerprint: bytes, *, also: Sequence[str] = ()
) -> Captions:
    """Return the captions of a sound event.

    Args:
        seed: Seed of the random choices, normally the path of the clip.
        class_name: Class of the clip. It supplies the phrases if `phrase` is empty.
        phrase: Noun phrase that names the sound, with its article ("a step on snow").
        duration_s: Length in seconds.
        fingerprint: Fingerprint of the clip, or an empty string of bytes to leave out brightness and decay.
        also: Further details for the detailed caption.
    """
    rng = random.Random(seed)
    phrases = [phrase] if phrase else list(taxonomy().phrases[class_name])
    first = phrases[0] if rng.random() < 0.5 else rng.choice(phrases)
    details = ", ".join([*also, *measured(duration_s, fingerprint, rng)])
    more = [*phrases, *([] if not phrase else taxonomy().phrases[class_name][:2])]
    others = {fill(template, rng.choice(more), "") for template in rng.sample(SHORT, 4)}
    short = fill(rng.choice(SHORT), first, "")
    detailed = fill(rng.choice(DETAILED), rng.choice(phrases), details) if details else fill(SHORT[1], first, "")
    return Captions(bare(phrases[0]), short, detailed, sorted(others - {short}))


def note_captions(seed: str, class_name: str, midi: int, velocity: int) -> Captions:
    """Return the captions of one instrument note. `midi` is the key, `velocity` the force, both 0 to 127."""
    rng = random.Random(seed)
    phrase = taxonomy().phrases[class_name][0]
    force = _level(velocity, 60, 100, ("soft", "moderate", "loud"))
    height = _level(midi, 48, 71, ("low", "middle", "high"))
    note = f"{NOTE_NAMES[midi % 12]}{midi // 12 - 1}"
    details = rng.choice([f"a {force} {height} note", f"a {force} note, {note}", f"a {height} note ({note})"])
    others = {fill(template, phrase, "") for template in rng.sample(NOTE_SHORT, 3)}
    short = fill(rng.choice(NOTE_SHORT), phrase, "")
    return Captions(bare(phrase), short, fill(rng.choice(NOTE_DETAILED), phrase, details), sorted(others - {short}))


def speech_captions(seed: str, language: str, transcript: str, who: str) -> Captions:
    """Return the captions of speech. The detailed caption quotes the transcript."""
    rng = random.Random(seed)
    name = LANGUAGES.get(language, language)
    filled = [sentence(t.replace("{who}", who).replace("{language}", name)) for t in SPEECH_SHORT]
    short = rng.choice(filled)
    words = transcript.strip().rstrip(".")
    detailed = f'{sentence(who)} says "{words}" in {name}.' if words else short
    return Captions(f"speech in {name}", short, detailed, sorted(set(rng.sample(filled, 3)) - {short}))


def _level(value: int, low: int, high: int, names: tuple[str, str, str]) -> str:
    """Return the first name below `low`, the last name above `high`, else the one between."""
    if value < low:
        return names[0]
    return names[2] if value > high else names[1]


def measured(duration_s: float, fingerprint: bytes, rng: random.Random) -> list[str]:
    """Return words that describe the measured length, brightness and change of level of a clip."""
    words: list[str] = []
    if duration_s < 0.4:
        words.append(rng.choice(["very short", "lasting a moment", "in a split second"]))
    elif duration_s < 1.5:
        words.append(rng.choice(["short", "brief", f"about {max(1, round(duration_s))} second long"]))
    elif duration_s > 8:
        words.append(rng.choice(["long", "going on for a while", f"about {round(duration_s)} seconds long"]))
    if len(fingerprint) != SIZE:
        return words
    power = 10 ** (np.frombuffer(fingerprint[4:], np.int8).reshape(STRETCHES, BANDS) / 10.0)
    per_band = power.mean(axis=0)
    center = float((per_band * np.arange(BANDS)).sum() / per_band.sum()) / BANDS  # 0 = 100 Hz, 1 = 5,500 Hz
    if center < 0.3:
        words.append(rng.choice(["deep", "low in pitch", "dull and low"]))
    elif center > 0.75:
        words.append(rng.choice(["bright", "high-pitched", "sharp and high"]))
    level = 10 * np.log10(power.sum(axis=1) + 1e-9)
    if level[:4].max() - level[-4:].max() > 20:
        words.append(rng.choice(["dying away", "fading out", "decaying to silence"]))
    elif level[-4:].max() - level[:4].max() > 12:
        words.append(rng.choice(["growing louder", "swelling up"]))
    return words


def fill(template: str, phrase: str, details: str) -> str:
    """Return a template with `{x}` and `{d}` replaced, as a sentence."""
    return sentence(template.replace("{x}", phrase).replace("{d}", details))


def sentence(text: str) -> str:
    """Return the text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def bare(phrase: str) -> str:
    """Remove the article of a phrase: "a dog barking" -> "dog barking"."""
    return re.sub(r"^(a|an|the) ", "", phrase)
