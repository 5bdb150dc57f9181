"""The child process that reads the header of one GGUF file, bounded in memory and time.

A weights file comes from anywhere and its reader trusts its numbers: a malicious or broken one may at worst end this
child. ``python -m yunhe.control.gguf_header PATH`` prints the header as JSON, or ``{"error": reason}``.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from gguf import GGUFReader

CPU_LIMIT_S: Final = 120
#: Beyond the mapped file itself; vocabularies of a million tokens need a few hundred MB in the reader.
MEMORY_BYTES: Final = 4 * 1024**3


def _read(path: str) -> dict[str, Any]:
    """Everything that ``Header`` holds, from the kept library's reader."""
    reader = GGUFReader(path)
    metadata: dict[str, Any] = {}
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or len(field.types) != 1:
            continue
        value = field.contents()
        if isinstance(value, str | int | float | bool):
            metadata[name] = value
    tokens = reader.fields.get("tokenizer.ggml.tokens")
    by_type: Counter[str] = Counter()
    for tensor in reader.tensors:
        by_type[tensor.tensor_type.name.lower()] += int(tensor.n_bytes)
    return {
        "metadata": metadata,
        "parameters": sum(int(tensor.n_elements) for tensor in reader.tensors),
        "quantisation": by_type.most_common(1)[0][0] if by_type else "",
        "tensor_bytes": dict(by_type),
        "tokens": len(tokens.data) if tokens is not None else 0,
    }


def main(path: str) -> int:
    """The child: limits itself, reads, prints one JSON document."""
    allowed = MEMORY_BYTES + Path(path).stat().st_size
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
    try:
        told = _read(path)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, OSError) as error:
        told = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    sys.stdout.write(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
