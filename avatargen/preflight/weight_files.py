"""Look into files of weights, without loading them: headers, sizes, shards, and what is no file of weights at all."""

from __future__ import annotations

import json
import re
import stat
import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from avatargen.config.errors import InputError, some_of
from avatargen.config.text_files import kind_of, read_text
from avatargen.io.checkpoint_files import choose_variant, variants

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_SHARD = re.compile(r"-(\d+)-of-(\d+)\b")
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(\w+))?(?:-\d+-of-\d+)?(?:\.(\w+))?")
_LFS = b"version https://git-lfs"
_PICKLE = b"\x80"
LARGEST_INDEX = 16 * 2**20
"""Bytes of the largest list of shards that is read."""


def file_problem(file: Path) -> str | None:
    """Return what is wrong with a file of weights; None if its header and its size are right.

    Args:
        file: in a format of `SUFFIXES`.

    Example:
        >>> file_problem(Path("no/such.safetensors"))
        'not readable: No such file or directory'
    """
    try:
        facts = file.stat()
        if not stat.S_ISREG(facts.st_mode):
            return f"got {kind_of(facts.st_mode)}; expected a file"
        with file.open("rb") as stream:
            head = stream.read(64)
    except OSError as error:
        return f"not readable: {error.strerror}"
    if not head:
        return "an empty file"
    if head.startswith(_LFS):
        return "a git-lfs pointer in place of the weights; `git lfs pull` fetches them"
    if head.lstrip()[:1] == b"<" and _is_text(head):
        return f"a page of text, such as of a failed download, in place of the weights: '{_shown(head)}'"
    return _safetensors_problem(file) if file.suffix == ".safetensors" else _torch_problem(file, head)


def folder_problems(folder: Path, asked: str | None = None) -> list[str]:
    """Return what is wrong with the weights that are loaded from a folder, one line for each file.

    Args:
        folder: of one network, in the layout of diffusers, transformers or open_clip.
        asked: variant of the files, such as ``fp16``; see `choose_variant`.
    """
    chosen = choose_variant(folder, asked)
    files = [file for file in sorted(folder.glob("*")) if file.suffix in SUFFIXES]
    if variants(folder):
        named = [(file, _WEIGHTS.fullmatch(file.stem)) for file in files]
        files = [file for file, match in named if match and (match[1] or match[2]) == chosen]
    files = [file for file in files if file.suffix == ".safetensors"] or files
    shards = [file for file in files if _SHARD.search(file.name)]
    lines = _shard_problems(folder, shards, chosen) if shards else []
    return lines + [f"{file.name}: {problem}" for file in files if (problem := file_problem(file))]


def _shard_problems(folder: Path, shards: list[Path], variant: str | None) -> list[str]:
    """Return what is wrong with the list of a network's shards, and which shards are missing."""
    ending = f"{shards[0].suffix}.index{f'.{variant}' if variant else ''}.json"
    index = next((file for file in sorted(folder.glob(f"*{ending}"))), None)
    if index is None:
        return [f"{shards[0].name}: a part of several; expected the list of them, *{ending}"]
    try:
        named = sorted(_named_shards(index))
    except InputError as error:
        return [problem.removeprefix(f"{folder}/") for problem in error.problems]
    except ValueError as error:
        return [f"{index.name}: not a list of parts: {error}"]
    if gone := [name for name in named if not (folder / name).exists()]:
        return [f"{index.name}: {len(gone)} of {len(named)} parts are missing: {some_of(gone)}"]
    return []


def _named_shards(index: Path) -> set[str]:
    """Return the files that a list of shards names.

    Raises:
        InputError, ValueError: it cannot be read, or is no such list.
    """
    found = json.loads(read_text(index, LARGEST_INDEX))
    files = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise ValueError("expected a weight_map of file names")
    return {Path(name).name for name in files.values()}


def _safetensors_problem(file: Path) -> str | None:
    try:
        with safe_open(file, framework="numpy") as tensors:
            return None if tensors.keys() else "holds no tensors"
    except (SafetensorError, OSError) as error:
        return _size_problem(file) or f"not a safetensors file, or a damaged one: {str(error).splitlines()[0][:100]}"


def _size_problem(file: Path) -> str | None:
    """Return whether a file has another size than its header says; None if it does not say."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length < size:
            cut = 0 < length < 100_000_000 and stream.read(1) == b"{"
            return f"cut off: {size:,} bytes, of which the header alone takes {length + 8:,}" if cut else None
        try:
            header = json.loads(stream.read(length))
            ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
            expected = 8 + length + max(ends)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return None
    if size == expected:
        return None
    return f"{'cut off' if size < expected else 'too long'}: {size:,} bytes; its header says {expected:,}"


def _torch_problem(file: Path, head: bytes) -> str | None:
    """Return what is wrong with a file that torch writes: an archive, or a pickle of former versions."""
    if head.startswith(b"PK"):
        return None if zipfile.is_zipfile(file) else "cut off: the archive has no end"
    if head.startswith(_PICKLE) or head[:10].isalnum():  # a tar archive begins with a name
        return None
    return f"no file of torch's; it begins with '{_shown(head)}'"


def _is_text(head: bytes) -> bool:
    """Return whether the beginning of a file is text: the length that a safetensors file begins with has NUL bytes."""
    return all(32 <= byte < 127 or byte in b"\t\n\r" for byte in head[:16])


def _shown(head: bytes) -> str:
    """Return the beginning of a file for a message."""
    text = head[:30].decode("ascii", errors="replace")
    return "".join(letter if letter.isprintable() else "." for letter in text)
