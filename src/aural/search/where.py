"""The filter language of a sound library: `duration < 5 and path like '%ambience%'`.

A small, closed part of SQL: comparisons, `like`, `ilike`, `in`, `between`, `has` (for tags), `and`, `or`, `not` and
brackets over the columns named in `COLUMNS`. A condition is read once and then does two things that tests hold to each
other: it gives SQL for the store (`sql`) and a mask over columns in memory (`mask`). Nothing else of SQL gets through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError, near_miss

Kind = Literal["number", "text", "truth", "list"]
Mask = NDArray[np.bool_]
COLUMNS: Mapping[str, Kind] = {
    "path": "text",
    "name": "text",
    "format": "text",
    "file": "text",
    "hash": "text",
    "modified": "text",
    "window": "number",
    "start": "number",
    "end": "number",
    "duration": "number",
    "sample_rate": "number",
    "channels": "number",
    "size": "number",
    "silent": "truth",
    "tags": "list",
}
MAX_LENGTH, MAX_DEPTH, MAX_TERMS = 2000, 12, 100
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'(?:[^']|'')*')"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<sign><=|>=|<>|!=|==|[=<>(),]))"
)
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter that was read: as SQL for the store, and as a mask over columns in memory."""

    source: str
    sql: str
    _mask: Callable[[Mapping[str, NDArray[Any]]], Mask]

    def mask(self, columns: Mapping[str, NDArray[Any]]) -> Mask:
        """(N,) truth of each row; `columns` maps every name in `COLUMNS` to its (N,) values."""
        return self._mask(columns)


class _Part(NamedTuple):
    sql: str
    mask: Callable[[Mapping[str, NDArray[Any]]], Mask]


class _Token(NamedTuple):
    kind: str
    value: Any
    at: int


def parse(source: str) -> Condition:
    """Read a filter; ConfigError names the place and the mend."""
    if len(source) > MAX_LENGTH:
        raise ConfigError(f"filter: {len(source)} characters; at most {MAX_LENGTH} are read")
    reader = _Reader(_tokens(source), source)
    part = reader.either(0)
    if reader.peek().kind != "end":
        raise reader.wrong("and, or, or the end")
    return Condition(source, part.sql, part.mask)


def any_of(column: str, values: Sequence[str]) -> Condition:
    """The condition `column in (values...)`, of any length; for the program's own use."""
    wanted = frozenset(values)
    sql = f"`{column}` IN ({', '.join(quote(value) for value in values)})"
    return Condition(sql, sql, lambda columns: np.array([v in wanted for v in columns[column]], bool))


