"""Losses and weights for sentence vectors as pure functions of tensors, one family per file.

They see vectors, attention maps and logits, never a model. Legend of all files: B sentences, E dimensions, L tokens, V
words, K items of a list or inner layers, Q rows of a queue.
"""
