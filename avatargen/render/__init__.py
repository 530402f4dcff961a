"""Differentiable rasterisation behind one interface; see `avatargen.render.base`."""
