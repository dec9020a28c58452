"""Keep the vocabulary of code and documents plain (CONTRIBUTING.md).

A list of words with an allow-list, not a style checker. Three tests per area: words in text (documents, docstrings,
comments, messages), all-purpose names in code, and first lines of public docstrings. Print the hits of one area with

    python tests/test_vocabulary.py src/aural/search docs/search
"""

from __future__ import annotations

import ast
import functools
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = (".py", ".md", ".yaml", ".toml", ".html", ".js", ".sh")
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "pyproject.toml", "mkdocs.yml")

_COUNT = r"(?:one|two|three|four|several|many|few|\d[\d,.]*|[A-Z]|rows|captions|windows|negatives|answers|lines) "
_NOT_A_NOUN = r"(?!(?:is|was|as|of|in|to|for|from|with|by|on|at|has|gives?|or|and|than|per|into|such|like|be|are)\b)"
_UNIT = r"clip|batch|row|window|file|second|minute|line|step|task|model|class|query|item|source|split|page|paper|idea"

WORDS: dict[str, str] = {
    r"told|tells?|telling": "report, print, say, distinguish",
    r"mend(?:s|ed|ing|able)?": "fix",
    r"surplus": "extra, unexpected",
    r"anew|afresh": "again",
    r"besides": "also, in addition to",
    r"beside": "next to, compared with",
    r"theirs": "name the thing",
    r"asked of|asked for": "requested",
    r"hears": "takes as input, receives",
    r"stands?(?! for\b)(?![- ]?(?:alone|in)\b)": "is, is stored",
    r"lies?": "is, is stored",
    r"said": "documented, given, specified",
    r"as (?:it is|they are)(?= *[.,;:)]|$)": "unchanged",
    r"all the same": "still",
    r"for want of|in want of": "because ... is missing",
    r"in no time|for nothing|by heart|of late": "say what is meant",
    r"of (?:its|their|our|his|one's) own": "separate",
    r"(?:read|stored|written|kept|drawn|taken|embedded|left|opened|sent|printed|told|leaves it) whole": "complete",
    r"(?:printed|kept|told|taken|set|held|stored) apart": "separately, distinguished",
    r"travel(?:s|l?ed|l?ing)?": "is sent, is moved",
    r"judg(?:e|es|ed|ing)": "compare with, check against, evaluate",
    r"handed": "passed",
    r"settled": "fixed, decided",
    r"made[- ]up": "synthetic",
    r"foreign": "external, third-party",
    r"traps": "known bugs, pitfalls",
    r"the house|house rules": "the project",
    r"whence|thence|wherein|therein|whereof|thereof|hitherto|lest|ere|unto|nought|aught|whilst": "modern English",
    _COUNT + _NOT_A_NOUN + rf"\w+ an? (?:{_UNIT})": "per clip, per file",
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALL_PURPOSE = _words("found told own theirs made known whole apart")
QUESTION = _words(
    "What Whether Which How Where When Who Whose Why As So That Those These This It Its No Nothing None Nobody "
    "All Every Each Only By From To In Of On At With Without Until If Because"
)
ARTICLES = _words("The A An One Two Our Their Same")
VERBS_LIKE_NOUNS = _words(
    "Pass Process Compress Access Cross Guess Focus Express Discuss Press Miss Address Bypass Embed Feed Seed "
    "Need Exceed Proceed Speed Shred Bias Assess Suppress Decompress Canvass"
)

# (file, exact text of the hit in lower case): why the word is right there.
ALLOWED: dict[tuple[str, str], str] = {
    ("src/aural/data/simulate/corpus.py", "hears"): "a pattern for captions",
    ("src/aural/evaluate/robust/changes.py", "hears"): "part of a paraphrase that models receive",
    ("src/aural/data/libre/captions.py", "hears"): "part of a caption template; captions must not change",
    ("src/aural/models/paraphrase.py", "said"): "part of a prompt; the stored rewordings come from it",
    ("src/aural/data/text/lexicon.py", "the house"): "a place in sentences of the text world",
    ("src/aural/data/text/stories.py", "hears"): "part of a sentence of the text world",
    ("src/aural/catalog/datasets/libre/ufoai.toml", "stand"): "the name of a sound file",
}

_WORDS = {re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE): advice for pattern, advice in WORDS.items()}
_ANY = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)


class Hit(NamedTuple):
    """One place that needs another word."""

    path: str
    line: int
    text: str
    advice: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.text}" -> {self.advice}'


