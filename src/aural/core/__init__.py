"""Shared foundations: errors, strict configs, registries, types, scoring and catalogs of cards."""
