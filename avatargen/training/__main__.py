"""``python -m avatargen.training``: the same as ``avatargen train``."""

import sys

from avatargen.training.command import main

if __name__ == "__main__":
    sys.exit(main())
