"""``python -m yunhe.launcher``: the supervisor behind `yunhe up --detach`."""

from __future__ import annotations

import argparse
import sys

from yunhe.launcher.config import resolve
from yunhe.launcher.up import serve_detached


def main() -> int:
    """Read the flags and supervise until told to stop; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m yunhe.launcher", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--timeout", type=float, required=True, dest="timeout_s")
    parser.add_argument("--report-fd", type=int, required=True)
    flags = vars(parser.parse_args())
    report_fd = flags.pop("report_fd")
    return serve_detached(resolve(flags).settings, report_fd)


if __name__ == "__main__":
    sys.exit(main())
