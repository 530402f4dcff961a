"""Write the 3D heads that the report shows: a small file for each avatar, and one for what heads of a model share.

A page that is opened from a disk may not read files, but it may load scripts. So each file is a script that hands a
compressed GLB (:mod:`avatargen.exchange.gltf_compact`) to the page, as base64. Its first line is a comment with facts,
by which files that are current are kept.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avatargen.config.plugins import HEADS, load_class
from avatargen.exchange.gltf_compact import Shared, depends_on_shape, shared_part, to_compact
from avatargen.heads.base import HeadModel
from avatargen.io.atomic import write_json, write_text
from avatargen.io.avatar_file import Avatar, AvatarFileError, load_avatar
from avatargen.io.content_hash import digest
from avatargen.io.manifest import Row
from eval.head_index import CALL, FOLDER, HeadFile


class SharedParts:
    """Gives each avatar what it shares with others: made once for a head model, unless it depends on the shape."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[HeadModel, Shared | None]] = {}

    def of(self, avatar: Avatar, name: str) -> tuple[HeadModel | None, Shared]:
        """Return the avatar's head model, None for a mesh of another system, and its shared part.

        Args:
            avatar: whose parts are asked for.
            name: of its head model in :mod:`avatargen.config.plugins`.
        """
        if avatar.topology is not None:
            return None, shared_part(avatar.topology)
        if name not in self._found:
            head = load_class("head", name, HEADS).load()
            self._found[name] = head, None if depends_on_shape(head) else shared_part(head.topology, head)
        head, shared = self._found[name]
        return head, shared or shared_part(head.topology, head, avatar)


def write_heads(
    index: Path, rows: Sequence[Row], heads: Mapping[str, str], root: Path, code: str
) -> dict[str, HeadFile]:
    """Write the files of avatars, and an index of them; remove files of others.

    Args:
        index: file to write; the files lie beside it in FOLDER.
        rows: the avatars to show. Those that failed, and those whose files are damaged, have no head.
        heads: name of each method's head model in :mod:`avatargen.config.plugins`.
        root: what the rows' folders are relative to.
        code: hash of the code that shapes the files.

    Returns:
        The files by the avatars' folders.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    folder, parts, found, sources = index.parent / FOLDER, SharedParts(), {}, {}
    for row in rows:
        fingerprint = digest(code, row.fingerprint, row.status, row.folder)
        made = _current(folder, file_name(row), fingerprint)
        made = made or _made(folder, row, heads[row.method], parts, root, fingerprint)
        if made:
            found[row.folder] = made
            sources |= dict.fromkeys((made.file, made.shared))
    for path in folder.glob("*.js"):
        if path.name not in sources:
            path.unlink(missing_ok=True)
    write_json(index, {place: made._asdict() for place, made in found.items()})
    return found


def file_name(row: Row) -> str:
    """Return the name of an avatar's file.

    Example:
        >>> file_name(Row(id="a-man-1", list="few", item="1", prompt="a man", method="full", folder="x"))
        'few-full-a-man-1.js'
    """
    return f"{row.list}-{row.method}-{row.id}.js"


def _current(folder: Path, name: str, fingerprint: str) -> HeadFile | None:
    """Return a file that needs not be written again."""
    facts = _facts(folder / name)
    if facts.get("fingerprint") != fingerprint or not (folder / facts["shared"]).is_file():
        return None
    return HeadFile(name, facts["shared"], facts["size"])


def _made(folder: Path, row: Row, name: str, parts: SharedParts, root: Path, fingerprint: str) -> HeadFile | None:
    if row.status != "ok":
        return None
    try:
        avatar = load_avatar(root / row.folder)
    except AvatarFileError:
        return None
    head, shared = parts.of(avatar, name)
    compact, file = to_compact(avatar, head, shared), f"shared-{shared.id}.js"
    if not (folder / file).is_file():
        write_text(folder / file, _script(file, shared.data, {}))
    size = len(compact.own) + len(compact.shared)
    facts = {"fingerprint": fingerprint, "shared": file, "size": size}
    write_text(folder / file_name(row), _script(file_name(row), compact.own, facts))
    return HeadFile(file_name(row), file, size)


def _script(name: str, data: bytes, facts: Mapping[str, Any]) -> str:
    content = base64.b64encode(data).decode("ascii")
    return f'// {json.dumps(facts)}\n{CALL}({json.dumps(name)}, "{content}");\n'


def _facts(path: Path) -> dict[str, Any]:
    """Return the facts in the first line of a file; none where it is missing or damaged."""
    try:
        with path.open(encoding="ascii") as file:
            value = json.loads(file.readline().removeprefix("//"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
