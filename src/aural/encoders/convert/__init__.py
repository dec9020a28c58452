"""Convert the state dicts of other packages: one description per publisher, checked key by key."""
