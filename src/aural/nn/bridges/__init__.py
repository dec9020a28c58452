"""Bridges from the vectors of sounds to a frozen decoder, and ways to close the gap between sounds and texts."""
