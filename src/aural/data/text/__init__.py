"""A world of texts with known meaning: sentences about sounds, stories, dialogues and phrases, written by a grammar.

Everything here is synthetic, and every text carries what it means (`Example`). Written for this project (CC0-1.0).
"""

from aural.data.text.example import Example

__all__ = ["Example"]
