"""MkDocs hook: pages generated from the code, pages from the repository's root, navigation, and links between them.

Generated are the API reference (one page per package) and tables of models, objectives, encoders, training options,
recipes, evaluation tasks and data sets. README.md becomes the home page.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "aural"
FROM_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
TUTORIALS = ("classify", "search", "train", "evaluate", "objective")
PACKAGES = {  # the order of the API reference; packages that are not named follow
    "": "aural",
    "models": "Models",
    "audio": "Sounds",
    "encoders": "Encoders",
    "nn": "Network parts",
    "objectives": "Objectives",
    "data": "Data",
    "train": "Training",
    "evaluate": "Evaluation",
    "reproduce": "Reproduction",
    "search": "Search",
    "serve": "Server",
    "core": "Core",
    "cli": "Command line",
}
GUIDES = {  # section -> files and folders below docs/
    "Guides": ["cli.md", "audio", "encoders", "models.md", "models", "search", "serve"],
    "Training": ["objectives", "train", "corpus.md", "data"],
    "Evaluation": ["evaluate", "reproduce.md", "reproduce", "reproduced", "bench"],
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and set the navigation."""
    pages = {target: (ROOT / name).read_text(encoding="utf-8") for name, target in FROM_ROOT.items()}
    pages["index.md"] = "---\nhide: [navigation]\n---\n" + pages["index.md"]
    pages |= overview_pages()
    pages |= reference_pages()
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    config.nav = navigation({file.src_uri for file in files.documentation_pages()})
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Point links at pages of the site; a link to a file that has no page keeps its text."""
    uri = page.file.src_uri
    in_repository = next((name for name, target in FROM_ROOT.items() if target == uri), f"docs/{uri}")
    here = posixpath.dirname(in_repository)

    def replaced(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        if re.match(r"[a-z]+:", target):
            return match.group()
        path = posixpath.normpath(posixpath.join(here, target))
        if path in FROM_ROOT:
            path = f"docs/{FROM_ROOT[path]}"
        elif not path.startswith("docs/"):
            return text
        link = posixpath.relpath(path.removeprefix("docs/"), posixpath.dirname(uri) or ".")
        return f"{image}[{text}]({link}{anchor or ''})"

    parts = re.split(r"(^```.*?^```|`[^`\n]*`)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else LINK.sub(replaced, part) for i, part in enumerate(parts))


def navigation(pages: set[str]) -> list[Any]:
    """Return the navigation: home, tutorials, guides, generated tables, reference, project."""
    nav: list[Any] = [{"Home": "index.md"}]
    nav.append({"Tutorials": [uri for name in TUTORIALS if (uri := f"tutorials/{name}.md") in pages]})
    for section, places in GUIDES.items():
        entries: list[Any] = []
        for place in places:
            if place in pages:
                entries.append(place)
                continue
            below = sorted(uri for uri in pages if uri.startswith(f"{place}/"))
            if below:
                index = [uri for uri in below if uri.endswith(("README.md", "index.md"))]
                title = {"bench": "Speed", "serve": "Server", "audio": "Sounds"}.get(place, place.capitalize())
                entries.append({title: [*index, *(uri for uri in below if uri not in index)]})
        nav.append({section: entries})
    nav.append({"Overview": sorted(uri for uri in pages if uri.startswith("overview/"))})
    nav.append({"API reference": ["reference/index.md", *(f"reference/{name}.md" for name in package_names())]})
    nav.append({"Project": ["contributing.md", "changelog.md", "decisions.md", "log.md", "security.md"]})
    listed = set(re.findall(r"[\w/.-]+\.md", str(nav)))
    rest = sorted(pages - listed)
    if rest:
        nav[-1]["Project"] += rest
    return nav


# Tables from the code -----------------------------------------------------------------------------------------------


def overview_pages() -> dict[str, str]:
    """Return the generated tables by page."""
    return {
        "overview/models.md": models_page(),
        "overview/objectives.md": objectives_page(),
        "overview/encoders.md": encoders_page(),
        "overview/training.md": training_page(),
        "overview/recipes.md": recipes_page(),
        "overview/evaluation.md": evaluation_page(),
        "overview/datasets.md": datasets_page(),
    }


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    clean = [[_cell(str(cell)) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *clean]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    """Return a text on one line, with "|" escaped outside of code."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if i % 2 else part.replace("|", "\\|") for i, part in enumerate(parts))


