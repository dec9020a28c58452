"""Names that the light parts (command line, catalog) share with the heavy ones, so that neither imports the other."""

DEFAULT_MODEL = "libre-small"
DEFAULT_TEMPLATE = "the sound of {}"
