"""Unpacks llama.cpp's source for a build: ``python -m yunhe.drivers.engines.llamacpp.source ARCHIVE DIRECTORY``.

Puts our interleaved kernels (``repack_x86.h``) in, which the source has no counterpart of for Q4_1 and Q8_0 weights on
x86. Every place where a line goes in must be there exactly once; a source that looks different is built as it is.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Final

#: The source package: name, version and sha256 of the archive that the figures in docs/engines.md were measured with.
PACKAGE: Final = "llama-cpp-python"
VERSION: Final = "0.3.36"
SHA256: Final = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
KERNELS: Final = Path(__file__).with_name("repack_x86.h")
_INSIDE: Final = "vendor/llama.cpp/"
_REPACK: Final = "ggml/src/ggml-cpu/repack.cpp"
_CLASS: Final = "class tensor_traits_base : public ggml::cpu::tensor_traits {\n"
_CHOICE: Final = (
    "static const ggml::cpu::tensor_traits * ggml_repack_get_optimal_repack_type(const struct ggml_tensor * cur) {\n"
)
_OURS: Final = """#if defined(YUNHE_REPACK)
    static const ggml::cpu::repack::tensor_traits<block_q4_1, 8, 16, GGML_TYPE_Q8_0> q4_1_8x16_q8_0;
    static const ggml::cpu::repack::tensor_traits<block_q8_0, 8, 16, GGML_TYPE_Q8_0> q8_0_8x16_q8_0;
    if (cur->ne[1] % 16 == 0 && cur->type == GGML_TYPE_Q4_1) {
        return &q4_1_8x16_q8_0;
    }
    if (cur->ne[1] % 16 == 0 && cur->type == GGML_TYPE_Q8_0) {
        return &q8_0_8x16_q8_0;
    }
#endif
"""


def main(arguments: list[str]) -> int:
    """Exit status 1 with the reason when the archive is not the expected one."""
    archive, directory = Path(arguments[0]), Path(arguments[1])
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        print(f"{archive.name} has the SHA-256 {found}, expected {SHA256}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    unpack(archive, directory)
    repack = directory / _REPACK
    patched = with_kernels(repack.read_text(encoding="utf-8"))
    if patched is None:
        print("this source looks different: built without our kernels for Q4_1 and Q8_0", file=sys.stderr)
        return 0
    shutil.copy(KERNELS, repack.with_name("yunhe_repack.h"))
    repack.write_text(patched, encoding="utf-8")
    print("our kernels for Q4_1 and Q8_0 weights are in")
    return 0


def unpack(archive: Path, directory: Path) -> None:
    """Only the engine's own source, without the wheel around it."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, inside = member.name.partition(_INSIDE)
            if inside and (member.isfile() or member.isdir()):
                member.name = inside
                tar.extract(member, directory, filter="data")


def with_kernels(text: str) -> str | None:
    """The source file with our kernels in it; None when a place for them is missing or there are several."""
    if text.count(_CLASS) != 1 or text.count(_CHOICE) != 1:
        return None
    return text.replace(_CLASS, f'#include "yunhe_repack.h"\n\n{_CLASS}').replace(_CHOICE, _CHOICE + _OURS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
