"""Write a model as a folder that the library sentence-transformers opens, with equal vectors.

The folder is aural's own format with two more files: `modules.json`, which names `SoundModule`, and
`config_sentence_transformers.json`.
"""

from __future__ import annotations

import json
from pathlib import Path

import aural
from aural.core.errors import ConfigError, MissingDependencyError
from aural.core.files import write_text
from aural.models.pipeline import Model

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
SOUND_MODULE = "aural.models.sentence_module.SoundModule"


def export_sentence_transformers(
    source: str, target: str | Path, *, tokenizer: str | Path | None = None, offline: bool = False
) -> Path:
    """Write a model for `SentenceTransformer(folder, trust_remote_code=True)` and return the folder.

    Raises MissingDependencyError when the tokenizer is not on this machine; the other files are then written.
    """
    model = Model.from_pretrained(source, device="cpu", tokenizer=tokenizer, offline=offline)
    folder = model.save_pretrained(target)
    settings = {
        "model_type": "SentenceTransformer",
        "__version__": {"aural": aural.__version__},
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    modules = [{"idx": 0, "name": "0", "path": "", "type": SOUND_MODULE}]
    for name, values in ((SETTINGS, settings), (MODULES, modules)):
        write_text(folder / name, json.dumps(values, indent=2) + "\n", ConfigError)
    try:
        model.tokenizer  # noqa: B018 - reports a missing tokenizer
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{folder}: written without its tokenizer ({error})") from None
    return folder
