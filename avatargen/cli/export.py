"""``avatargen export``: write avatars as rigged GLB files, or as plain meshes."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from avatargen.config.errors import InputError
from avatargen.config.experiment import RunConfig
from avatargen.config.plugins import HEADS, load_class
from avatargen.io.atomic import DiskFullError, write_bytes

if TYPE_CHECKING:
    from avatargen.heads.base import HeadModel
    from avatargen.io.avatar_file import Avatar

STEM = "avatar"
"""Default name of the files, without suffix."""
FORMATS = ("glb", "obj", "ply")
EPILOG = """examples:
  avatargen export results/embedded/embedded/full/avatars/*
  avatargen export FOLDER --out head.glb --material lit --visemes      for Blender, Unity or a talking head
  avatargen export FOLDER --compress meshopt --texture webp            small, for a web page
  avatargen export FOLDER --out head.obj                               the surface alone

OBJ and PLY hold the posed surface with its colours: no joints, expressions, clips or names. For FBX and USDZ, import a
GLB of --material lit into Blender and export it from there (docs/cli.md says what survives)."""
BLENDER = ("fbx", "usd", "usda", "usdc", "usdz")
"""Suffixes that Blender writes."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``avatargen export``."""
    parser = subparsers.add_parser(
        "export",
        allow_abbrev=False,
        help="avatars as rigged GLB files",
        description="Write avatars as rigged GLB files (glTF 2.0), expressions as morph targets, or as plain meshes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folders", nargs="+", type=Path, metavar="FOLDER", help="folders of avatar files")
    add("--out", type=Path, metavar="FILE", help="for one folder (default: avatar.glb in the folder)")
    add("--format", choices=FORMATS, help="of the files (default: by the suffix of --out, else glb)")
    add("--material", choices=("unlit", "lit", "both"), help="as our renders, lit by the viewer, or variants of both")
    add("--texture", choices=("png", "jpeg", "webp"), help="(default: png, with --compress jpeg)")
    add("--visemes", action="store_true", default=None, help="add Oculus' 15 visemes as morph targets")
    add("--no-clip", dest="clip", action="store_false", default=None, help="leave out the clip that shows life")
    add("--rig", choices=("own", "readyplayerme", "vrm"), help="names of the joints (default: own)")
    add("--compress", choices=("meshopt",), help="small files, for viewers that know EXT_meshopt_compression")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export avatars. Return the exit status: 0, or 2 if one cannot be exported; the others are.

    Raises:
        InputError: options do not fit together; all problems.
        DiskFullError: no space left.
    """
    kind = format_of(options)
    heads: dict[str, HeadModel] = {}
    status = 0
    for folder in options.folders:
        target = options.out or folder / f"{STEM}.{kind}"
        try:
            for path, data in files(folder, target, options, heads).items():
                write_bytes(path, data)
                print(path)
        except DiskFullError:
            raise
        except OSError as error:
            problems = [f"{error.filename or target}: cannot be written: {error.strerror or error}"]
        except InputError as error:
            problems = error.problems
        else:
            continue
        print(*problems, sep="\n", file=sys.stderr)
        status = 2
    return status


def format_of(options: argparse.Namespace) -> str:
    """Return the format to write.

    Raises:
        InputError: options do not fit together; all problems.
    """
    problems, suffix = [], options.out.suffix.lower().removeprefix(".") if options.out else ""
    if options.out and len(options.folders) > 1:
        problems.append(f"--out: got {len(options.folders)} folders; expected one")
    if options.out and suffix not in FORMATS:
        offered = ", ".join(f".{name}" for name in FORMATS)
        way = "; Blender makes it of a GLB of --material lit" if suffix in BLENDER else ""
        problems.append(f"--out: got '{options.out.name}'; expected a name that ends in {offered}{way}")
    elif options.out and options.format not in (None, suffix):
        problems.append(f"--format: got {options.format} with --out {options.out.name}; expected {suffix}")
    kind = options.format or suffix or FORMATS[0]
    names = ("material", "texture", "visemes", "clip", "rig", "compress")
    given = [f"--{'no-clip' if name == 'clip' else name}" for name in names if getattr(options, name) is not None]
    if kind in FORMATS[1:] and given:
        problems.append(f"{', '.join(given)}: got format {kind}; expected glb, which alone can hold it")
    if problems:
        raise InputError(problems)
    return kind


def files(folder: Path, target: Path, options: argparse.Namespace, heads: dict[str, HeadModel]) -> dict[Path, bytes]:
    """Return the files of one avatar.

    Args:
        folder: of the avatar.
        target: the main file; its suffix decides the format.
        options: of the command line.
        heads: head models that are loaded already, by name; grows.

    Raises:
        InputError: no avatar there, or one that cannot be exported.
    """
    from avatargen.exchange.plain_mesh import to_plain
    from avatargen.io.avatar_file import AvatarFileError, load_avatar

    try:
        avatar = load_avatar(folder)
        head = None
        if avatar.topology is None:
            name = RunConfig.model_validate(avatar.config).head
            if name not in heads:
                heads[name] = load_class("head", name, HEADS).load()
            head = heads[name]
        if target.suffix.lower() != ".glb":
            made = to_plain(avatar, head, target.suffix.lower(), target.stem)
            return {target.with_name(name): data for name, data in made.items()}
        return {target: glb(avatar, head, options)}
    except (AvatarFileError, ValueError) as error:
        problems = getattr(error, "problems", [str(error)])
        raise InputError([problem + hint(folder) for problem in problems]) from error


def glb(avatar: Avatar, head: HeadModel | None, options: argparse.Namespace) -> bytes:
    """Return an avatar's GLB.

    Args:
        avatar: to export.
        head: its head model; None for a mesh of another system.
        options: of the command line; those that are not given are None.

    Raises:
        ValueError: it cannot be exported.
    """
    from avatargen.exchange.gltf_compact import joined, shared_part, to_compact
    from avatargen.exchange.gltf_export import check_head, to_glb
    from avatargen.exchange.gltf_options import GltfOptions

    check_head(avatar, head)
    assert head is not None  # check_head tells
    values = {field.name: getattr(options, field.name) for field in fields(GltfOptions)}
    chosen = GltfOptions(**{name: value for name, value in values.items() if value is not None})
    if options.compress is None:
        return to_glb(avatar, head, chosen)
    return joined(to_compact(avatar, head, shared_part(head.topology, head, avatar, chosen), chosen))


def hint(folder: Path) -> str:
    """Return a question for the end of a message if a folder holds folders of avatars instead of an avatar.

    Example:
        >>> hint(Path("nowhere"))
        ''
    """
    if not (folder / "avatar.json").is_file():
        for below in ("*", "avatars/*"):
            if any(folder.glob(f"{below}/avatar.json")):
                return f"; did you mean {folder / below}?"
    return ""
