"""GGUF files as transformers opens them: converted once to a folder of safetensors.

transformers reads a GGUF file word by word in Python, once each for the configuration, the weights and the tokenizer.
The folder has the same weights, bit for bit, in float32.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aural.core.errors import MissingDependencyError, WriteError
from aural.core.files import atomic_write, locked, make_folder, user_cache

if TYPE_CHECKING:
    import torch

VERSION: Final = 1
"""Counts up when the content of the folders changes."""
LOG: Final = logging.getLogger("aural")


def gguf_options(path: Path) -> dict[str, Any]:
    """Return the arguments with which transformers opens a GGUF file of a causal language model.

    They name a folder in `gguf` of the user's cache folder, which the first call writes, or the file itself where the
    folder cannot be written. Each version of transformers has another folder.

    Raises:
        MissingDependencyError: gguf or accelerate, with which transformers reads the file, is not installed.
        OSError, RuntimeError, ValueError or KeyError of transformers: it is not such a file.
    """
    import transformers

    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()[:16]
    folder = user_cache() / "gguf" / f"{digest}-{VERSION}-{transformers.__version__}"
    if not folder.is_dir():
        direct = _direct(path)
        LOG.warning("%s: converting it once for transformers, which takes about half a minute", path.name)
        try:
            make_folder(folder.parent)
            with locked(folder.with_suffix(".lock")):
                if not folder.is_dir():
                    with atomic_write(folder) as part:
                        _convert(direct, part)
        except (WriteError, PermissionError):
            return direct
        for other in folder.parent.glob(f"{digest}-*-*"):
            if other.is_dir() and other != folder:
                shutil.rmtree(other, ignore_errors=True)
    return {"pretrained_model_name_or_path": str(folder), "local_files_only": True}


def _direct(path: Path) -> dict[str, Any]:
    for name in ("gguf", "accelerate"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(f'{path.name} is read with {name}; pip install "aural[language]"')
    return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name, "local_files_only": True}


def _convert(direct: dict[str, Any], folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file to a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with without_bars():
        model: Any = AutoModelForCausalLM.from_pretrained(**direct, **dtype_option(torch.float32))
        model.hf_quantizer = None  # the weights are no longer quantized, but transformers would refuse to save them
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(**direct).save_pretrained(folder)


def dtype_option(dtype: torch.dtype) -> dict[str, Any]:
    """Return the argument of `from_pretrained` for the type of the weights, which was renamed in transformers 4.56."""
    import transformers

    release = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    return {"dtype" if release >= (4, 56) else "torch_dtype": dtype}


@contextmanager
def without_bars() -> Iterator[None]:
    """Let transformers show no progress bars in the block."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