def first_sentence(text: str | None) -> str:
    """Return the first sentence of a docstring."""
    paragraph = " ".join((text or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.?])\s", paragraph)[0] if paragraph else ""


def options_of(cls: type) -> list[list[str]]:
    """Return key, type, default and meaning of the fields of a Config class, read from its source."""
    import inspect
    import textwrap

    source = textwrap.dedent(inspect.getsource(cls))
    lines = source.splitlines()
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    rows = []
    for i, node in enumerate(body):
        if (
            not isinstance(node, ast.AnnAssign)
            or not isinstance(node.target, ast.Name)
            or "ClassVar" in lines[node.lineno - 1]
        ):
            continue
        following = body[i + 1] if i + 1 < len(body) else None
        meaning = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            meaning = str(following.value.value)
        elif "  # " in lines[(node.end_lineno or node.lineno) - 1]:
            meaning = lines[(node.end_lineno or node.lineno) - 1].split("  # ", 1)[1]
        default = "required" if node.value is None else f"`{ast.unparse(node.value)}`"
        default = re.sub(r"^`Field\(default_factory=(\w+)\)`$", r"`\1()`", default)
        rows.append([f"`{node.target.id}`", f"`{ast.unparse(node.annotation)}`", default, meaning])
    return rows


# Per family: exports, frames of `aural locate`, and parity with the publisher's code: the largest difference of unit
# vectors of sounds and of texts, measured in docs/models/load.md and docs/models/families.md.
WINDOWS = "windows of 1 s"
EXPORTS = "sentence-transformers, ONNX, int8"
FAMILIES = {
    "aural": (EXPORTS, WINDOWS, "its source"),
    "msclap": (EXPORTS, WINDOWS, "1.1e-6, 1.3e-8"),
    "laion": (f"ClapModel (HTSAT), {EXPORTS}", WINDOWS, "2.3e-6, 1e-8"),
    "clapmodel": (f"ClapModel, {EXPORTS}", WINDOWS, "5.4e-8, 2.9e-7"),
    "pe-audio": ("none", "its frames, 40 ms", "1.4e-7, 1.4e-8"),
    "embedding-gemma2": ("none", WINDOWS, "2.8e-8, 1.9e-8"),
    "tagger": ("none", "none: it reads no texts", "see its notes"),
    "glap": ("none", WINDOWS, "3.4e-8, 3.4e-8"),
    "m2d-clap": ("none", WINDOWS, "2.0e-7, 3.0e-8"),
    "audio-only": ("none", "none: it reads no texts", "3.6e-7"),
    "openflam": ("none of its frame heads", "its frames, 312.5 ms", "9.8e-7, 0"),
}


def models_page() -> str:
    """Return the table of checkpoints, from the cards in catalog/weights and what each family can do."""
    rows = []
    for card in _cards("weights"):
        exports, locate, parity = FAMILIES[card.get("family", "aural")]
        rate = f"{card['sample_rate_hz'] / 1000:g} kHz, {card['window_s']:g} s"
        license_, languages = card["weights_license"], card.get("languages", "English")
        defects = card.get("defects", "")
        rows.append(
            [f"`{card['name']}`", rate, card["embed_dim"], exports, locate, languages, license_, parity, defects]
        )
    head = "# Models\n\nEvery name that `aural.load` accepts (`aural models list`; `aural models show NAME`). "
    head += "No model of this table writes captions. Speed is measured per family in "
    head += "[families](../models/families.md).\n\n"
    names = ["name", "sound", "dimensions", "export", "locate", "languages", "license of the weights", "parity"]
    return head + table([*names, "known defects"], rows)


