"""Save a model in aural's own format with its card and tokenizer, or push it to the hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from aural.core.errors import ConfigError, MissingDependencyError, one_line
from aural.core.hub import is_offline, reachable
from aural.core.weights import weight_cards
from aural.encoders.tokenize import BUNDLED
from aural.models.format import save_own

if TYPE_CHECKING:
    from aural.models.pipeline import Model


def save_pretrained(model: Model, target: str | Path, *, half: bool = False) -> Path:
    """Write config.json, model.safetensors, README.md and, where not bundled with aural, tokenizer.json.

    half: store matrices as float16. A tokenizer that is not on this machine is left out; embedding text with the folder
    then needs `tokenizer=FOLDER`.
    """
    checkpoint = model.checkpoint
    return save_own(
        target,
        model.config,
        checkpoint.tensors,
        peer=checkpoint.peer,
        source=Path(checkpoint.source).name,
        card=model_card(model),
        tokenizer_json=tokenizer_of(model),
        dtype=torch.float16 if half else None,
        least_cosine=checkpoint.least_cosine,
    )


def tokenizer_of(model: Model) -> str | None:
    """Return the content of tokenizer.json; None if it is bundled with aural or not on this machine."""
    if model.config.text.tokenizer in BUNDLED:
        return None
    try:
        return model.tokenizer.backend.to_str()
    except MissingDependencyError:
        return None


def push_to_hub(model: Model, repository: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload the model to a hub repository, which is created if it does not exist, and return its address."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if is_offline() or not reachable(constants.ENDPOINT):
        raise ConfigError(
            f'"{repository}": {constants.ENDPOINT} cannot be reached, so nothing was uploaded; connect to the '
            "network, or write a folder with save_pretrained and upload it later"
        )
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder)
        try:
            api = HfApi(token=token)
            api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(folder_path=folder, repo_id=repository)
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise ConfigError(
                f'"{repository}": could not be written to the hub ({one_line(error, 160)}); log in or pass token'
            ) from None
        return f"{api.endpoint}/{repository}"


def model_card(model: Model) -> str:
    """Return the text of a model card, generated from the configuration and the weight card."""
    config, card = model.config, weight_cards().get(model.name)
    title = card.title if card else f"aural model converted from {Path(model.source).name}"
    encoder, text = config.audio.encoder, config.text
    lines = [
        "---",
        "library_name: aural",
        "tags: [audio, clap, zero-shot-audio-classification, feature-extraction]",
        "---",
        "",
        f"# {title}",
        "",
        f"- Audio tower: {encoder}, {config.audio.sample_rate_hz} Hz, windows of {config.audio.window_s:g} s",
        f"- Text tower: {text.architecture}, {text.depth} layers of {text.dim}, pooled by {text.pooling}",
        f"- Joint space: {config.embed_dim} dimensions",
    ]
    if card:
        lines += [f"- License of the weights: {card.weights_license}", f"- Cite: {card.citation}"]
    lines += ["", "```python", "import aural", 'model = aural.load("PATH OR REPOSITORY")', "```", ""]
    return "\n".join(lines)
