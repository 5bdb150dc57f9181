"""``python -m yunhe.gateway``: one worker."""

import sys

from yunhe.gateway.main import main

if __name__ == "__main__":
    sys.exit(main())
