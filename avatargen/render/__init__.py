"""Differentiable rasterisation behind one interface; see :mod:`avatargen.render.base`."""
