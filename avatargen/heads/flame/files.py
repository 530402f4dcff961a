"""Find FLAME's files, which each user downloads from flame.is.tue.mpg.de after a sign-up.

Three files make the head, wherever they lie in the folder and up to `DEPTH` folders below it, where the zips put them:

- the model: FLAME 2020, 2023 or 2023 Open, as a pickle or as an npz with the same arrays;
- its texture layout: ``FLAME_texture.npz`` of the texture space, another npz with ``vt`` and ``ft``, or an .obj of the
  template with texture coordinates;
- its vertex masks: ``FLAME_masks.pkl``, or an npz of the same arrays.

A fourth may name facial actions (see `arkit`). Everything else that the downloads hold, such as landmark embeddings
and textures, is ignored. Files count by what they hold where their names do not say; nothing is unpickled to find out.

The folder is ``avatargen/weights/flame`` or the one that AVATARGEN_FLAME names. Of one release the generic model with
a jaw is taken; where several releases remain, AVATARGEN_FLAME names the model's file.

The Snakefile calls `flame_problems` while it is parsed, so this module imports neither torch nor pandas.
"""

from __future__ import annotations

import filecmp
import hashlib
import mmap
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from avatargen.config.errors import InputError, some_of
from avatargen.config.places import ROOT

VARIABLE = "AVATARGEN_FLAME"
"""Environment variable that names the folder or the model's file."""
DEFAULT = ROOT / "avatargen" / "weights" / "flame"
MASKS = "FLAME_masks.pkl"
TEXTURE = "FLAME_texture.npz"
ACTIONS = ("arkit.npz", "arkit.json")
"""Names of the file of facial actions, in any case."""
DEPTH = 2
"""Folders below the given one that are searched, as in ``FLAME2020/FLAME2020/generic_model.pkl``."""
SITE = "flame.is.tue.mpg.de"
_MODEL_ARRAYS = ("v_template", "shapedirs")
"""Names that every model of FLAME holds, and no landmark file or texture."""
LARGEST = 2**30
"""Bytes; larger files are not searched. A model has about a tenth of that."""
_RELATED = re.compile(r"smpl|mano|supr", re.IGNORECASE)
"""Beginnings of the names of the body models that hold arrays of the same names."""
_GENDERED = re.compile(r"(?<![a-z])(fe)?male(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class FlameFiles:
    """Paths of FLAME's files; see the module.

    Attributes:
        model, texture, masks: what makes the head.
        actions: facial actions by name, which only exports use; None without such a file.
    """

    model: Path
    texture: Path
    masks: Path
    actions: Path | None = None

    def hash(self) -> str:
        """Return a hash of the content of the files that make the head, twelve hex digits."""
        digest = hashlib.sha256()
        for path in (self.model, self.texture, self.masks):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:12]


def find_flame(place: Path | None = None) -> FlameFiles:
    """Find FLAME's files.

    Args:
        place: their folder, or the model's file; by default what AVATARGEN_FLAME names, else `DEFAULT`.

    Raises:
        InputError: files are missing, or several are equally good; all problems are reported at once.
    """
    place = (place or Path(os.environ.get(VARIABLE) or DEFAULT)).expanduser().absolute()
    folder = place.parent if place.is_file() else place
    if not folder.is_dir():
        raise InputError([f"head 'flame': {place}: no such folder; {_WANTED}"])
    files = _files(folder)
    models = [place] if place.is_file() else _models(files)
    beside = models[0].parent if models else folder
    textures, masks, actions = (
        find(files) or (find(_files(folder.parent, depth=1)) if place.is_file() else [])
        for find in (_textures, _masks, _actions)
    )
    lines = []
    if not models:
        lines.append(
            f"got no model{_seen(files, folder)}; expected generic_model.pkl, flame2023.pkl or flame2023_Open.pkl"
        )
    if len(models) > 1:
        lines.append(f"got the models {_listed(models, folder)}; expected one; set {VARIABLE} to the file to use")
    if not textures:
        objs = [path.name for path in files if path.suffix.lower() == ".obj"]
        without = f" ({some_of(objs)} without texture coordinates)" if objs else ""
        lines.append(f"got no texture layout{without}; {_TEXTURES}")
    if not masks:
        lines.append(f"got no vertex masks; expected {MASKS} ('FLAME Vertex Masks' at {SITE})")
    masks, actions = _nearest(masks, beside), _nearest(actions, beside)
    for kind, found in (("vertex masks", masks), ("facial actions", actions)):
        if len(found) > 1:
            lines.append(f"got the {kind} {_listed(found, folder)}; expected one")
    if lines:
        raise InputError([f"head 'flame': {folder}: {line}" for line in lines])
    return FlameFiles(models[0], _nearest(textures, beside)[0], masks[0], actions[0] if actions else None)


def flame_problems() -> list[str]:
    """Return what is wrong with the user's FLAME: files that are missing or, if none is, wrong content.

    Reads the files at the first call, about a second, and again only when they change.
    """
    from avatargen.heads.flame.reading import summary

    try:
        summary(find_flame())
    except InputError as error:
        return list(error.problems)
    return []


def flame_notes() -> list[str]:
    """Return what a user should know about a FLAME without problems, one line each."""
    from avatargen.heads.flame.reading import summary

    return [f"head 'flame': {summary(find_flame())}"]


_TEXTURES = (
    f"expected {TEXTURE} ('Texture Space' at {SITE}), or an .obj of the template with texture coordinates, such as "
    "head_template.obj; both fit all releases"
)
_WANTED = (
    f"expected there, or in the folder that {VARIABLE} names, FLAME's model, {TEXTURE} (or an .obj of the template) "
    f"and {MASKS} from {SITE}"
)