@functools.cache
def areas() -> dict[str, list[Path]]:
    """Return the checked files per area: packages, folders of documents, and single files."""
    parts: dict[str, list[Path]] = {name: [ROOT / name] for name in FILES if (ROOT / name).exists()}
    for top in ("src/aural", "docs", "tools", "bench", "examples"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix not in SUFFIXES or "vendor" in path.parts or path.name.endswith(".min.js"):
                continue
            below = path.relative_to(ROOT / top).parts
            area = f"{top}/{below[0]}" if len(below) > 1 and top in ("src/aural", "docs") else top
            parts.setdefault(area, []).append(path)
    return parts


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of everything in a file that a reader reads as language."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT) or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
                for number, line in enumerate(token.string.splitlines(), token.start[0]):
                    yield number, re.sub(r"`[^`]*`", "", line)
        return
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if path.suffix == ".md":
            if line.lstrip().startswith("```"):
                fenced = not fenced
            if fenced:
                continue
            line = re.sub(r"`[^`]*`", "", line)
        yield number, line


def word_hits(path: Path) -> Iterator[Hit]:
    """Yield the words of the list that a file contains."""
    name = path.relative_to(ROOT).as_posix()
    for number, line in prose(path):
        if not _ANY.search(line):
            continue
        for pattern, advice in _WORDS.items():
            for match in pattern.finditer(line):
                if (name, match.group().lower()) not in ALLOWED:
                    yield Hit(name, number, match.group(), advice)


def name_hits(path: Path) -> Iterator[Hit]:
    """Yield the assignments, parameters and functions of a file whose name says nothing."""
    name = path.relative_to(ROOT).as_posix()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            used = node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            used = node.attr
        elif isinstance(node, ast.arg):
            used = node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            used = node.name
        else:
            continue
        if used.strip("_") in ALL_PURPOSE and (name, used) not in ALLOWED:
            yield Hit(name, node.lineno, used, "a name that says what it holds")


def docstring_hits(path: Path) -> Iterator[Hit]:
    """Yield the first docstring lines of public objects that are neither an imperative nor a noun phrase."""
    name = path.relative_to(ROOT).as_posix()

    def visit(node: ast.AST, public: bool) -> Iterator[Hit]:
        doc = ast.get_docstring(node) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else None
        if doc and public:
            first = doc.splitlines()[0]
            advice = wrong_start(first, node)
            if advice and (name, first.lower()) not in ALLOWED:
                yield Hit(name, getattr(node, "lineno", 1), first, advice)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                yield from visit(child, public and not child.name.startswith("_"))

    yield from visit(parsed(path), not path.stem.startswith("_") or "__" in path.stem)


def wrong_start(first: str, node: ast.AST) -> str:
    """Return what is wrong with the first line of a docstring, or an empty string.

    >>> import ast
    >>> function = ast.parse("def f(): ...").body[0]
    >>> wrong_start("Return the recipe of that name.", function)
    ''
    >>> wrong_start("The recipe of that name.", function)
    'start with a verb: Return ..., Load ...'
    """
    word = first.split()[0].strip(",:;.") if first.split() else ""
    if word in QUESTION:
        return "start with a verb, or say what an instance is"
    if not isinstance(node, ast.FunctionDef) or any(_is_property(one) for one in node.decorator_list):
        return ""
    ending = word.endswith(("s", "ed"))
    if word in ARTICLES or not word[:1].isalpha() or (ending and word not in VERBS_LIKE_NOUNS):
        return "start with a verb: Return ..., Load ..."
    return ""


def _is_property(decorator: ast.expr) -> bool:
    return "property" in ast.unparse(decorator)


def hits(paths: list[Path]) -> list[Hit]:
    """Return all hits of some files."""
    listed: list[Hit] = []
    for path in paths:
        listed += word_hits(path)
        if path.suffix == ".py" and "src" in path.relative_to(ROOT).parts[:1]:
            listed += name_hits(path)
            listed += docstring_hits(path)
    return listed


@pytest.mark.parametrize("area", sorted(areas()))
def test_vocabulary(area: str) -> None:
    """No word of the list, no all-purpose name and no riddle as a first docstring line."""
    listed = hits(areas()[area])
    assert not listed, "\n" + "\n".join(map(str, listed[:40]))


def test_the_list_finds_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "src").mkdir()
    code = tmp_path / "src" / "bad.py"
    code.write_text('def f(x):\n    """What is told; one row a clip."""\n    found = x\n    return found\n')
    assert [(hit.line, hit.text) for hit in hits([code])] == [
        (2, "told"),
        (2, "one row a clip"),
        (3, "found"),
        (1, "What is told; one row a clip."),
    ]
    good = tmp_path / "src" / "good.py"
    good.write_text('def f(x):\n    """Return one row per clip; `N` stands for clips."""\n    return x\n')
    assert hits([good]) == []
    page = tmp_path / "page.md"
    page.write_text("The hit is a file.\n```\ntold anew\n```\n`told` is a name.\nIt lies here.\n")
    assert [(hit.line, hit.text) for hit in hits([page])] == [(6, "lies")]


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for area, paths in areas().items():
        listed = hits(paths)
        if not wanted:
            print(f"{len(listed):5}  {area}")
        elif any(area.startswith(one.rstrip("/")) for one in wanted):
            print("\n".join(map(str, listed)))
