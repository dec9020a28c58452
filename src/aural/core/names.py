"""Default names shared by modules that must not import each other, such as the command line and the models."""

DEFAULT_MODEL = "libre-base"
DEFAULT_TAGGER = "yamnet"
DEFAULT_TEMPLATE = "the sound of {}"
