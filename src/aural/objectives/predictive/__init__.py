"""Losses of self-supervised encoders of sounds: functions of tensors, one idea per file."""
