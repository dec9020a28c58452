"""Small versions of the published recipes, for tests and benchmarks; aural finds them as a plug-in."""
