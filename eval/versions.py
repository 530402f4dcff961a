"""Versions of the code, of the packages that results depend on, and of the machine, for the report."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

from avatargen.config.places import ROOT

PACKAGES = ("torch", "warp-lang", "anny", "diffusers", "transformers", "open_clip_torch", "snakemake", "ray")


def versions() -> dict[str, str]:
    """Return the versions of the code, Python and packages that are installed, and the machine, by name."""
    found = {"code": _commit(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}


def _commit() -> str:
    """Return the checkout's commit, marked where files were changed since."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
