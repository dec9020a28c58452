"""Open the sources that a recipe names."""

from __future__ import annotations

from aural.core.errors import ConfigError
from aural.data.worlds import open_world
from aural.models.clap import AudioConfig
from aural.train.config import DataConfig, SourceConfig
from aural.train.shards import ShardSource
from aural.train.sources import ManifestSource, SceneSource, Source, WorldSource


def open_source(
    config: SourceConfig, data: DataConfig, audio: AudioConfig | None, seed: int, *, captioned: bool = True
) -> Source:
    """Open a source of a recipe, and check it as far as possible without reading every sound.

    audio: None if the system reads no sounds; then only the texts of a manifest or world are read.
    captioned: Whether every clip of a manifest needs a caption.

    Raises:
        ConfigError: the source does not suit the system.
        DataError: the source is missing, empty or incomplete.
    """
    if config.world:
        return WorldSource(f"world {config.world}", open_world(config.world, config.world_options), audio)
    if audio is None and not (config.manifest or config.captions):
        raise ConfigError("data.sources: a system without an audio tower reads texts from a manifest; name a manifest")
    if config.scenes:
        assert audio is not None
        return SceneSource(config, audio)
    if config.shards:
        assert audio is not None
        return ShardSource(config, data, audio, seed)
    return ManifestSource(config, data, audio, seed, captioned=captioned)
