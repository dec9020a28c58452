"""Wrap models of other packages as embedders, and embedders as models of mteb and HEAR."""
