"""Axes of files that other systems write, as vectors."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from avatargen.config.other_systems import Axis


def axis_vector(axis: Axis) -> Float[np.ndarray, "3"]:
    """Return the unit vector of an axis, ``+x`` to ``-z``.

    Example:
        >>> axis_vector("-z").tolist()
        [0.0, 0.0, -1.0]
    """
    vector = np.zeros(3)
    vector["xyz".index(axis[1])] = 1.0 if axis[0] == "+" else -1.0
    return vector
