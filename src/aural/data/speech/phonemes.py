"""A stand-alone program that speaks one sentence with libespeak-ng and writes its samples with the times of phonemes.

It is run as `python -I -S phonemes.py`, a separate process per sentence: the library keeps state between sentences
(flutter of the pitch), and cannot be started twice in one process. A new process makes a sentence a pure function of
its request.

Input (stdin): JSON with text, voice, rate_wpm, pitch, pitch_range. Output (stdout): one line of JSON with
sample_rate_hz and phones, a list of [IPA symbol ("" for a pause), first sample]; then the samples as 16-bit integers.
Exit code 3: the library is missing. Exit code 4: the library has no such voice.

Source: speak_lib.h of espeak-ng 1.51 (names, numbers and the layout of espeak_EVENT).
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

LIBRARIES = ("libespeak-ng.so.1", "libespeak-ng.dylib", "/opt/homebrew/lib/libespeak-ng.dylib", "libespeak-ng.dll")
SYNCHRONOUS, PHONEME_EVENTS, PHONEME_IPA = 2, 1, 2
END_OF_LIST, PHONEME = 0, 7
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4
UTF8, END_PAUSE = 1, 0x1000
NO_LIBRARY, NO_VOICE = 3, 4


class _Value(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("value", _Value),
    )


def open_library() -> Any:
    """Return the library, or None if it is not on this machine."""
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def speak(library: Any, request: dict[str, Any]) -> tuple[int, list[tuple[str, int]], bytes]:
    """Return the sample rate, the first sample of every phoneme, and the samples."""
    samples: list[bytes] = []
    phones: list[tuple[str, int]] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
    def receive(wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            samples.append(ctypes.string_at(wave, 2 * count))
        place = 0
        while events[place].type != END_OF_LIST:
            if events[place].type == PHONEME:
                phones.append((events[place].value.string.decode("utf-8", "replace"), events[place].sample))
            place += 1
        return 0

    rate_hz = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | PHONEME_IPA)
    library.espeak_SetSynthCallback(receive)
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        sys.exit(NO_VOICE)
    for parameter, value in ((RATE, "rate_wpm"), (PITCH, "pitch"), (RANGE, "pitch_range")):
        library.espeak_SetParameter(parameter, int(request[value]), 0)
    library.espeak_SetParameter(VOLUME, 100, 0)
    text = request["text"].encode() + b"\0"
    library.espeak_Synth(text, len(text), 0, 0, 0, UTF8 | END_PAUSE, None, None)
    library.espeak_Synchronize()
    return rate_hz, phones, b"".join(samples)


def main() -> None:
    """Read a request from stdin and write the answer to stdout."""
    request = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    library = open_library()
    if library is None:
        sys.exit(NO_LIBRARY)
    rate_hz, phones, samples = speak(library, request)
    sys.stdout.buffer.write(json.dumps({"sample_rate_hz": rate_hz, "phones": phones}).encode() + b"\n" + samples)


if __name__ == "__main__":
    main()
