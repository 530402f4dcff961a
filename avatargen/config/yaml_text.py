"""Read YAML as it was typed: what could be a name stays text, and no input takes long or runs deep.

A word is text unless it is a number or a truth value as YAML 1.2 writes it: ``2024_01``, ``010``, ``1:30``, ``no``,
``on`` and ``2024-01-01`` are text here, and keys always are. So names of lists, methods and files need no quotes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from avatargen.config.errors import InputError
from avatargen.config.places import shown
from avatargen.config.text_files import read_text

LARGEST = 2**20
"""Bytes of the largest file that is read."""
DEEPEST = 40
"""How deep lists and mappings may be nested."""
MOST = 100_000
"""Number of values that a document may hold, each alias counted as what it stands for."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        InputError: not readable (see `read_text`), not YAML, a duplicate key, too deep or too many values, or not a
            mapping.
    """
    values = _loaded(read_text(path, LARGEST, shown(path)), shown(path))
    if not isinstance(values, dict):
        raise InputError([f"{shown(path)}: got {type(values).__name__}; expected a mapping of names"])
    return values


def read_value(text: str, where: str) -> Any:
    """Return the value that a text on the command line states, in YAML.

    Args:
        text: the value.
        where: the place, for messages.

    Raises:
        InputError: as of `read_yaml`.

    Example:
        >>> read_value("[no, 010, 2, 0.5]", "--config")
        ['no', '010', 2, 0.5]
    """
    return _loaded(text, where)


def _loaded(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark, context = getattr(error, "problem_mark", None), getattr(error, "context", None)
        place = f"{where}:{mark.line + 1}" if mark and "\n" in text else where
        told = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        reason = " ".join(f"{told} {context}".split()) if context else told
        raise InputError([f"{place}: not valid YAML: {reason}"]) from error


class _Loader(yaml.SafeLoader):
    """Builds values as the module says; a merged stanza (``<<``) may be overridden, other keys stand once."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _fault(f"nested more than {DEEPEST} deep", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_document(self, node: yaml.Node) -> Any:
        count, depth = _extent(node, {})
        if count > MOST or depth > DEEPEST:
            limits = f"more than {MOST:,} values, or is nested more than {DEEPEST} deep"
            raise _fault(f"holds {limits}, aliases included", node.start_mark)
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _fault("got a list or a mapping as a key; expected a name", key.start_mark)
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"
        names = [key.value for key, _ in node.value]  # before PyYAML adds those of merged stanzas
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise _fault(f"duplicate key {twice[0]!r}", node.start_mark)
        return super().construct_mapping(node, deep)


def _extent(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a node holds and how deep they are nested, each alias counted as what it stands for.

    Args:
        node: of a document.
        known: the same of nodes that were met before, by identity. Aliases follow what they stand for, so that this
            function nests no deeper than the text.

    Raises:
        yaml.YAMLError: a node holds itself.
    """
    if id(node) not in known:
        known[id(node)] = (0, 0)
        inside = node.value if isinstance(node, yaml.SequenceNode) else []
        inside = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else inside
        found = [_extent(part, known) for part in inside]
        known[id(node)] = 1 + sum(count for count, _ in found), 1 + max((depth for _, depth in found), default=0)
    elif not known[id(node)][0]:
        raise _fault("an anchor holds an alias of itself", node.start_mark)
    return known[id(node)]


def _fault(reason: str, mark: yaml.Mark | None) -> yaml.YAMLError:
    """Return the error of a place in a text."""
    return yaml.constructor.ConstructorError(None, None, reason, mark)


_FLOAT = r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", "-?(?:0|[1-9][0-9]{0,17})", [*"-0123456789"]),  # longer ones are text: Python refuses to read some
    ("float", _FLOAT, [*"-+.0123456789"]),
    ("merge", "<<", ["<"]),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)
