"""``python -m avatargen``: the ``avatargen`` command."""

import sys

from avatargen.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
