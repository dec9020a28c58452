"""Serve a sound library over HTTP: search, classification, embedding, and the web page."""
