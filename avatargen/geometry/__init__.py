"""Tensor types and conventions, cameras, sparse maps, mesh normals."""
