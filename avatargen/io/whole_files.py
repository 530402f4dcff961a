"""Tell whole files from those that an interrupted copy or a full disk left."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from avatargen.io.atomic import read_json

_PNG_END = b"IEND\xaeB`\x82"


def is_whole(path: Path) -> bool:
    """Return whether a file is as long as its format says; files of other formats only must not be empty.

    It reads ends and headers, so it finds what an interrupted copy or a full disk leaves, not every damage.
    """
    try:
        size = path.stat().st_size
        if path.suffix == ".json":
            return bool(read_json(path))
        if path.suffix == ".npz":
            return zipfile.is_zipfile(path)
        if path.suffix == ".safetensors":
            return size == _safetensors_size(path)
        if path.suffix == ".png":
            with path.open("rb") as file:
                file.seek(max(0, size - len(_PNG_END)))
                return file.read() == _PNG_END
    except (OSError, ValueError):
        return False
    return size > 0


def _safetensors_size(path: Path) -> int:
    """Return the size that the header of a file of tensors states: 8 bytes, the header, and the data it points to.

    Raises:
        ValueError: there is no such header.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, 2**24)))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return 8 + length + max(ends, default=0)
