"""Search your sounds: an index of unit vectors, its exact oracle, and the library of sound files around it."""
