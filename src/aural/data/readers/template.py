"""Fill templates of cards: `audio/fold{fold}/{file}`, `{start:06d}`, `{emotion|emotions}` (looked up in a table).

Only field names are replaced, so a card cannot access attributes, indices or code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from aural.core.errors import DataError, near_miss

# One line of a table or one entry of a JSON file: field name -> string or list of strings.
Record: TypeAlias = dict[str, Any]
Translate: TypeAlias = Callable[[str, str], str]  # (table name, value) -> value

FIELD: Final = re.compile(r"\{([^{}|:]+)(?:\|([\w-]+))?(?::([^{}]*))?\}")


def value(name: str, record: Mapping[str, Any]) -> Any:
    """Return a field of a record; raise DataError with the most similar field name if it is missing."""
    try:
        return record[name]
    except KeyError:
        raise DataError(f'has no column "{name}"; {near_miss(name, map(str, record))}') from None


def fill(template: str, record: Mapping[str, Any], translate: Translate) -> str:
    """Replace each `{field|table:format}` by its value from the record.

    >>> fill("fold{fold}/{file}_{start:06d}", {"fold": "3", "file": "a", "start": "7.0"}, lambda table, text: text)
    'fold3/a_000007'
    """
    if "{" not in template:
        return template
    filled = []
    for literal, name, table, form in pieces(template):
        filled.append(literal)
        if name:
            raw = value(name, record)
            text = raw if isinstance(raw, str) else _text(raw)
            text = translate(table, text) if table else text
            filled.append(formatted(name, text, form) if form else text)
    return "".join(filled)


@lru_cache(maxsize=1024)
def pieces(template: str) -> tuple[tuple[str, str, str, str], ...]:
    """Split a template into (preceding text, field, table, format); the last piece is the text after all fields."""
    parsed = []
    at = 0
    for match in FIELD.finditer(template):
        parsed.append((template[at : match.start()], match[1], match[2] or "", match[3] or ""))
        at = match.end()
    return (*parsed, (template[at:], "", "", ""))


def formatted(name: str, text: str, form: str) -> str:
    """Format `text`: a number with a format such as 06d or .3f, or letters with `upper` or `lower`."""
    if form in ("upper", "lower"):
        return text.upper() if form == "upper" else text.lower()
    try:
        return format(int(float(text)) if form.endswith("d") else float(text), form)
    except ValueError:
        raise DataError(f'column "{name}" contains "{text}", but the format {form} needs a number') from None


def _text(raw: Any) -> str:
    """Return a JSON value as a string; the elements of a list are joined by commas."""
    if isinstance(raw, list):
        return ", ".join(map(_text, raw))
    return "" if raw is None else str(raw)
