"""Read FLAME's pickles without chumpy, and without executing code that a pickle may contain.

Python 2 pickled the models of 2020 with chumpy's arrays and an old scipy's sparse matrix; later models are plain numpy.
The reader accepts only what these need and refuses everything else, because a pickle can hold any code.
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
_RECONSTRUCTOR = copyreg._reconstructor  # pyright: ignore[reportAttributeAccessIssue]  # typeshed leaves it out
_PLAIN = {
    ("copy_reg", "_reconstructor"): _RECONSTRUCTOR,
    ("copyreg", "_reconstructor"): _RECONSTRUCTOR,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    **{(module, kind.__name__): kind for module in ("__builtin__", "builtins") for kind in (set, frozenset)},
}


class _Foreign:
    """Stand-in for an object of chumpy or scipy; keeps its pickled state."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Chumpy(_Foreign):
    """An array of chumpy; a leaf holds its values as `x`."""

    x: Any


class _Csc(_Foreign):
    """A sparse matrix of scipy, stored by columns."""

    data: Any
    indices: Any
    indptr: Any


class _Unpickler(pickle.Unpickler):
    """Unpickler that resolves only the names that FLAME's files need."""

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
        raise pickle.UnpicklingError(f"got {module}.{name}, which no FLAME file needs")


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes that Python 3 pickled for older versions."""
    return text.encode(encoding)


def read_pickle(path: Path) -> dict[str, Any]:
    """Return a pickled dictionary, with numpy arrays in place of those of chumpy and scipy.

    Raises:
        InputError: the file is missing, is not a pickle of a dictionary, or holds what no FLAME file needs.
    """
    try:
        with path.open("rb") as file:
            found = _Unpickler(file, encoding="latin1").load()
        if not isinstance(found, dict):
            raise pickle.UnpicklingError(f"got a {type(found).__name__}")
        return {str(key): _plain(value) for key, value in found.items()}
    except (OSError, ValueError, EOFError, pickle.UnpicklingError, AttributeError, ImportError, IndexError) as error:
        raise InputError([f"{path}: cannot be read ({error}); expected a dictionary as FLAME pickles it"]) from error


def _plain(value: Any) -> Any:
    """Return a numpy array for an array of chumpy or scipy, anything else as it is.

    An expression of chumpy has no values: it stays, and the check of the model's arrays reports it if it is needed.
    """
    if isinstance(value, _Chumpy) and "x" in vars(value):
        return np.asarray(value.x)
    if isinstance(value, _Csc):
        parts = (value.data, value.indices, value.indptr)
        return sp.csc_matrix(parts, shape=vars(value).get("_shape")).toarray()
    return value
