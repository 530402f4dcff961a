"""Diffusion priors behind one interface; see `avatargen.priors.base`."""
