"""Parse the filter language of a sound library: `duration < 5 and path like '%ambience%'`.

The language is a small closed part of SQL: comparisons, `like`, `ilike`, `in`, `between`, `has` (for tags), `and`,
`or`, `not` and parentheses over the columns of `COLUMNS`. A parsed `Filter` has two forms with one meaning, which tests
compare: SQL for the table on disk (`sql`) and a boolean mask over columns in memory (`mask`). No other SQL is accepted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError, near_miss
from aural.search.like import like_matcher
from aural.search.masks import COMPARE, Mask, compared, has, is_like, is_one_of

Kind = Literal["number", "text", "truth", "list"]
Columns = Mapping[str, NDArray[Any]]
COLUMNS: Final[Mapping[str, Kind]] = {
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
FACT_COLUMNS: Final[Mapping[str, Kind]] = {
    "category": "text",
    "subcategory": "text",
    "creator": "text",
    "title": "text",
    "artist": "text",
    "genre": "text",
    "description": "text",
    "lufs": "number",
    "peak_db": "number",
    "brightness_hz": "number",
    "loop": "truth",
    "bpm": "number",
    "key": "text",
}
"""Columns of `aural.search.facts`; a filter holds the hashes of the contents that meet a comparison with them."""
INTEGER_BITS: Final[Mapping[str, int]] = {"window": 32, "sample_rate": 32, "channels": 32, "size": 64}
"""Number columns that are stored as signed integers, with their width; the others are float64."""

MAX_LENGTH: Final = 2000
MAX_DEPTH: Final = 12
MAX_COST: Final = 100
"""Limit of the work per row: 1 per comparison, and 1 more per `%` of a pattern."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'(?:[^'\ud800-\udfff]|'')*')"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<sign><=|>=|<>|!=|==|[=<>(),]))"
)
_COMPLEMENT: Final = {">=": "<", "<=": ">", "!=": "="}


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter: SQL for the table on disk, and a mask over columns in memory.

    files: ids of the only files whose rows can meet the filter; None: any file.
    """

    text: str
    sql: str
    _mask: Callable[[Columns], Mask]
    files: tuple[str, ...] | None = None

    def mask(self, columns: Columns) -> Mask:
        """Return which rows meet the filter (N,); `columns` maps every name in `COLUMNS` to its (N,) values."""
        return self._mask(columns)


class _Expression(NamedTuple):
    sql: str
    mask: Callable[[Columns], Mask]


class _Token(NamedTuple):
    kind: str
    value: Any
    start: int


def parse_filter(text: str, facts: Columns | None = None) -> Filter:
    """Parse a filter. Raises ConfigError with the position of the error and a fix.

    facts: the columns of `FACT_COLUMNS` and `hash` of the analyzed contents (`Library.filter` passes them). Without
    them, a comparison with such a column is an error.

    >>> parse_filter("duration < 5 and not silent").sql
    '(`duration` < 5.0 AND (NOT `silent` = true))'
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"filter: {len(text)} characters; at most {MAX_LENGTH} are allowed")
    parser = _Parser(_tokens(text), facts)
    expression = parser.disjunction(0)
    if parser.peek().kind != "end":
        raise parser.missing("and, or, or the end")
    return Filter(text, expression.sql, expression.mask)


def one_of(column: str, values: Sequence[str]) -> Filter:
    """Return the filter `column in (values...)` of any length, for calls from the program."""
    allowed = frozenset(values)
    sql = f"`{column}` IN ({', '.join(quote(value) for value in values)})"
    files = tuple(values) if column == "file" else None
    return Filter(sql, sql, lambda columns: is_one_of(columns[column], allowed), files)


def all_of(*filters: Filter) -> Filter:
    """Return the filter that is met where all of these are."""
    sql = " AND ".join(f"({one.sql})" for one in filters)
    files = next((one.files for one in filters if one.files is not None), None)
    return Filter(sql, sql, lambda columns: np.logical_and.reduce([one.mask(columns) for one in filters]), files)


FIRST_WINDOWS: Final = Filter("window = 0", "`window` = 0", lambda columns: columns["window"] == 0)
"""The first window of every file: one row per file."""


