"""Where configuration, prompt lists, weights and caches lie, in a clone and in an installation.

A clone holds ``workflow/``, ``prompts/`` and ``Snakefile`` beside the packages; an installation holds the same files
in ``avatargen/share/``. Paths of weights in the configuration are relative to the folder that holds the packages.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the packages `avatargen` and `eval`: a clone, or ``site-packages``."""
DEFAULT_EXPERIMENT = "embedded"
SHARE = "avatargen/share"
"""Where an installation holds what a clone has beside its packages."""


def shipped(name: str, root: Path = ROOT) -> Path:
    """Return a file or folder that ships beside the packages, such as ``Snakefile`` or ``workflow``."""
    installed = root / SHARE / name
    return installed if installed.exists() else root / name


def config_folders(root: Path = ROOT) -> tuple[Path, ...]:
    """Return where configuration is looked for: the working directory, then what is shipped."""
    return _folders("workflow/config", root)


def list_folders(root: Path = ROOT) -> tuple[Path, ...]:
    """Return where prompt lists are looked for: the working directory, then what is shipped."""
    return _folders("prompts", root)


def located(path: str, root: Path = ROOT) -> str:
    """Return a configured path; one that exists only in the working directory becomes absolute.

    Other relative paths stay as they are: those that lie below `root`, and names of a hub.
    """
    here = Path(path)
    return str(here.absolute()) if not (root / here).exists() and here.exists() else path


def placed(path: str, base: Path, root: Path = ROOT) -> str:
    """Return a path that starts at `base`: relative to `root` where it lies below, so that a clone may move.

    Example:
        >>> placed("../meshes", ROOT / "workflow"), placed("/data/meshes", ROOT)
        ('meshes', '/data/meshes')
    """
    whole = Path(os.path.normpath(base.absolute() / path))
    return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)


def cache_folder() -> Path:
    """Return the folder of caches: AVATARGEN_CACHE, else in XDG_CACHE_HOME or ``~/.cache``, else a temporary one."""
    if stated := os.environ.get("AVATARGEN_CACHE"):
        return Path(stated)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "avatargen"
    try:
        return Path.home() / ".cache" / "avatargen"
    except RuntimeError:  # a container's user without a home
        return Path(tempfile.gettempdir()) / "avatargen-cache"


def shown(path: Path) -> str:
    """Return a path as messages show it: relative to the working directory or to `ROOT` where it lies in one."""
    try:
        whole = path.resolve()
    except (OSError, RuntimeError):  # links that loop
        return str(path)
    for base in (Path.cwd(), ROOT):
        if whole.is_relative_to(base.resolve()):
            return str(whole.relative_to(base.resolve()))
    return str(path)


def _folders(inside: str, root: Path) -> tuple[Path, ...]:
    here, repository = Path(inside), shipped(inside, root)
    if not here.is_dir() or here.resolve() == repository.resolve():
        return (repository,)
    return (here, repository)
