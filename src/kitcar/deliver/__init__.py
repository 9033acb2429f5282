"""Moves a source's parts into a directory, once for every scheme: concurrency, verification, resume, publish."""
