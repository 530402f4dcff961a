"""Read FLAME's pickles without chumpy, and without running what a pickle may ask to be run.

The models of 2020 were pickled by Python 2 with chumpy's arrays and a sparse matrix of an old scipy; later ones are
plain numpy. Only what those need is let through: everything else in a pickle, which could be any code, is refused.
"""

from __future__ import annotations

import copyreg
import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from avatargen.config.errors import InputError

_NUMPY = {"_reconstruct", "scalar", "ndarray", "dtype", "_frombuffer"}
_PLAIN = {
    ("copy_reg", "_reconstructor"): copyreg._reconstructor,
    ("copyreg", "_reconstructor"): copyreg._reconstructor,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    **{(module, kind.__name__): kind for module in ("__builtin__", "builtins") for kind in (set, frozenset)},
}


class _Foreign:
    """Stands for an object of chumpy or scipy: keeps what it was pickled with."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Chumpy(_Foreign):
    """An array of chumpy's; a leaf holds its values as `x`."""


class _Csc(_Foreign):
    """A scipy matrix, by columns."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if (module, name) == ("_codecs", "encode"):
            return _encode
        package = module.split(".")[0]
        if package == "numpy" and name in _NUMPY:
            return getattr(importlib.import_module(module.replace("numpy.core", "numpy._core")), name)
        if package == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in ("csc_matrix", "csc_array"):
            return _Csc
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no FLAME file needs")


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for older versions."""
    return text.encode(encoding)


def read_pickle(path: Path) -> dict[str, Any]:
    """A dictionary that was pickled, with numpy arrays for what chumpy and scipy made of them.

    Raises:
        InputError: no such file, not such a pickle, or one that holds something else.
    """
    try:
        with path.open("rb") as file:
            found = _Unpickler(file, encoding="latin1").load()
        if not isinstance(found, dict):
            raise pickle.UnpicklingError(f"it holds a {type(found).__name__}")
        return {str(key): _plain(value) for key, value in found.items()}
    except (OSError, ValueError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, IndexError) as error:
        raise InputError([f"{path}: cannot be read ({error}); expected a pickled dictionary of FLAME's"]) from error


def _plain(value: Any) -> Any:
    if isinstance(value, _Chumpy) and "x" in vars(value):  # an expression stays, to be found no array if it is needed
        return np.asarray(value.x)
    if isinstance(value, _Csc):
        parts = (value.data, value.indices, value.indptr)
        return sp.csc_matrix(parts, shape=vars(value).get("_shape")).toarray()
    return value
