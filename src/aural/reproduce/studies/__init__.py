"""Studies: claims that are tested without `aural train`, one file each."""
