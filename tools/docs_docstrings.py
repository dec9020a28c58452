"""Prepare docstrings for the site: formulas after a line that ends with ":" become code blocks, "<" stays visible."""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTIONS = ("args", "arguments", "attributes", "examples", "parameters", "raises", "returns", "warns", "yields")


def spaced(text: str) -> str:
    """Insert an empty line between a line that ends with ":" and an indented block, except in sections such as Args.

    >>> spaced("Formula:\\n    a = b")
    'Formula:\\n\\n    a = b'
    >>> spaced("Args:\\n    a: b")
    'Args:\\n    a: b'
    """
    lines = text.split("\n")
    out: list[str] = []
    for i, line in enumerate(lines):
        out.append(line)
        following = lines[i + 1] if i + 1 < len(lines) else ""
        opens = line.rstrip().endswith(":") and not line.startswith(" ")
        if opens and line.strip(" :").lower() not in SECTIONS and re.match(r" {4}\S", following):
            out.append("")
    return "\n".join(out)


def visible(text: str) -> str:
    """Escape "<" before a letter outside of code, where Markdown would take it for an HTML tag.

    >>> visible("cosine <a, b>")
    'cosine &lt;a, b>'
    >>> visible("`<a>`")
    '`<a>`'
    """
    out = []
    for line in text.split("\n"):
        if not line.startswith(("    ", ">>>")):
            parts = line.split("`")
            line = "`".join(part if i % 2 else re.sub(r"<(?=[A-Za-z/])", "&lt;", part) for i, part in enumerate(parts))
        out.append(line)
    return "\n".join(out)


class Formulas(griffe.Extension):
    """Apply `visible` and `spaced` to every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of one object in place."""
        if obj.docstring is not None:
            obj.docstring.value = spaced(visible(obj.docstring.value))
