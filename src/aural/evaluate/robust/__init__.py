"""Robustness: score a task again on changed sounds or words."""
