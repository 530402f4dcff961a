"""``python -m avatargen.headworld``: write the closed world's prompt lists, and the pools beside a prompt list."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avatargen.config.errors import InputError
from avatargen.headworld.lists import write_lists
from avatargen.headworld.pools import write_pools


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: those after the command; of the process where None.

    Returns:
        Exit status: 0, or 2 for wrong input.
    """
    parser = argparse.ArgumentParser(prog="python -m avatargen.headworld", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    pools = actions.add_parser("pools", help="write both pools beside each prompt list")
    pools.add_argument("lists", nargs="+", type=Path, help="prompt lists, such as prompts/embedded.tsv")
    lists = actions.add_parser("lists", help="write the project's own lists and their pools")
    lists.add_argument("folder", type=Path, help="an existing folder, such as prompts")
    options = parser.parse_args(arguments)
    try:
        if options.action == "pools":
            for path in options.lists:
                write_pools(path)
        elif options.folder.is_dir():
            write_lists(options.folder)
        else:
            raise InputError([f"lists: got {options.folder}; expected an existing folder"])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
