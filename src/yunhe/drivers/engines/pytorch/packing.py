"""Packs the server into one program: ``python -m yunhe.drivers.engines.pytorch.packing TARGET``.

The program is a shell script of two lines, which starts the environment's own Python beside it, with an archive of
modules behind. So the digest of that one file names the server's code and the versions it was made for, is the same
on every host, and no path is in it.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Final

#: Those that were tried together.
VERSIONS: Final = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "accelerate": "1.15.0",
    "gguf": "0.19.0",
    "numpy": "2.4.6",
}
PROGRAM: Final = "yunhe-torch-server"
_SOURCE: Final = Path(__file__).with_name("served")
_SCRIPT: Final = b'#!/bin/sh\nexec "$(dirname "$0")/../env/bin/python" -I "$0" "$@"\n'
_MAIN: Final = "import sys\n\nfrom served.main import main\n\nsys.exit(main())\n"
#: The earliest time that an archive can hold: when it was made must not alter the digest.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def packed() -> bytes:
    """The whole program."""
    held = io.BytesIO()
    files = {f"served/{path.name}": path.read_text(encoding="utf-8") for path in sorted(_SOURCE.glob("*.py"))}
    pins = "".join(f"{name}=={version}\n" for name, version in VERSIONS.items())
    with zipfile.ZipFile(held, "w") as archive:
        for name, text in {"__main__.py": _MAIN, "requirements.txt": pins, **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), text)
    return _SCRIPT + held.getvalue()


def main() -> int:
    """Write the program, executable, where the argument says."""
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(packed())
    target.chmod(0o755)
    return 0


if __name__ == "__main__":
    sys.exit(main())
