"""``python -m spatial_brain``: the command ``spatial-brain``."""

import sys

from spatial_brain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
