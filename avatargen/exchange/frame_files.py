"""Find another system's rendered views of each item, say where their cameras are, and what cannot be read of them.

A method with ``source: frames`` has a folder with a folder of pictures for each item: ``ID`` or, for a seed other than
0, ``ID.SEED``; or the one that a table names, see :mod:`avatargen.exchange.item_table`. An empty folder stands for a
failure of the other system. Where the cameras are is told by one of these:

``transforms.json``     the cameras of instant-ngp and nerfstudio: ``frames`` with a ``file_path`` and a
                        ``transform_matrix`` from the camera, which looks along -z with y up, to the world
names, as azimuths      ``045.png``, ``az-30.png``, ``azimuth_120_elevation_10.png``: degrees
names, as one turn      ``0.png`` to ``N-1.png``, or from 1: even steps around the head. In a closed turn, as
                        threestudio takes it, the last view is the first again

The Snakefile checks frames while it is parsed, so this module imports neither torch nor pandas, and Pillow only where
it looks at a picture.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from avatargen.config.errors import InputError, some_of
from avatargen.config.other_systems import Axis, FrameSettings
from avatargen.config.prompts import PromptItem
from avatargen.exchange.item_table import Table, item_name, place_of, read_table, rowless_problems
from avatargen.geometry.axes import axis_vector

FORMATS = (".png", ".jpg", ".jpeg", ".webp")
CAMERAS = "transforms.json"
LARGEST = 512
"""Largest number of rows and columns of a picture that is kept; larger ones are scaled down."""
WITHIN = 5.0
"""Largest difference of azimuth, degrees, between a view that is asked for and the one that is shown."""
WITHIN_ELEVATION = 15.0
"""Largest difference of elevation, degrees, where it is known."""
_NUMBER = r"([+-]?\d+(?:\.\d+)?)"
_ALONE, _LAST = re.compile(f"^{_NUMBER}$"), re.compile(r"(\d+)$")
_TURN = "; state names: turn or closed_turn for views that are numbered around one turn"
_AZIMUTH = re.compile(rf"(?:^|[^a-z])az(?:imuth)?[ _=]?{_NUMBER}", re.IGNORECASE)
_ELEVATION = re.compile(rf"(?:^|[^a-z])el(?:ev|evation)?[ _=]?{_NUMBER}", re.IGNORECASE)


class Frame(NamedTuple):
    """A picture and its camera, by the conventions of `avatargen.geometry.types`.

    Attributes:
        path: of the picture.
        azimuth: degrees, in (-180, 180].
        elevation: degrees; None where it is not known.
    """

    path: Path
    azimuth: float
    elevation: float | None = None


def frame_table(frames: FrameSettings, root: Path) -> Table:
    """Read the table of a method's frames; empty where it has none.

    Raises:
        InputError: see `avatargen.exchange.item_table.read_table`.
    """
    return read_table(root / frames.folder / frames.table, "frames") if frames.table else {}


def folder_of(frames: FrameSettings, item: PromptItem, root: Path) -> Path | None:
    """Return where an item's pictures lie; None where the table has no row for it.

    Args:
        frames: settings of the method.
        item: prompt and seed.
        root: folder that relative paths start from.

    Raises:
        InputError: the table cannot be read.
    """
    name = place_of(frame_table(frames, root), item) if frames.table else item_name(item)
    return root / frames.folder / name if name else None


def list_frames(folder: Path, frames: FrameSettings) -> list[Frame]:
    """Return the pictures of a folder with their cameras, by name; none for an empty folder.

    Raises:
        ValueError: there are files but no pictures, or a name or a camera does not say where the camera is; one line.
        OSError: the folder cannot be read.
    """
    stated = folder / CAMERAS
    if stated.is_file():
        facts = stated.stat()
        return list(_by_cameras(stated, frames.up, frames.front, facts.st_mtime_ns, facts.st_size))
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))  # macOS adds ._045.png
    paths = [path for path in files if path.suffix.lower() in FORMATS and path.is_file()]
    if files and not paths:
        raise ValueError(f"got no pictures but '{files[0].name}'; expected {', '.join(FORMATS)}, or an empty folder")
    if frames.names == "azimuth":
        found = _by_names(paths)
    else:
        found = _by_turn(paths, is_closed=frames.names == "closed_turn")
    sign = 1 if frames.towards == "left" else -1
    return [frame._replace(azimuth=wrapped(sign * (frame.azimuth - frames.face))) for frame in found]


def nearest(frames: Sequence[Frame], azimuth: float, elevation: float) -> Frame:
    """Return the frame whose camera is the nearest: of those within WITHIN and WITHIN_ELEVATION, if any, by the sum.

    Args:
        frames: at least one.
        azimuth, elevation: asked for, degrees.

    Example:
        >>> frames = [Frame(Path(name), azimuth) for name, azimuth in (("a", -170.0), ("b", 90.0))]
        >>> nearest(frames, 180.0, 10.0).path.name
        'a'
    """

    def distance(frame: Frame) -> tuple[bool, float]:
        around, above = _apart(frame, azimuth, elevation)
        return around > WITHIN or above > WITHIN_ELEVATION, around + above

    return min(frames, key=distance)


def wrapped(degrees: float) -> float:
    """Return an angle in (-180, 180].

    Example:
        >>> wrapped(270.0), wrapped(-180.0)
        (-90.0, 180.0)
    """
    return 180.0 - (180.0 - degrees) % 360.0


def frame_problems(method: str, frames: FrameSettings, items: Iterable[PromptItem], root: Path) -> list[str]:
    """Return what is wrong with a method's frames, reading no more than the head of each first picture.

    Args:
        method: name of the method, for messages.
        frames: settings of the method.
        items: prompts and seeds.
        root: folder that relative paths start from.
    """
    place, where = root / frames.folder, f"methods.yaml: {method}: frames"
    if not place.is_dir():
        return [f"{where}: folder: got '{frames.folder}'; expected a folder, absolute or in {root}"]
    asked = list(items)
    try:
        folders = {item: folder_of(frames, item, root) for item in asked}
    except InputError as error:
        return [f"{where}: {problem}" for problem in error.problems]
    lines = rowless_problems(frames.table, frame_table(frames, root), asked) if frames.table else []
    if gone := [os.path.relpath(folder, place) for folder in folders.values() if folder and not folder.is_dir()]:
        lines.append(f"no folder {some_of(gone)}; expected one for each item; leave it empty for a failure")
    wrong: dict[str, list[str]] = {}
    for folder in dict.fromkeys(folder for folder in folders.values() if folder and folder.is_dir()):
        for problem in _folder_problems(folder, frames):
            wrong.setdefault(problem, []).append(os.path.relpath(folder, place))
    return [f"{where}: {line}" for line in [*lines, *(f"{some_of(names)}: {line}" for line, names in wrong.items())]]


def view_problems(
    method: str, frames: FrameSettings, items: Iterable[PromptItem], views: int, elevation: float, root: Path
) -> list[str]:
    """Return which views of the protocol no frame shows.

    Args:
        method, frames, items, root: as of `frame_problems`.
        views: number of views of the protocol, in even steps from the face.
        elevation: of the protocol, degrees.
    """
    wrong: dict[str, list[str]] = {}
    for item in items:
        try:
            folder = folder_of(frames, item, root)
            shown = list_frames(folder, frames) if folder else []
        except (InputError, ValueError, OSError):
            continue  # `frame_problems` tells
        for number in range(views if shown else 0):
            azimuth = wrapped(number * 360.0 / views)
            found = nearest(shown, azimuth, elevation)
            around, above = _apart(found, azimuth, elevation)
            if around > WITHIN or above > WITHIN_ELEVATION:
                at = f"{found.azimuth:g}" + ("" if found.elevation is None else f", elevation {found.elevation:g}")
                asked = f"azimuth {azimuth:g}, elevation {elevation:g}"
                expected = f"one within {WITHIN:g} degrees of azimuth and {WITHIN_ELEVATION:g} of elevation"
                line = f"no view at {asked}: the nearest is at azimuth {at}; expected {expected}"
                line += _TURN if frames.names == "azimuth" and found.elevation is None else ""
                wrong.setdefault(line, []).append(item_name(item))
                break
    return [f"methods.yaml: {method}: frames: {some_of(names)}: {line}" for line, names in wrong.items()]


def _apart(frame: Frame, azimuth: float, elevation: float) -> tuple[float, float]:
    """Return how far a frame's azimuth and elevation are from those asked for; 0 for an elevation not known."""
    above = 0.0 if frame.elevation is None else abs(frame.elevation - elevation)
    return abs(wrapped(frame.azimuth - azimuth)), above


