"""PyTorch3D comes compiled for some versions of torch only: say which, without importing either of them."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

WHEEL, WHEEL_VERSION = "easypytorch3d", "0.7.9.post1"
"""A third party's build of PyTorch3D on PyPI. The package `pytorch3d`, a user's own build, takes its place."""
WHEEL_TORCH = ("2.11", "2.12")
"""Versions of torch that the compiled part of the wheel loads with."""


def pytorch3d_problem() -> str | None:
    """Return what keeps PyTorch3D from being imported, as far as installed packages tell; None if nothing does."""
    torch, wheel = _version("torch"), _version(WHEEL)
    if find_spec("pytorch3d") is None:
        return f"PyTorch3D is not installed, torch is {torch}; {_advice()}"
    if wheel and not _version("pytorch3d") and ".".join(torch.split(".")[:2]) not in WHEEL_TORCH:
        return f"{WHEEL} {wheel} does not load with torch {torch}; {_advice()}"
    return None


def pytorch3d_failure(error: Exception) -> str:
    """Return why importing PyTorch3D failed, and what to install."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return pytorch3d_problem() or f"PyTorch3D does not load with torch {_version('torch')} ({reason}); {_advice()}"


def _advice() -> str:
    return (
        f"expected {WHEEL}=={WHEEL_VERSION} with torch {' or '.join(WHEEL_TORCH)} "
        f"(pip install '{WHEEL}=={WHEEL_VERSION}' 'torch=={WHEEL_TORCH[-1]}.*'), your own build of pytorch3d for the "
        "installed torch, or renderer: warp"
    )


def _version(name: str) -> str:
    """Return the version of an installed package, empty for none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
