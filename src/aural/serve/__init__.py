"""The server: a library's search, classification and embedding over HTTP, and the page in front of it."""