def _folder_problems(folder: Path, frames: FrameSettings) -> list[str]:
    """Return what of a folder's names and cameras, and of its first picture, cannot be read."""
    try:
        shown = list_frames(folder, frames)
        if gone := [frame.path.name for frame in shown if not frame.path.is_file()]:
            return [f"{CAMERAS} refers to {some_of(gone)}; expected these files beside it"]
        if shown:
            check_picture(shown[0].path, frames.pictures)
    except (ValueError, OSError) as error:
        return [str(error)]
    return []


def check_picture(path: Path, pictures: int) -> None:
    """Check the header of a picture.

    Args:
        path: of the file.
        pictures: that stand side by side in it.

    Raises:
        ValueError: it is no picture, is animated or too large, or cannot be divided.
    """
    from PIL import Image  # runs without frames do without

    try:
        with Image.open(path) as file:
            width, moves = file.width, getattr(file, "is_animated", False)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name}: cannot be read as a picture: {error}") from error
    if moves:
        raise ValueError(f"{path.name}: got an animation; expected a still picture of each view")
    if width % pictures:
        raise ValueError(f"{path.name}: got {width} columns; expected a multiple of pictures: {pictures}")


def _by_names(paths: Sequence[Path]) -> list[Frame]:
    """Return frames by the degrees in their names; of one at 0 and one at 360 degrees, the first.

    Raises:
        ValueError: a name has none, two have the same, or all are negative, which a hyphen before a number looks like.
    """
    found: dict[tuple[float, float | None], Frame] = {}
    for path in paths:
        azimuth, elevation = _ALONE.search(path.stem) or _AZIMUTH.search(path.stem), _ELEVATION.search(path.stem)
        if azimuth is None:
            expected = f"expected an azimuth, such as 045.png or az045_el10.png, or {CAMERAS}"
            raise ValueError(f"got the name '{path.name}'; {expected}{_TURN}")
        frame = Frame(path, float(azimuth[1]), float(elevation[1]) if elevation else None)
        other = found.setdefault((frame.azimuth % 360, frame.elevation), frame)
        if other.azimuth == frame.azimuth and other is not frame:
            raise ValueError(f"{other.path.name} and {path.name} have the same camera; expected one view of each")
    turned = [frame for frame in found.values() if frame.azimuth]
    if len(turned) > 1 and all(frame.azimuth < 0 for frame in turned):
        raise ValueError(
            f"got negative azimuths alone, as in '{turned[0].path.name}'; expected others, too; if a hyphen only parts "
            "words, write az_045.png; if azimuths grow to the right, write no sign, and state towards: right"
        )
    return list(found.values())