def objectives_page() -> str:
    """Return the table of objectives, from the registry."""
    from aural.objectives import OBJECTIVES, build_objective

    rows, options = [], []
    for name in OBJECTIVES:
        cls = OBJECTIVES[name]
        page = f"[`{name}`](../objectives/{_objective_page(name)})" if _objective_page(name) else f"`{name}`"
        needs = ", ".join(f"`{tensor}`" for tensor in sorted(build_objective(name).needs))
        rows.append([page, first_sentence(cls.__doc__), needs])
        if fields := options_of(cls.config_type):
            options.append(f"### `{name}`\n\n" + table(["option", "type", "default", "meaning"], fields))
    text = "# Objectives\n\nChoose one in a recipe: `objective: {name: NAME, options: {...}}`.\n\n"
    text += table(["name", "what it computes", "tensors it needs"], rows)
    if OBJECTIVES.axes:
        axes = [
            [f"`{name}`", *(OBJECTIVES.axes_of(name).get(axis, "") for axis in OBJECTIVES.axes)] for name in OBJECTIVES
        ]
        text += "\n## Taxonomy\n\n" + table(["name", *OBJECTIVES.axes], axes)
    return text + "\n## Options\n\n" + "\n".join(options)


def encoders_page() -> str:
    """Return the table of audio encoders, from the registry."""
    import importlib
    import pkgutil
    import sys

    import aural.encoders as package
    from aural.encoders.base import AUDIO_ENCODERS

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"aural.encoders.{module.name}")
    rows, options = [], []
    for name in AUDIO_ENCODERS:
        entry = AUDIO_ENCODERS[name]
        cls: Any = getattr(entry, "build", entry)
        config: Any = getattr(entry, "config", None) or getattr(cls, "config_type", None)
        module = sys.modules[cls.__module__]
        masks = "yes" if cls.masks_padding else "no"
        rows.append([f"`{name}`", first_sentence(module.__doc__), first_sentence(cls.__doc__), masks])
        if config is not None and (fields := options_of(config)):
            options.append(f"### `{name}`\n\n" + table(["option", "type", "default", "meaning"], fields))
    text = "# Audio encoders\n\nChoose one in a recipe: `model.clap.audio.encoder: NAME`.\n\n"
    return (
        text
        + table(["name", "architecture", "output", "masks padding (batches by length)"], rows)
        + "\n## Options\n\n"
        + "\n".join(options)
    )


def training_page() -> str:
    """Return the tables of all recipe keys, one per section of a recipe."""
    import typing

    from aural.core.config import Config
    from aural.train.config import Recipe

    def nested(annotation: Any) -> Iterator[type[Config]]:
        if isinstance(annotation, type) and issubclass(annotation, Config):
            yield annotation
        for part in typing.get_args(annotation):
            yield from nested(part)

    sections, queue, seen = [], [("a recipe", Recipe)], set()
    while queue:
        title, cls = queue.pop(0)
        if cls in seen:
            continue
        seen.add(cls)
        heading = "Recipe" if cls is Recipe else f"`{title}`"
        sections.append(
            f"## {heading}\n\n{first_sentence(cls.__doc__)}\n\n"
            + table(["key", "type", "default", "meaning"], options_of(cls))
        )
        prefix = "" if cls is Recipe else f"{title}."
        for key, field in cls.model_fields.items():
            queue += [(f"{prefix}{key}", inner) for inner in nested(field.annotation)]
    head = (
        "# Training options\n\nEvery key of a recipe, with its default. Set one on the command line with"
        " `--set loop.batch=32`. `Count` is a whole number of at least 1, `Natural` of at least 0, `Positive` a number"
        " above 0.\n\n"
    )
    return head + "\n".join(sections)


