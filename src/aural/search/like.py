"""Match SQL's `like` patterns in linear time."""

from __future__ import annotations

import re
from collections.abc import Callable

from aural.core.errors import ConfigError


def like_matcher(pattern: str, flags: int) -> Callable[[str], bool]:
    """Return a matcher of SQL's `like`: % is any text, _ any character, a backslash escapes the next character.

    The segments between the % are searched one after the other, so the time is at most text times pattern.
    """
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise ConfigError(f"filter: the pattern {pattern!r} ends in a backslash; write two for one")
    segments: list[list[str]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            segments.append([])
        elif character == "\\":
            segments[-1].append(re.escape(next(characters)))
        else:
            segments[-1].append("." if character == "_" else re.escape(character))
    last_length = len(segments[-1])
    first, *others = [re.compile("".join(segment), re.DOTALL | flags) for segment in segments]

    def match(text: str) -> bool:
        if not others:
            return first.fullmatch(text) is not None
        start = first.match(text)
        if start is None:
            return False
        position = start.end()
        for segment in others[:-1]:
            hit = segment.search(text, position)
            if hit is None:
                return False
            position = hit.end()
        end = len(text) - last_length
        return position <= end and others[-1].fullmatch(text, end) is not None

    return match