def quote(text: str) -> str:
    """Return a text as an SQL literal.

    >>> quote("dog's")
    "'dog''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            hint = " (write texts between single quotes)" if '"' in text[position : position + 2] else ""
            rest = text[position:].strip()[:20]
            raise ConfigError(f"filter: {rest!r} is not understood at character {position + 1}{hint}")
        kind = str(match.lastgroup)
        tokens.append(_Token(kind, _value(kind, match.group(kind)), match.start(kind)))
        position = match.end()
    return [*tokens, _Token("end", "", len(text))]


def _value(kind: str, raw: str) -> Any:
    """Return the value of a token."""
    if kind == "text":
        text = raw[1:-1].replace("''", "'")
        if "\0" in text:
            raise ConfigError("filter: a text contains a NUL character; remove it")
        return text
    if kind == "number":
        number = int(raw) if re.fullmatch(r"-?\d+", raw) else float(raw)
        if not abs(number) < 2**62:
            raise ConfigError(f"filter: the number {raw[:30]} is out of range")
        return number
    return raw


class _Parser:
    """A recursive-descent parser; the order of precedence is or < and < not < comparison."""

    def __init__(self, tokens: list[_Token], facts: Columns | None) -> None:
        self._tokens = tokens
        self._facts = facts
        self._position = 0
        self._cost = 0

    def peek(self) -> _Token:
        return self._tokens[self._position]

    def take(self) -> _Token:
        token = self._tokens[self._position]
        self._position = min(self._position + 1, len(self._tokens) - 1)
        return token

    def accept(self, word: str) -> bool:
        """Take the next token if it is this word or sign."""
        token = self.peek()
        if (token.kind == "word" and token.value.lower() == word) or (token.kind == "sign" and token.value == word):
            self.take()
            return True
        return False

    def missing(self, expected: str) -> ConfigError:
        token = self.peek()
        actual = "the end" if token.kind == "end" else repr(token.value)
        return ConfigError(f"filter: expected {expected} at character {token.start + 1}, not {actual}")

    def spend(self, cost: int) -> None:
        self._cost += cost
        if self._cost > MAX_COST:
            raise ConfigError(
                f"filter: too expensive; use at most {MAX_COST} comparisons and % signs in patterns together"
            )

    def disjunction(self, depth: int) -> _Expression:
        parts = [self.conjunction(depth)]
        while self.accept("or"):
            parts.append(self.conjunction(depth))
        return _join("OR", np.logical_or, parts)

    def conjunction(self, depth: int) -> _Expression:
        parts = [self.negation(depth)]
        while self.accept("and"):
            parts.append(self.negation(depth))
        return _join("AND", np.logical_and, parts)

    def negation(self, depth: int) -> _Expression:
        if depth > MAX_DEPTH:
            raise ConfigError(f"filter: parentheses and nots are nested more than {MAX_DEPTH} deep; flatten them")
        if self.accept("not"):
            return _negate(self.negation(depth + 1))
        if self.accept("("):
            part = self.disjunction(depth + 1)
            if not self.accept(")"):
                raise self.missing("a closing parenthesis")
            return part
        return self.comparison()

    def comparison(self) -> _Expression:
        self.spend(1)
        token = self.peek()
        if token.kind != "word":
            raise self.missing(f"the name of a column ({', '.join([*COLUMNS, *FACT_COLUMNS])})")
        self.take()
        column = token.value.lower()
        if column in COLUMNS:
            return self.comparison_with(column, COLUMNS[column])
        if column not in FACT_COLUMNS:
            raise ConfigError(f'filter: unknown column "{token.value}"; {near_miss(column, [*COLUMNS, *FACT_COLUMNS])}')
        part = self.comparison_with(column, FACT_COLUMNS[column])
        if self._facts is None:
            raise ConfigError(f"filter: {column} needs the facts of a library; parse the filter with Library.filter")
        with np.errstate(invalid="ignore"):
            meets = part.mask(self._facts)
        if FACT_COLUMNS[column] == "number":
            meets &= ~np.isnan(self._facts[column])
        return _membership("hash", list(self._facts["hash"][meets]) or [""])

    def comparison_with(self, column: str, kind: Kind) -> _Expression:
        if kind == "truth":
            return self.truth(column)
        if kind == "list":
            return self.membership_of_list(column)
        negated = self.accept("not")
        part = self.range_or_pattern(column, kind)
        if part is not None:
            return _negate(part) if negated else part
        if negated:
            raise self.missing("in, between, like or ilike")
        sign = self.peek().value if self.peek().kind == "sign" else ""
        sign = {"<>": "!=", "==": "="}.get(sign, sign)
        if sign not in COMPARE:
            raise self.missing("=, !=, <, <=, >, >=, like, in or between")
        self.take()
        return _compare(column, sign, self.literal(kind, column))

    def truth(self, column: str) -> _Expression:
        expected = True
        if self.accept("="):
            expected = self.accept("true")
            if not expected and not self.accept("false"):
                raise self.missing("true or false")
        sql = f"`{column}` = {str(expected).lower()}"
        return _Expression(sql, lambda c: np.asarray(c[column], bool) == expected)

    def membership_of_list(self, column: str) -> _Expression:
        if not self.accept("has"):
            raise self.missing(f"has (as in {column} has 'rain')")
        value = self.literal("text", column)
        sql = f"array_has(`{column}`, {quote(value)})"
        return _Expression(sql, lambda c: has(c[column], value))

    def range_or_pattern(self, column: str, kind: Kind) -> _Expression | None:
        """Parse `in (...)`, `between a and b`, `like` or `ilike`; return None if none of them follows."""
        if self.accept("in"):
            return _membership(column, self.values(kind, column))
        if self.accept("between"):
            low = self.literal(kind, column)
            if not self.accept("and"):
                raise self.missing("and")
            high = self.literal(kind, column)
            return _join("AND", np.logical_and, [_compare(column, ">=", low), _compare(column, "<=", high)])
        for word, flags in (("like", 0), ("ilike", re.IGNORECASE)):
            if not self.accept(word):
                continue
            if kind != "text":
                raise ConfigError(f"filter: {column} is a {kind}; {word} compares texts")
            pattern = self.literal("text", column)
            self.spend(pattern.count("%"))
            match = like_matcher(pattern, flags)
            sql = f"`{column}` {word.upper()} {quote(pattern)}"
            mask = partial(is_like, pattern=pattern, match=match, ignore_case=flags == re.IGNORECASE)
            return _Expression(sql, lambda c, mask=mask: mask(c[column]))  # type: ignore[misc]
        return None

    def values(self, kind: Kind, column: str) -> list[Any]:
        """Parse the values of `in`, between parentheses."""
        if not self.accept("("):
            raise self.missing("an opening parenthesis")
        values = [self.literal(kind, column)]
        while self.accept(","):
            values.append(self.literal(kind, column))
        if not self.accept(")"):
            raise self.missing("a comma or a closing parenthesis")
        return values

    def literal(self, kind: str, column: str) -> Any:
        token = self.peek()
        if token.kind not in ("number", "text"):
            raise self.missing("a number" if kind == "number" else "a text between single quotes")
        if token.kind != kind:
            raise ConfigError(f"filter: {column} is a {kind}, but {token.value!r} is a {token.kind}")
        return self.take().value


def _join(word: str, combine: np.ufunc, parts: list[_Expression]) -> _Expression:
    """Join any number of parts without nesting: the SQL parser of the store limits the depth of parentheses."""
    if len(parts) == 1:
        return parts[0]
    sql = f"({f' {word} '.join(part.sql for part in parts)})"
    return _Expression(sql, lambda c: combine.reduce([part.mask(c) for part in parts]))


def _negate(part: _Expression) -> _Expression:
    return _Expression(f"(NOT {part.sql})", lambda c: ~part.mask(c))


def _compare(column: str, sign: str, value: float | str) -> _Expression:
    """Compare a column with a value. A value outside an integer column's range gives a constant answer."""
    if column in INTEGER_BITS:
        if sign in _COMPLEMENT and not float(value).is_integer():
            return _negate(_compare(column, _COMPLEMENT[sign], value))
        return _compare_integer(column, sign, value)  # type: ignore[arg-type]
    value = value if isinstance(value, str) else float(value)
    return _Expression(f"`{column}` {sign} {_sql(value)}", lambda c: compared(c[column], sign, value))


