"""Note the content of the files that a job read, so that a later run knows whether its output is of them.

Time stamps cannot tell: a clock may be set back, and copies of a folder may be newer than what they were made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from avatargen.io.atomic import read_json, write_json
from avatargen.io.content_hash import digest, file_hash

NOTES = Path(".snakemake/avatargen/inputs")
"""Folder of the notes, in the run's working directory."""


@contextmanager
def noting_inputs(output: str, inputs: Iterable[str]) -> Iterator[None]:
    """Run a block that makes `output` of `inputs`; note what they held when it ends without an error.

    Args:
        output: the job's first output, as the workflow names it.
        inputs: all files that it reads.

    Raises:
        OSError: an input cannot be read, or the note cannot be written.
    """
    note = _note(output)
    note.unlink(missing_ok=True)
    content = _content(inputs)
    yield
    write_json(note, {"output": output, "content": content})


def inputs_changed(output: str, inputs: Iterable[str]) -> bool:
    """Return whether an output exists that was made of other content, or is not known to be of this content.

    Args:
        output, inputs: as in `noting_inputs`.
    """
    if not Path(output).is_file():
        return False
    try:
        return read_json(_note(output)).get("content") != _content(inputs)
    except OSError:
        return True


def _content(inputs: Iterable[str]) -> str:
    return digest([[str(path), file_hash(Path(path))] for path in inputs])


def _note(output: str) -> Path:
    return NOTES / f"{digest(output)}.json"
