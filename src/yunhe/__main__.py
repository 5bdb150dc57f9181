"""``python -m yunhe`` is ``yunhe``."""

import sys

from yunhe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
