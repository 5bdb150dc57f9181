"""``python -m yunhe.control``."""

from __future__ import annotations

import sys

from yunhe.control.main import main

if __name__ == "__main__":
    sys.exit(main())
