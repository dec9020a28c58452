"""Audio encoders, text encoders and tokenizers. `aural.encoders.builtin` registers the audio encoders by name."""