def recipes_page() -> str:
    """Return the table of bundled recipes."""
    rows = []
    for path in sorted((SOURCE / "recipes").glob("*.yaml")):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows.append([f"`{path.stem}`", values["shows"], values["paper"], values["cost"], values["expected"]])
    head = "# Recipes\n\nTrain one with `aural train NAME`; `aural train list` prints the names.\n\n"
    return head + table(["name", "what it trains", "paper", "cost", "expected"], rows)


def evaluation_page() -> str:
    """Return the table of evaluation tasks, from the cards in catalog/tasks."""
    kinds: dict[str, list[list[str]]] = {}
    for card in _cards("tasks"):
        suites = [*card.get("suites", []), *(["libre"] if card["dataset"] == "libre" else [])]
        row = [
            f"`{card['name']}`",
            f"`{card['dataset']}`",
            card.get("metric", ""),
            ", ".join(suites),
            card.get("definition", ""),
        ]
        kinds.setdefault(card["kind"], []).append(row)
    text = "# Evaluation tasks\n\nScore one with `aural evaluate --task NAME`, several with `--suite SUITE`.\n"
    for kind, rows in sorted(kinds.items()):
        text += f"\n## {kind}\n\n" + table(["task", "data set", "metric", "suites", "protocol"], rows)
    return text


def datasets_page() -> str:
    """Return the table of public data sets, from the cards in catalog/datasets."""
    rows = []
    for card in _cards("datasets"):
        reader = card.get("reader", {})
        kind = reader.get("kind", "") if isinstance(reader, dict) else reader
        rows.append([f"`{card['name']}`", card.get("title", card.get("version", "")), card.get("license", ""), kind])
    head = "# Data sets\n\nPublic data sets in their published layout (`aural data show NAME`).\n\n"
    return head + table(["name", "title", "license", "reader"], rows)


def _cards(kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted((SOURCE / "catalog" / kind).glob("*.toml")):
        yield tomllib.loads(path.read_text(encoding="utf-8"))


def _objective_page(name: str) -> str:
    for candidate in (name, "tiled" if name.startswith("tiled") else name):
        if (ROOT / "docs" / "objectives" / f"{candidate}.md").exists():
            return f"{candidate}.md"
    return ""


# API reference ------------------------------------------------------------------------------------------------------


def package_names() -> list[str]:
    """Return the dotted names of all packages, in the order of the reference."""
    names = [".".join(("aural", *path.parent.relative_to(SOURCE).parts)) for path in SOURCE.rglob("__init__.py")]
    order = list(PACKAGES)

    def rank(name: str) -> tuple[int, str]:
        top = name.removeprefix("aural").strip(".").split(".")[0]
        return (order.index(top) if top in order else len(order), name)

    return sorted(names, key=rank)


def reference_pages() -> dict[str, str]:
    """Return one page per package with its public modules, and an index."""
    pages, index = {}, []
    for name in package_names():
        folder = SOURCE.joinpath(*name.split(".")[1:])
        modules = [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")]
        package_doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        rows = []
        for path in modules:
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            rows.append([f"[`{path.stem}`](#{name}.{path.stem})", first_sentence(doc)])
        text = f"# {name}\n\n{first_sentence(package_doc)}\n\n"
        if rows:
            text += table(["module", "contents"], rows) + "\n"
        text += "\n".join(f"::: {name}.{path.stem}\n" for path in modules)
        if name == "aural":
            text += "\nIts names: `aural.load`, `aural.read_audio`, `aural.Model`, `aural.Clip`, `aural.AuralError`.\n"
        pages[f"reference/{name}.md"] = text
        index.append([f"[`{name}`]({name}.md)", first_sentence(package_doc)])
    pages["reference/index.md"] = "# API reference\n\nOne page per package, from the docstrings.\n\n" + table(
        ["package", "contents"], index
    )
    return pages


if __name__ == "__main__":  # python tools/docs_site.py PAGE prints one generated table, such as overview/models.md
    print(overview_pages()[sys.argv[1]])
