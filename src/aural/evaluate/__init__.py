"""Evaluate any model: task cards, kinds, runners, metrics, intervals and comparisons.

- `cards`, `kinds`, `dimensions`: what can be scored.
- `data_root`, `examples`, `cache`: clips with their truth, and stored embeddings.
- `runners`: one module per method and kind of task; `metrics`: pure functions of stored predictions.
- `run`: `evaluate`; `records`: its files and `item_scores`; `stats`: intervals; `report`: comparisons.
- `robust`: scores on changed sounds and words; `in_training`: task cards as evaluators of the training loop.
"""
