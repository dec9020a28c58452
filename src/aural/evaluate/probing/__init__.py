"""Measures of the content of a model's layers: canonical correlations, mutual information, and probes per layer."""
