"""Read what users write: text files and tables, as editors and spreadsheets save them.

Text is UTF-8; UTF-16 and UTF-32 are read where a byte order mark says so, as spreadsheets' "Unicode text" has one. Any
other encoding is an error that names it. Lines end in LF, CR LF or CR. The cells of a table are separated by tabs, in a
file ``.csv`` by commas, and may be quoted (RFC 4180), but hold no line breaks.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from avatargen.config.errors import InputError

LARGEST = 64 * 2**20
"""Bytes of the largest file that is read: some 200,000 prompts of the greatest length."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which its mark begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_GUESSED = 2**16
"""Bytes that an unknown encoding is guessed from."""
_SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons"}


class Row(NamedTuple):
    """A row of a table: the number of its line, from 1, and its cells without surrounding blanks."""

    line: int
    cells: list[str]


def read_text(path: Path, largest: int = LARGEST, where: str = "") -> str:
    """Return the text of a file, with LF at the ends of lines.

    Args:
        path: of the file.
        largest: number of bytes that it may have.
        where: the file, for messages; by default its path.

    Raises:
        InputError: no regular file, not readable, too large, or in an encoding that is not read, which is named.
    """
    where = where or str(path)
    data = read_bytes(path, largest, where)
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError([_encoding_problem(where, data, encoding, error)]) from error
    if encoding == "utf-8" and "\0" in text:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise InputError([f"{where}:{line}: holds NUL bytes, as UTF-16 without a byte order mark; save it as UTF-8"])
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path, largest: int = LARGEST, where: str = "") -> bytes:
    """Return the content of a regular file: a pipe or a device would block, or never end; arguments as above.

    Raises:
        InputError: no regular file, not readable, or larger than `largest` bytes.
    """
    where = where or str(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise InputError([f"{where}: got {kind_of(facts.st_mode)}; expected a file"])
            if facts.st_size > largest:
                raise InputError([f"{where}: got {facts.st_size:,} bytes; expected at most {largest:,}"])
            return file.read()
    except IsADirectoryError as error:
        raise InputError([f"{where}: got a folder; expected a file"]) from error
    except OSError as error:
        raise InputError([f"{where}: not readable: {error.strerror}"]) from error


def kind_of(mode: int) -> str:
    """Return what a file is that is no regular one, by its mode.

    Example:
        >>> kind_of(stat.S_IFIFO), kind_of(stat.S_IFCHR)
        ('a named pipe', 'a device')
    """
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file; False for a name that no file can have, and for links that loop."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that hold something and do not start with #, with their numbers.

    Raises:
        InputError: see `read_text`.
    """
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip() and not line.startswith("#")]


def read_table(path: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of a table that hold something, the header first, and what is wrong with others, one line each.

    Lines that start with # are skipped.

    Raises:
        InputError: see `read_text`; or other separators than the file's suffix says.
    """
    text = read_text(path)
    separator = "," if path.suffix == ".csv" else "\t"
    rows, problems, first = [], [], 1
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            problems.append(f"{path}:{first}: {_reason(error)}")
        else:
            if any("\n" in cell for cell in cells):
                problems.append(f"{path}:{first}: a cell holds a line break; expected each row on one line")
            elif any(cell.strip() for cell in cells):
                rows.append(Row(first, [cell.strip() for cell in cells]))
        first = lines.number + 1
    if rows and len(rows[0].cells) == 1:
        _check_separator(path, rows[0], separator)
    return rows, problems


class _Lines:
    """The lines of a text, comments empty, and the number of the one that was read last."""

    def __init__(self, text: str):
        self.number = 0
        self._stream = io.StringIO(text)

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.number += 1
            yield "\n" if line.startswith("#") else line


def _reason(error: csv.Error) -> str:
    """Return what is wrong with a row, by the message of the csv module."""
    if "unexpected end" in str(error):
        return "a quoted cell has no closing quote"
    if "expected after" in str(error):
        return 'text follows a closing quote; expected quotes within a quoted cell doubled: "a ""big"" nose"'
    return str(error)


def _check_separator(path: Path, header: Row, separator: str) -> None:
    """Raise if a header of one cell holds another separator.

    Raises:
        InputError: it does.
    """
    found = next((other for other in _SEPARATORS if other in header.cells[0]), None)
    if found:
        expected = f"expected {_SEPARATORS[separator]} in a {path.suffix} file"
        raise InputError([f"{path}:{header.line}: the header is separated by {_SEPARATORS[found]}; {expected}"])


def _encoding_problem(where: str, data: bytes, tried: str, error: UnicodeDecodeError) -> str:
    """Return where a text is not in the encoding that was tried, and what it may be."""
    if tried != "utf-8":
        return f"{where}: begins as {tried.removesuffix('-sig').upper()} but is not all so; save it as UTF-8"
    line = data[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
    guess = _guessed(data[max(0, error.start - _GUESSED // 2) :][:_GUESSED])
    looks = f", which looks like {guess}" if guess else ""
    return f"{where}:{line}: not UTF-8: byte 0x{data[error.start]:02x}{looks}; save it as UTF-8"


def _guessed(data: bytes) -> str | None:
    """Return the name of the encoding that a text is probably in; None if there is no telling."""
    from charset_normalizer import from_bytes  # slow to import, and for errors alone

    best = from_bytes(data).best()
    if best is None:
        return None
    western = data.decode("cp1252", errors="replace") == str(best)  # the usual one of those that agree on a text
    return "cp1252" if western else best.encoding.replace("_", "-")
