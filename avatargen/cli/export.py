"""``avatargen export``: write avatars as rigged GLB files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avatargen.config.errors import InputError
from avatargen.config.experiment import RunConfig
from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.gltf_export import NAME, to_glb
from avatargen.heads.base import HeadModel
from avatargen.io.atomic import write_bytes
from avatargen.io.avatar_file import AvatarFileError, load_avatar


def export(folder: Path, target: Path, heads: dict[str, HeadModel]) -> None:
    """Write one avatar's GLB; `heads` keeps what is loaded.

    Raises:
        InputError: no avatar there, or one that cannot be exported.
    """
    try:
        avatar = load_avatar(folder)
        name = RunConfig.model_validate(avatar.config).head
        if name not in heads:
            heads[name] = load_class("head", name, HEADS).load()
        data = to_glb(avatar, heads[name])
    except (AvatarFileError, ValueError) as error:
        raise InputError(getattr(error, "problems", [str(error)])) from error
    write_bytes(target, data)


def main(arguments: list[str] | None = None) -> int:
    """Export avatars. Returns the exit status: 0, or 2 if one cannot be exported; the others are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of avatar files")
    parser.add_argument("--out", type=Path, help=f"file to write, for one folder (default: {NAME} in the folder)")
    options = parser.parse_args(arguments)
    if options.out and len(options.folders) > 1:
        parser.error(f"--out: got {len(options.folders)} folders; expected one")
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
