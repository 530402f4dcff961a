"""Measures that an experiment asks for beyond its scores, one concept a file; see :mod:`eval.diagnostics.base`."""