def _by_turn(paths: Sequence[Path], is_closed: bool) -> list[Frame]:
    """Return frames that are numbered around one even turn; of a closed one, without the last.

    Raises:
        ValueError: a name ends in no number, or numbers do not run from 0 or 1 without a gap.
    """
    numbers = {}
    for path in paths:
        ending = _LAST.search(path.stem)
        if ending is None:
            raise ValueError(f"got the name '{path.name}'; expected a number at its end")
        numbers[path] = int(ending[1])
    first, count = min(numbers.values(), default=0), len(paths)
    if paths and (first > 1 or sorted(numbers.values()) != list(range(first, first + count))):
        listed = some_of([str(number) for number in sorted(numbers.values())])
        raise ValueError(f"got the numbers {listed}; expected 0 to {count - 1}, or 1 to {count}: one turn")
    steps = count - 1 if is_closed else count
    places = {path: number - first for path, number in numbers.items()}
    return [Frame(path, place * 360.0 / max(steps, 1)) for path, place in places.items() if place < max(steps, 1)]


@lru_cache(maxsize=2**12)
def _by_cameras(path: Path, up: Axis, front: Axis, _changed: int, _size: int) -> tuple[Frame, ...]:
    """Read ``transforms.json`` once until it changes.

    Raises:
        ValueError: it has no frames, or one has no path or no matrix.
    """
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))["frames"]
        pairs = [(str(one["file_path"]), np.array(one["transform_matrix"], np.float64)) for one in stated]
        if not pairs or not all(os.fsencode(name) for name, _ in pairs):
            raise ValueError("got no frames or no name")
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        expected = "expected frames with file_path and transform_matrix"
        raise ValueError(f"{CAMERAS}: {type(error).__name__}: {error}; {expected}") from error
    found = []
    for name, matrix in pairs:
        turns = matrix.shape in ((4, 4), (3, 4)) and np.isfinite(matrix).all() and np.linalg.norm(matrix[:3, 2]) > 1e-6
        if not turns:
            raise ValueError(
                f"{CAMERAS}: {name}: got a matrix of shape {matrix.shape}, not finite or without a direction; expected "
                "4 x 4 numbers from camera to world"
            )
        file = path.parent / (name if Path(name).suffix.lower() in FORMATS else f"{name}.png")
        found.append(Frame(file, *directions(matrix[:3, 2], up, front)))
    return tuple(found)


def directions(back: Float[np.ndarray, "3"], up: Axis, front: Axis) -> tuple[float, float]:
    """Return the azimuth and the elevation of a camera, degrees.

    Args:
        back: from what it looks at to the camera, in the coordinates of the file.
        up, front: axes of the file.

    Example:
        >>> azimuth, elevation = directions(np.array([1.0, 0.0, 0.0]), up="+z", front="-y")
        >>> round(azimuth), round(elevation)
        (90, 0)
    """
    above, ahead, length = axis_vector(up), axis_vector(front), float(np.linalg.norm(back))
    azimuth = math.degrees(math.atan2(back @ np.cross(above, ahead), back @ ahead))
    return wrapped(azimuth), math.degrees(math.asin(float(np.clip(back @ above / length, -1, 1))))
