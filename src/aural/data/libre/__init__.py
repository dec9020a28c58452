"""Build the free corpus "libre" of labeled, freely licensed sounds from distribution packages."""
