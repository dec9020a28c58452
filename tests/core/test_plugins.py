"""Plug-ins are found through entry points, module names and paths; a broken one is named in one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aural.core import plugins
from aural.core.errors import AuralError, ConfigError, PluginError
from aural.core.plugins import add_plugin, load_plugins, plugin_folders
from aural.core.registry import Registry
from aural.train.recipes import load_recipe, recipe_names

RECIPE = """
paper: none
shows: a toy
command: aural train toy_recipe --out run
cost: none
expected: nothing
model:
  clap:
    embed_dim: 4
    audio:
      sample_rate_hz: 8000
      window_s: 1
      projection: mlp
      mel: {sample_rate_hz: 8000, n_fft: 256, hop: 80, n_mels: 16, fmin_hz: 50, fmax_hz: 4000}
      encoder: cnn9
      encoder_options: {n_mels: 16, width: 2}
    text_projection: mlp
    text: {dim: 8, depth: 1, heads: 2, hidden_dim: 16, positions: 16, max_tokens: 8}
data: {sources: [{manifest: data}]}
objective: {name: toy}
loop: {steps: 1}
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts without plug-ins and leaves no module behind."""
    monkeypatch.setattr(plugins, "_state", plugins._State())
    monkeypatch.setenv("AURAL_PLUGINS", "")
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("toy"):
            del sys.modules[name]


def install(folder: Path, package: str, body: str, recipe: str = "") -> Path:
    """Write a package with its dist-info into `folder`, as `pip install --target folder` would."""
    (folder / package / "recipes").mkdir(parents=True)
    (folder / package / "__init__.py").write_text(body)
    if recipe:
        (folder / package / "recipes" / f"{package}_recipe.yaml").write_text(recipe)
    info = folder / f"{package}-0.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text(f"[aural.plugins]\n{package} = {package}\n")
    return folder


def test_an_installed_package_registers_on_the_first_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(
        str(install(tmp_path, "toy", "import toy_shapes\ntoy_shapes.SHAPES.add('toy', 3)\n", RECIPE))
    )
    shapes = Registry[int]("shape")
    shapes.add("square", 4)
    module = type(sys)("toy_shapes")
    module.SHAPES = shapes  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_shapes", module)

    assert shapes["square"] == 4
    assert "toy" not in sys.modules, "a name of aural's own loads no plug-in"
    assert shapes["toy"] == 3
    assert list(shapes) == ["square", "toy"]
    assert len(shapes) == 2
    assert [plugin.name for plugin in load_plugins()] == ["toy"]
    assert plugin_folders("recipes") == [tmp_path / "toy" / "recipes"]
    assert plugin_folders("catalog", "tasks") == []
    assert "toy_recipe" in recipe_names()
    assert load_recipe("toy_recipe").objective.name == "toy"
    monkeypatch.setenv("AURAL_PLUGINS", "off")
    monkeypatch.setattr(plugins, "_state", plugins._State())
    assert load_plugins() == []


def test_a_module_and_a_path_are_named_by_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_module.py").write_text("VALUE = 1\n")
    (tmp_path / "elsewhere" / "toy_package").mkdir(parents=True)
    (tmp_path / "elsewhere" / "toy_package" / "__init__.py").write_text("from toy_package.part import VALUE\n")
    (tmp_path / "elsewhere" / "toy_package" / "part.py").write_text("VALUE = 2\n")
    monkeypatch.chdir(tmp_path)
    add_plugin("toy_module")
    add_plugin("elsewhere/toy_package")
    add_plugin("toy_module")
    assert [plugin.module.VALUE for plugin in load_plugins()] == [1, 2]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("import no_such_package_at_all\n", "ModuleNotFoundError: No module named 'no_such_package_at_all'"),
        ("def f(:\n", "SyntaxError"),
        ("raise ValueError\n", "ValueError: ValueError"),
        (
            "from aural.objectives import OBJECTIVES\nOBJECTIVES.add('info_nce', int)\n",
            'ConfigError: objective "info_nce" is registered twice; choose another name',
        ),
    ],
)
def test_a_broken_plugin_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, cause: str
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path, "toybroken", body)))
    shapes = Registry[int]("shape")
    shapes.add("square", 4)
    assert shapes["square"] == 4
    for _ in range(2):  # a second lookup gives the same sentence, not a half-registered plug-in
        with pytest.raises(PluginError) as error:
            shapes["circle"]
        text = str(error.value)
        assert text.startswith('plug-in "toybroken" of toybroken 0.3 cannot be loaded (')
        assert cause in text
        assert text.endswith("; fix or uninstall that package, or set AURAL_PLUGINS=off")
        assert "\n" not in text


@pytest.mark.parametrize(("name", "cause"), [("nowhere/toy.py", "no such file"), ("nowhere/toy", "no such folder")])
def test_a_missing_path_is_named(name: str, cause: str) -> None:
    add_plugin(name)
    with pytest.raises(AuralError, match=f'plug-in "{name}" of --plugin or AURAL_PLUGINS cannot be loaded \\({cause}'):
        load_plugins()


def test_a_plugin_may_look_up_names_while_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_curious.py").write_text(
        "from aural.objectives import OBJECTIVES\nKNOWS = 'no_such_loss' in OBJECTIVES\n"
    )
    add_plugin(str(tmp_path / "toy_curious.py"))
    assert [plugin.module.KNOWS for plugin in load_plugins()] == [False]
    with pytest.raises(ConfigError, match='unknown shape "x"'):
        Registry[int]("shape")["x"]


def test_the_command_line_loads_plugins_and_import_stays_light(tmp_path: Path) -> None:
    (tmp_path / "toy_broken.py").write_text("import no_such_package_at_all\n")
    command = [sys.executable, "-m", "aural", "--plugin", str(tmp_path / "toy_broken.py"), "train", "list"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "cannot be loaded (ModuleNotFoundError" in run.stderr
    check = 'import sys, aural, aural.core.plugins; print({"importlib.metadata", "torch"} & set(sys.modules))'
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