def _compare_integer(column: str, sign: str, value: float) -> _Expression:
    """Compare an integer column with any number: round the number in the direction that keeps the meaning."""
    if sign == "=" and not float(value).is_integer():
        return _constant(column, False)
    bound = math.ceil(value) if sign == "<" else math.floor(value)
    limit = 2 ** (INTEGER_BITS[column] - 1)
    if bound >= limit:
        return _constant(column, sign in ("<", "<=", "!="))
    if bound < -limit:
        return _constant(column, sign in (">", ">=", "!="))
    return _Expression(f"`{column}` {sign} {bound}", lambda c: compared(c[column], sign, bound))


def _membership(column: str, values: Sequence[Any]) -> _Expression:
    """Return the expression `column IN (values)`."""
    if column in INTEGER_BITS:
        limit = 2 ** (INTEGER_BITS[column] - 1)
        values = [int(value) for value in values if float(value).is_integer() and -limit <= value < limit]
        if not values:
            return _constant(column, False)
    elif (COLUMNS.get(column) or FACT_COLUMNS[column]) == "number":
        values = [float(value) for value in values]
    allowed = frozenset(values)
    sql = f"`{column}` IN ({', '.join(map(_sql, values))})"
    return _Expression(sql, lambda c: is_one_of(c[column], allowed))


def _constant(column: str, truth: bool) -> _Expression:
    """Return an expression that is true or false for every row; no column contains NULL."""
    sql = f"`{column}` IS {'NOT ' if truth else ''}NULL"
    return _Expression(sql, lambda c: np.full(len(c[column]), truth))


def _sql(value: float | str) -> str:
    return quote(value) if isinstance(value, str) else repr(value)
