"""Trims OpenAI's public API description to the paths that Yunhe serves: ``openai_spec.py FULL.yaml TRIMMED.json``.

A validating proxy needs half a minute to load the whole. Servers and security are left out, because the proxy's caller
brings both; statuses that the description does not list are no violation of a shape and are left to other tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

PATHS = {
    "/models": ("get",),
    "/models/{model}": ("get",),
    "/chat/completions": ("post",),
    "/completions": ("post",),
    "/embeddings": ("post",),
}
#: Our error object, by the description's own schema, for every status that it does not list.
ERROR = {
    "description": "error",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorResponse"}}},
}


def references(node: Any) -> set[str]:
    """Every ``$ref`` below a node."""
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def with_null(node: Any) -> Any:
    """The same schema with ``nullable`` said in the way of the version that the document claims to be (3.1)."""
    if isinstance(node, list):
        return [with_null(value) for value in node]
    if not isinstance(node, dict):
        return node
    schema = {name: with_null(value) for name, value in node.items()}
    if schema.get("nullable") is True:
        del schema["nullable"]
        if isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
            if isinstance(schema.get("enum"), list):
                schema["enum"] = [*schema["enum"], None]
        else:
            schema = {"anyOf": [schema, {"type": "null"}]}
    return schema


def trimmed(full: dict[str, Any]) -> dict[str, Any]:
    """The description of ``PATHS`` alone, with the components that they need."""
    paths: dict[str, Any] = {}
    for path, methods in PATHS.items():
        kept = {method: dict(full["paths"][path][method]) for method in methods}
        for operation in kept.values():
            operation.pop("security", None)
            operation["responses"] = {**operation["responses"], "default": ERROR}
        paths[path] = kept
    components: dict[str, dict[str, Any]] = {}
    todo = references(paths)
    seen: set[str] = set()
    while todo - seen:
        reference = (todo - seen).pop()
        seen.add(reference)
        _, _, kind, name = reference.split("/", 3)
        found = full["components"][kind][name]
        components.setdefault(kind, {})[name] = found
        todo |= references(found)
    document = {"openapi": full["openapi"], "info": full["info"], "paths": paths, "components": components}
    whole: dict[str, Any] = with_null(document)
    return whole


def main() -> None:
    """Read, trim, write."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with source.open(encoding="utf-8") as text:
        full = yaml.load(text, Loader=loader)
    target.write_text(json.dumps(trimmed(full), default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
