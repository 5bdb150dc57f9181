"""How the engine is installed: an environment with pinned libraries, and the server packed into one program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from yunhe.catalogue.ports import InstallPlan, InstallStep
from yunhe.drivers.engines.pytorch.packing import PROGRAM, VERSIONS

COMMAND: Final = PROGRAM
#: The libraries for CPUs alone take 1.3 GB; an index that has them only with those for cards brings about 6 GB.
DISK_BYTES: Final = 7_000_000_000


def plan(directory: Path) -> InstallPlan:
    """Install below ``directory``. Seconds are those measured on two busy cores, the archives near."""
    python = directory / "env" / "bin" / "python"
    server = directory / "bin" / PROGRAM
    install = (str(python), "-m", "pip", "install", "--only-binary", ":all:", "--progress-bar", "off")
    torch = f"torch=={VERSIONS['torch']}"
    others = tuple(f"{name}=={version}" for name, version in VERSIONS.items() if name != "torch")
    packing = (sys.executable, "-P", "-m", "yunhe.drivers.engines.pytorch.packing", str(server))
    return InstallPlan(
        engine="pytorch",
        version=f"{VERSIONS['torch']}+transformers-{VERSIONS['transformers']}",
        summary=f"torch {VERSIONS['torch']} and transformers {VERSIONS['transformers']} in an own environment, "
        "bfloat16 on CPUs; 1.3 GB, more where torch comes with libraries for cards; BSD-3-Clause, Apache-2.0",
        steps=(
            InstallStep("Make an environment", (sys.executable, "-m", "venv", str(python.parents[1])), expected_s=4),
            InstallStep("Install torch", (*install, torch), expected_s=60),
            InstallStep("Install transformers", (*install, torch, *others), expected_s=60),
            InstallStep("Put the server in place", packing, expected_s=1),
        ),
        command=(str(server),),
        smoke=(str(server), "--self-test"),
        disk_bytes=DISK_BYTES,
    )
