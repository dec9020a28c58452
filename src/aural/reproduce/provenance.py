"""Record the origin of an effect: commit, device, seconds, versions, and hashes of the code that it depends on."""

from __future__ import annotations

import ast
import hashlib
import platform
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Final

import aural
from aural.reproduce.card import ClaimCard

PACKAGES: Final = ("audio", "nn", "encoders", "objectives", "models", "train", "evaluate")
"""Packages whose code decides the scores of a trained arm."""
VERSIONS: Final = ("torch", "numpy", "transformers", "soundfile", "soxr")


def details(card: ClaimCard, devices: Sequence[str], seconds: Mapping[str, float], jobs: int) -> dict[str, Any]:
    """Return the content of run.json."""
    return {
        "name": card.name,
        "card_hash": card.hash,
        "commit": commit(),
        "code": code_of(card),
        "devices": list(devices),
        "jobs": jobs,
        "seconds": round(sum(seconds.values()), 1),
        "seconds_per_run": dict(seconds),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in VERSIONS},
    }


def code_of(card: ClaimCard) -> dict[str, str]:
    """Return the hashes of the card, its recipes and the code that it runs.

    Comments, docstrings and layout do not count: the syntax tree is hashed.
    """
    root = Path(str(resources.files("aural")))
    parts = ("effect", "study") if card.study else ("effect", "measure", "worlds")
    hashes = {"card": card.hash} | {part: _tree_hash(root / "reproduce" / f"{part}.py") for part in parts}
    if card.study:
        module = card.study.partition(":")[0]
        file = root.joinpath(*module.split(".")[1:]).with_suffix(".py")
        if not file.is_file():
            return hashes | {"function": ""}
        return hashes | {"function": _tree_hash(file)} | {one: _tree_hash(root / one) for one in _shared_parts(file)}
    for base in sorted({card.base, *(stage.base for stage in card.stages.values() if stage.base)}):
        file = root / "recipes" / f"{base}.yaml"
        hashes[f"recipe {base}"] = hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""
    return hashes | {name: folder_hash(root / name) for name in PACKAGES}


def changed_code(card: ClaimCard, run: Mapping[str, Any]) -> list[str]:
    """Return which parts of the code differ from those that a stored effect was computed with."""
    now, before = code_of(card), dict(run.get("code", {}))
    return [name for name in now if before.get(name) != now[name]]


def _shared_parts(file: Path) -> list[str]:
    """Return the other modules of `reproduce/studies` that a study imports, as paths in the package."""
    prefix = "aural.reproduce.studies."
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return [
        name.removeprefix("aural.").replace(".", "/") + ".py" for name in sorted(modules) if name.startswith(prefix)
    ]


@cache
def folder_hash(folder: Path) -> str:
    """Return 12 hexadecimal digits over the syntax trees of the Python files in a folder."""
    files = sorted(folder.rglob("*.py"))
    trees = (f"{file.relative_to(folder).as_posix()} {_tree_hash(file)}" for file in files)
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:12]


def _tree_hash(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined]
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:12]


def _plain(node: Any) -> Any:
    """Return a tree as tuples, without empty fields: Python versions add empty fields, and the hash must not change."""
    if isinstance(node, list):
        return tuple(_plain(one) for one in node)
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return (type(node).__name__, *((name, _plain(value)) for name, value in fields))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def commit() -> str:
    """Return the git commit of a source checkout, with "+" if files differ from it; else the version of the package."""
    root = Path(aural.__file__).parent
    try:
        sha = _git(root, "rev-parse", "--short=12", "HEAD")
        return sha + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return f"version {aural.__version__}"


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.strip()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