def quote(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _tokens(source: str) -> list[_Token]:
    tokens, at = [], 0
    end = len(source.rstrip())
    while at < end:
        match = _TOKEN.match(source, at)
        if match is None:
            hint = " (texts stand between single quotes)" if '"' in source[at : at + 2] else ""
            raise ConfigError(f"filter: {source[at:].strip()[:20]!r} is not understood at character {at + 1}{hint}")
        kind = str(match.lastgroup)
        raw = match.group(kind)
        value: Any = raw
        if kind == "text":
            value = raw[1:-1].replace("''", "'")
            if "\0" in value:
                raise ConfigError("filter: a text holds a NUL character; leave it out")
        elif kind == "number":
            value = int(raw) if re.fullmatch(r"-?\d+", raw) else float(raw)
            if not abs(value) < 2**62:
                raise ConfigError(f"filter: the number {raw[:30]} is out of range")
        tokens.append(_Token(kind, value, match.start(kind)))
        at = match.end()
    return [*tokens, _Token("end", "", len(source))]


class _Reader:
    """Reads by recursive descent: or < and < not < comparison."""

    def __init__(self, tokens: list[_Token], source: str) -> None:
        self._tokens, self._source, self._at, self._terms = tokens, source, 0, 0

    def peek(self) -> _Token:
        return self._tokens[self._at]

    def take(self) -> _Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def takes(self, word: str) -> bool:
        token = self.peek()
        if (token.kind == "word" and token.value.lower() == word) or (token.kind == "sign" and token.value == word):
            self.take()
            return True
        return False

    def wrong(self, wanted: str) -> ConfigError:
        token = self.peek()
        found = "the end" if token.kind == "end" else repr(token.value)
        return ConfigError(f"filter: {wanted} is missing at character {token.at + 1}, where {found} stands")

    def either(self, depth: int) -> _Part:
        parts = [self.both(depth)]
        while self.takes("or"):
            parts.append(self.both(depth))
        return _join("OR", np.logical_or, parts)

    def both(self, depth: int) -> _Part:
        parts = [self.maybe(depth)]
        while self.takes("and"):
            parts.append(self.maybe(depth))
        return _join("AND", np.logical_and, parts)

    def maybe(self, depth: int) -> _Part:
        if depth > MAX_DEPTH:
            raise ConfigError(f"filter: brackets and nots are nested more than {MAX_DEPTH} deep; write it flatter")
        if self.takes("not"):
            return _negate(self.maybe(depth + 1))
        if self.takes("("):
            part = self.either(depth + 1)
            if not self.takes(")"):
                raise self.wrong("a closing bracket")
            return part
        return self.comparison()

    def comparison(self) -> _Part:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise ConfigError(f"filter: more than {MAX_TERMS} comparisons; write it shorter")
        token = self.peek()
        if token.kind != "word":
            raise self.wrong(f"the name of a column ({', '.join(COLUMNS)})")
        self.take()
        column = token.value.lower()
        if column not in COLUMNS:
            raise ConfigError(f'filter: unknown column "{token.value}"; {near_miss(column, COLUMNS)}')
        kind, name = COLUMNS[column], f"`{column}`"
        if kind == "truth":
            return self.truth(column, name)
        if kind == "list":
            if not self.takes("has"):
                raise self.wrong(f"has (as in {column} has 'rain')")
            wanted = self.literal("text", column)
            return _Part(
                f"array_has({name}, {quote(wanted)})", lambda c: np.array([wanted in row for row in c[column]], bool)
            )
        negated = self.takes("not")
        part = self.membership(column, kind, name)
        if part is not None:
            return _negate(part) if negated else part
        if negated:
            raise self.wrong("in, between, like or ilike")
        sign = self.take().value if self.peek().kind == "sign" else ""
        sign = {"<>": "!=", "==": "="}.get(sign, sign)
        if sign not in _COMPARE:
            self._at -= bool(sign)
            raise self.wrong("=, !=, <, <=, >, >=, like, in or between")
        value, compare = self.literal(kind, column), _COMPARE[sign]
        return _Part(f"{name} {sign} {_sql(value)}", lambda c: np.asarray(compare(c[column], value), bool))

    def truth(self, column: str, name: str) -> _Part:
        wanted = True
        if self.takes("="):
            wanted = self.takes("true")
            if not wanted and not self.takes("false"):
                raise self.wrong("true or false")
        return _Part(f"{name} = {str(wanted).lower()}", lambda c: np.asarray(c[column], bool) == wanted)

    def membership(self, column: str, kind: Kind, name: str) -> _Part | None:
        """`in (...)`, `between a and b`, `like` and `ilike`, or None."""
        if self.takes("in"):
            if not self.takes("("):
                raise self.wrong("an opening bracket")
            values = [self.literal(kind, column)]
            while self.takes(","):
                values.append(self.literal(kind, column))
            if not self.takes(")"):
                raise self.wrong("a comma or a closing bracket")
            held = frozenset(values)
            return _Part(
                f"{name} IN ({', '.join(map(_sql, values))})", lambda c: np.array([v in held for v in c[column]], bool)
            )
        if self.takes("between"):
            low = self.literal(kind, column)
            if not self.takes("and"):
                raise self.wrong("and")
            high = self.literal(kind, column)
            return _Part(
                f"({name} >= {_sql(low)} AND {name} <= {_sql(high)})",
                lambda c: np.asarray((c[column] >= low) & (c[column] <= high), bool),
            )
        for word, flags in (("like", 0), ("ilike", re.IGNORECASE)):
            if self.takes(word):
                if kind != "text":
                    raise ConfigError(f"filter: {column} is a {kind}; {word} compares texts")
                pattern = self.literal("text", column)
                match = _like(pattern, flags)
                return _Part(
                    f"{name} {word.upper()} {quote(pattern)}",
                    lambda c, m=match: np.array([m(v) for v in c[column]], bool),  # type: ignore[misc]
                )
        return None

    def literal(self, kind: str, column: str) -> Any:
        token = self.peek()
        if token.kind not in ("number", "text"):
            raise self.wrong("a number" if kind == "number" else "a text between single quotes")
        if token.kind != kind:
            raise ConfigError(f"filter: {column} is a {kind}, but {token.value!r} is a {token.kind}")
        return self.take().value


def _join(word: str, combine: np.ufunc, parts: list[_Part]) -> _Part:
    """Flat, whatever the number of parts: the store's parser does not like deep brackets."""
    if len(parts) == 1:
        return parts[0]
    sql = f"({f' {word} '.join(part.sql for part in parts)})"
    return _Part(sql, lambda c: combine.reduce([part.mask(c) for part in parts]))


def _negate(part: _Part) -> _Part:
    return _Part(f"(NOT {part.sql})", lambda c: ~part.mask(c))


def _sql(value: float | str) -> str:
    return quote(value) if isinstance(value, str) else repr(value)


def _like(pattern: str, flags: int) -> Callable[[str], bool]:
    """SQL's `like`: % is any text, _ any one sign, a backslash takes the next sign as it is.

    The pieces between the % are looked for one after the other, so the time is at most text times pattern.
    """
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise ConfigError(f"filter: the pattern {pattern!r} ends in a backslash; write two for one")
    pieces: list[list[str]] = [[]]
    signs = iter(pattern)
    for sign in signs:
        if sign == "%":
            pieces.append([])
        else:
            pieces[-1].append(re.escape(next(signs)) if sign == "\\" else "." if sign == "_" else re.escape(sign))
    lengths = [len(piece) for piece in pieces]
    found = [re.compile("".join(piece), re.DOTALL | flags) for piece in pieces]

    def match(text: str) -> bool:
        if len(found) == 1:
            return found[0].fullmatch(text) is not None
        first = found[0].match(text)
        if first is None:
            return False
        at, end = first.end(), len(text) - lengths[-1]
        for piece in found[1:-1]:
            hit = piece.search(text, at)
            if hit is None:
                return False
            at = hit.end()
        return at <= end and found[-1].fullmatch(text, end) is not None

    return match