def _files(folder: Path, depth: int = DEPTH) -> list[Path]:
    """Return the files of a folder and of the folders in it, those nearest first; links count as what they lead to."""

    def below(place: Path, level: int) -> Iterator[Path]:
        entries = sorted(entry for entry in place.iterdir() if not entry.name.startswith((".", "__MACOSX")))
        yield from (entry for entry in entries if entry.is_file())
        for entry in entries if level < depth else ():
            if entry.is_dir() and os.access(entry, os.R_OK | os.X_OK):
                yield from below(entry, level + 1)

    found = [path for path in below(folder, 0) if path.suffix.lower() in (".pkl", ".npz", ".obj", ".json", ".zip")]
    return sorted(found, key=lambda path: len(path.parts))


def _models(files: Iterable[Path]) -> list[Path]:
    """Return the models that are equally good: generic rather than of a gender, with a jaw rather than without."""
    named = [path for path in files if _may_hold(path) and not _RELATED.match(path.name)]
    found = [path for path in named if _holds(path, _MODEL_ARRAYS)]
    pickles = {path.with_suffix("") for path in found if path.suffix.lower() == ".pkl"}
    found = [path for path in found if path.suffix.lower() == ".pkl" or path.with_suffix("") not in pickles]
    rank = {path: (bool(_GENDERED.search(path.stem)), "no_jaw" in path.stem.lower()) for path in found}
    return _distinct(path for path in found if rank[path] == min(rank.values()))


def _textures(files: Iterable[Path]) -> list[Path]:
    """Return the files with a texture layout: FLAME's own first, then others with its arrays, then Wavefront files."""
    found = []
    for path in files:
        if path.suffix.lower() == ".npz" and _holds(path, ("vt", "ft")):
            found.append((path.name.lower() != TEXTURE.lower(), path))
        elif path.suffix.lower() == ".obj" and _has_line(path, b"vt "):
            found.append((2 + ("template" not in path.stem.lower()), path))
    best = min((rank for rank, _ in found), default=0)
    return [path for rank, path in found if rank == best]


def _masks(files: Iterable[Path]) -> list[Path]:
    """Return the files with vertex masks: by name, else by content."""
    found = [path for path in files if _may_hold(path)]
    named = [path for path in found if path.stem.lower() == Path(MASKS).stem.lower()]
    return named or [path for path in found if _holds(path, ("left_eyeball", "boundary"))]


def _actions(files: Iterable[Path]) -> list[Path]:
    """Return the files that name facial actions."""
    return [path for path in files if path.name.lower() in ACTIONS]


def _nearest(found: list[Path], beside: Path) -> list[Path]:
    """Return the files beside the model, else those nearest to the top, each content once."""

    def steps(path: Path) -> int:
        return 0 if path.parent == beside else len(path.parts)

    return _distinct(path for path in found if steps(path) == min(map(steps, found)))


def _distinct(found: Iterable[Path]) -> list[Path]:
    """Return files that differ, without copies of and links to those before them."""
    kept: list[Path] = []
    for path in found:
        if not any(path.samefile(other) or filecmp.cmp(path, other, shallow=False) for other in kept):
            kept.append(path)
    return kept


def _may_hold(path: Path) -> bool:
    return path.suffix.lower() in (".pkl", ".npz") and path.stat().st_size <= LARGEST


def _holds(path: Path, names: tuple[str, ...]) -> bool:
    """Return whether a pickle or an npz holds arrays of these names; a file that cannot be read holds none."""
    facts = path.stat()
    return _searched_names(path, names, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=256)
def _searched_names(path: Path, names: tuple[str, ...], _size: int, _time: int) -> bool:
    """Return `_holds` of a file as it was when it had this size and time."""
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as file:
                return {f"{name}.npy" for name in names} <= set(file.namelist())
        return _searched(path, lambda data: all(data.find(name.encode()) >= 0 for name in names))
    except (OSError, zipfile.BadZipFile):
        return False


def _has_line(path: Path, start: bytes) -> bool:
    """Return whether a line of a file starts with these bytes."""
    try:
        return _searched(path, lambda data: data.find(b"\n" + start) >= 0 or data[: len(start)] == start)
    except OSError:
        return False


def _searched(path: Path, test: Callable[[mmap.mmap], bool]) -> bool:
    """Return the result of a test of a file's bytes, which are not copied; False for an empty file."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return test(data)


def _seen(files: list[Path], folder: Path) -> str:
    """Return what there is in place of a model, for a message."""
    dangling = [path.name for path in sorted(folder.iterdir()) if path.is_symlink() and not path.exists()]
    if dangling:
        return f" ({some_of(dangling)}: a link to what does not exist)"
    zips = [path.name for path in files if path.suffix.lower() == ".zip"]
    named = [
        path.name for path in files if re.fullmatch(r"(generic_model|flame\d+.*|flame_neutral)", path.stem.lower())
    ]
    broken = [name for name in named if not name.lower().endswith(".zip")]
    if broken:
        return f" ({some_of(broken)} holds no model's arrays: an unfinished download, or a pointer of Git LFS?)"
    return f" (unpack {some_of(zips)})" if zips else ""


def _listed(found: Iterable[Path], folder: Path) -> str:
    """Return files as a message shows them, relative to the folder where they lie in it."""
    return ", ".join(str(path.relative_to(folder) if path.is_relative_to(folder) else path) for path in found)
