"""Compare two runs: print the differences and write a page; for `avatargen compare`."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatargen.config.errors import InputError
from eval.compare_page import write_page
from eval.compare_runs import compare_runs
from eval.compare_text import as_text

parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
parser.add_argument("a", help="folder of results, or FOLDER:METHOD")
parser.add_argument("b", help="likewise")
parser.add_argument("--common", action="store_true", help="on the prompts and seeds that both have")
parser.add_argument("--tracks", help="only these, separated by commas")
parser.add_argument("--page", type=Path, required=True, help="page to write")
options = parser.parse_args()

try:
    found = compare_runs(options.a, options.b, options.common, options.tracks.split(",") if options.tracks else None)
    print(as_text(found))
    write_page(options.page, found)
    print(f"\nPage: {options.page}")
except InputError as error:
    sys.exit(print(error, file=sys.stderr) or 2)
except OSError as error:
    sys.exit(f"{error.filename}: {error.strerror}" if error.filename else str(error))
