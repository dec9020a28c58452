"""No module of aural imports itself through others, not even inside a function.

Imports are read from the source with `ast`; only those under `if TYPE_CHECKING` are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import aural

ROOT = Path(aural.__file__).parent


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (module, imported names) of every import outside `if TYPE_CHECKING`, in functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and is_type_checking(node):
            for other in node.orelse:
                yield from imports(ast.Module([other], []), package)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])]), [alias.name for alias in node.names]
        else:
            yield from imports(node, package)


def import_graph(sources: dict[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """Map each module to the modules that it imports; `sources` maps a name to (text, whether it is a package)."""
    graph: dict[str, set[str]] = {}
    for name, (text, is_package) in sources.items():
        package = name if is_package else name.rpartition(".")[0]
        targets: set[str] = set()
        for module, names in imports(ast.parse(text), package):
            submodules = {f"{module}.{imported}" for imported in names} & sources.keys()
            # `from package import module` needs the module, not the contents of the package
            targets |= submodules if submodules else {module} & sources.keys()
        graph[name] = targets - {name}
    return graph


def cycles(graph: dict[str, set[str]]) -> list[frozenset[str]]:
    """Return the groups of modules that reach each other (Tarjan's strongly connected components of two or more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[frozenset[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph[name]):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            at = stack.index(name)
            group = frozenset(stack[at:])
            del stack[at:]
            if len(group) > 1:
                groups.append(group)

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return groups


def test_a_hidden_cycle_is_found() -> None:
    sources = {
        "p": ("", True),
        "p.a": ("from p.b import x", False),
        "p.b": ("def f():\n    from p import c", False),
        "p.c": ("import p.a", False),
        "p.d": ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p import e", False),
        "p.e": ("from p.d import x", False),
    }
    assert cycles(import_graph(sources)) == [frozenset({"p.a", "p.b", "p.c"})]


def test_relative_imports_are_resolved() -> None:
    sources = {"p": ("from .a import x", True), "p.a": ("from . import b", False), "p.b": ("from .a import y", False)}
    assert import_graph(sources) == {"p": {"p.a"}, "p.a": {"p.b"}, "p.b": {"p.a"}}


def test_no_import_cycles() -> None:
    files = [path for path in ROOT.rglob("*.py") if "vendor" not in path.parts]
    sources = {module_name(path): (path.read_text(encoding="utf-8"), path.name == "__init__.py") for path in files}
    found = cycles(import_graph(sources))
    listed = "\n".join(" <-> ".join(sorted(group)) for group in found)
    assert not found, f"import cycles:\n{listed}"
