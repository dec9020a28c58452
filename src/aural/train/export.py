"""Write the model folder of a finished run, which `aural.load` opens or from which another run starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from aural.core.errors import CheckpointError
from aural.core.files import atomic_write
from aural.models.low_rank import with_updates
from aural.models.pair import PairShape, TowerShape
from aural.models.prefix import strip_prefix
from aural.models.systems import save_system
from aural.train.config import Recipe
from aural.train.start import ENCODER_FILE, PACKAGED
from aural.train.system import SystemConfig

HEADS_FILE = "heads.safetensors"

if TYPE_CHECKING:
    from aural.models.packaged import PackagedText
    from aural.train.systems.pair import PairConfig


def write_pair(folder: Path, config: PairConfig, recipe: Recipe, state: Mapping[str, Tensor]) -> None:
    """Write the towers in our own format: a sound-and-text model, or towers of any other kind."""
    from aural.encoders.tokenize import BUNDLED, load_backend
    from aural.models.format import save_own

    tensors = {name: tensor.cpu() for name, tensor in state.items()}
    clap = config.clap()
    if clap is None:
        towers = {
            name: TowerShape(audio=tower.audio, text=tower.text, text_projection=tower.text_projection)
            for name, tower in config.towers.items()
        }
        shape = PairShape(embed_dim=config.embed_dim, towers=towers, logit_bias=config.logit_bias)
        save_system(
            folder,
            "pair",
            shape.model_dump(mode="json"),
            {name: t for name, t in with_updates(tensors).items() if not name.startswith("predictor.")},
            source=f"recipe: {recipe.command}",
            card=card_of(folder, recipe),
        )
        return
    tokenizer = None if clap.text.tokenizer in BUNDLED else load_backend(clap.text.tokenizer).to_str()
    text_from, updates = packaged_tower(config)
    save_own(
        folder,
        clap,
        {name: tensor for name, tensor in tensors.items() if not name.startswith("predictor.")} | updates,
        source=f"recipe: {recipe.command}",
        card=card_of(folder, recipe),
        tokenizer_json=tokenizer,
        text_from=text_from,
        int8=config.int8,
    )


def card_of(folder: Path, recipe: Recipe) -> str:
    """Return the model card that accompanies the weights."""
    return (
        f"# {folder.parent.name}\n\n{recipe.shows}\n\nTrained by aural; paper: {recipe.paper}\n\n"
        f"```\n{recipe.command}\n```\n"
    )


def packaged_tower(config: PairConfig) -> tuple[PackagedText | None, dict[str, Tensor]]:
    """Return the package that stores a locked text tower, and the low-rank updates that its start folder brought."""
    from aural.models.format import is_own, packaged_text
    from aural.models.packaged import MINILM

    tower = config.towers["text"]
    if not tower.locked:
        return None, {}
    if tower.init == PACKAGED:
        return MINILM, {}
    if not tower.lora and is_own(Path(tower.init)):
        return packaged_text(Path(tower.init))
    return None, {}


def write_encoder(
    folder: Path, system: str, config: SystemConfig, recipe: Recipe, state: Mapping[str, Tensor], *, heads: str
) -> None:
    """Write an encoder, from which another run can start, and its heads, a file each.

    heads: prefix of the heads' tensors.
    """
    from safetensors.torch import save_file

    save_system(
        folder,
        system,
        config.model_dump(mode="json"),
        strip_prefix(state, heads),
        source=f"recipe: {recipe.command}",
        card=card_of(folder, recipe),
        weights=HEADS_FILE,
    )
    with atomic_write(folder / ENCODER_FILE, CheckpointError) as part:
        save_file({k: v.cpu().contiguous() for k, v in strip_prefix(state, "encoder.").items()}, part)
