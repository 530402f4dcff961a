"""Diffusion priors behind one interface; see :mod:`avatargen.priors.base`."""
