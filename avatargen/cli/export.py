"""``avatargen export``: write avatars as rigged GLB files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from avatargen.config.errors import InputError
from avatargen.config.experiment import RunConfig
from avatargen.config.plugins import HEADS, load_class
from avatargen.io.atomic import write_bytes

if TYPE_CHECKING:
    from avatargen.heads.base import HeadModel


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add ``avatargen export``."""
    parser = subparsers.add_parser(
        "export",
        allow_abbrev=False,
        help="avatars as rigged GLB files",
        description="Write avatars as rigged GLB files (glTF 2.0), expressions as morph targets.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders of avatar files")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for one folder (default: avatar.glb in the folder)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export avatars. Return the exit status: 0, or 2 if one cannot be exported; the others are.

    Raises:
        InputError: --out with several folders.
    """
    from avatargen.exchange.gltf_export import NAME

    if options.out and len(options.folders) > 1:
        raise InputError([f"--out: got {len(options.folders)} folders; expected one"])
    heads: dict[str, HeadModel] = {}
    status = 0
    for folder in options.folders:
        target = options.out or folder / NAME
        try:
            export(folder, target, heads)
            print(target)
        except InputError as error:
            print(error, file=sys.stderr)
            status = 2
    return status


def export(folder: Path, target: Path, heads: dict[str, HeadModel]) -> None:
    """Write one avatar's GLB.

    Args:
        folder: of the avatar.
        target: file to write.
        heads: head models that are loaded already, by name; grows.

    Raises:
        InputError: no avatar there, or one that cannot be exported.
    """
    from avatargen.exchange.gltf_export import to_glb
    from avatargen.io.avatar_file import AvatarFileError, load_avatar

    try:
        avatar = load_avatar(folder)
        name = RunConfig.model_validate(avatar.config).head
        if name not in heads:
            heads[name] = load_class("head", name, HEADS).load()
        data = to_glb(avatar, heads[name])
    except (AvatarFileError, ValueError) as error:
        raise InputError(getattr(error, "problems", [str(error)])) from error
    write_bytes(target, data)
