"""Show names of files and other text of unknown origin safely in terminals and pages.

A file name may contain escape sequences that a terminal obeys, marks that reverse the order of letters
(`gpj.wav` for `wav.jpg`; Unicode Technical Report 36, section 2.6), and bytes that are not text at all.
"""

from __future__ import annotations

import builtins
import re
import sys
from typing import Any, Final, TextIO

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNSAFE_LINES: Final = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))


def printable(text: object) -> str:
    r"""Return the text with control characters, marks of direction and invisible characters as escapes.

    Bytes of a file name that are not UTF-8 become the escape of the byte.

    >>> print(printable("rain\x1b[2J.wav"), printable("a\u202egpj.wav"), printable("k\udce4uz.wav 犬"))
    rain\x1b[2J.wav a\u202egpj.wav k\xe4uz.wav 犬
    """
    return _UNSAFE.sub(_escape, str(text))


def printable_json(line: str) -> str:
    r"""Return a JSON text with the same characters as JSON escapes, so that it still parses to the same values.

    >>> import json
    >>> json.loads(printable_json('"a\u202eb\udce4"')) == "a\u202eb\udce4"
    True
    """
    return _UNSAFE_LINES.sub(lambda match: _utf16(ord(match.group())), line)


def safe_print(*values: object, end: str = "\n", file: TextIO | None = None, **options: Any) -> None:
    """Print like `print`, with unsafe characters as escapes; line breaks and tabs are kept."""
    shown = [_UNSAFE_LINES.sub(_escape, str(value)) for value in values]
    builtins.print(*shown, end=end, file=file or sys.stdout, **options)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it (PEP 383)
        code -= 0xDC00
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _utf16(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
