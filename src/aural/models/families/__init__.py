"""Models of other families, whose towers are not those of `aural.models.clap`: one file per family."""
