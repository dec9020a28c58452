"""The audit of a model: the shape of its embedding space, gaps between groups of clips, and membership."""
