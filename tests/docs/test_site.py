"""The documentation site builds without network and without warnings, and its tables name everything in the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aural.objectives import OBJECTIVES
from aural.train.recipes import recipe_names

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
pytest.importorskip("material", reason="the extra `docs` is not installed")
pytest.importorskip("mkdocstrings", reason="the extra `docs` is not installed")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site in strict mode, with a proxy that refuses every connection."""
    out = tmp_path_factory.mktemp("site")
    nowhere = "http://127.0.0.1:9"
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "https_proxy": nowhere, "http_proxy": nowhere}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(out)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return out


def test_nothing_is_loaded_from_another_server(site: Path) -> None:
    loading = re.compile(
        r'<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//|<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+//'
    )
    for page in site.rglob("*.html"):
        assert not loading.search(page.read_text(encoding="utf-8")), page.relative_to(site)
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text(encoding="utf-8"), style.relative_to(site)


def test_tables_name_everything(site: Path) -> None:
    objectives = (site / "overview" / "objectives.html").read_text(encoding="utf-8")
    assert [name for name in OBJECTIVES if f"<code>{name}</code>" not in objectives] == []
    recipes = (site / "overview" / "recipes.html").read_text(encoding="utf-8")
    assert [name for name in recipe_names() if f"<code>{name}</code>" not in recipes] == []
    training = (site / "overview" / "training.html").read_text(encoding="utf-8")
    assert "<code>micro_batch</code>" in training
    assert "<code>1e-4</code>" in training or "<code>0.0001</code>" in training
    tasks = (site / "overview" / "evaluation.html").read_text(encoding="utf-8")
    cards = sorted(path.stem for path in (ROOT / "src/aural/catalog/tasks").glob("*.toml"))
    assert [name for name in cards if f"<code>{name}</code>" not in tasks] == []


def test_the_reference_shows_every_public_module(site: Path) -> None:
    for path in (ROOT / "src" / "aural").rglob("*.py"):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        if any(part.startswith("_") for part in parts):
            continue
        page = (site / "reference" / f"{'.'.join(parts[:-1])}.html").read_text(encoding="utf-8")
        assert f'id="{".".join(parts)}"' in page, path


def test_every_document_is_in_the_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for path in (ROOT / "docs").rglob("*.md"):
        page = path.relative_to(ROOT / "docs").as_posix().replace("README.md", "index.md").replace(".md", ".html")
        assert (site / page).is_file(), page
        section = (site / page).read_text(encoding="utf-8")
        assert "md-nav__link--active" in section or page in home, page
