"""Spoken sentences with planted prosody: espeak-ng as a program, sentences in six languages, emotion as prosody."""
