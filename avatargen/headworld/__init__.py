"""The closed world: heads whose geometry, albedo and captions are known."""
