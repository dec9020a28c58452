"""Adapters between models and evaluations: foreign models as embedders, embedders as models of mteb and HEAR."""
