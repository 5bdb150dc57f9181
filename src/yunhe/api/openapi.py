"""Print the OpenAPI document: ``python -m yunhe.api.openapi``. Needs no database."""

from __future__ import annotations

import json
import sys

from yunhe.api.app import routes


def main() -> None:
    """Write the document to stdout."""
    json.dump(routes().openapi(), sys.stdout, indent=1, sort_keys=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
