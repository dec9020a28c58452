"""Search sound files: vector indexes, the exact index they are compared with, and the library of sound files."""
