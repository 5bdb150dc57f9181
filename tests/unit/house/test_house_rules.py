"""The house rules that a linter does not know."""

import ast
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted(
    path
    for top in ("src", "tests", "bench", "tools")
    for path in (ROOT / top).rglob("*.py")
    if "node_modules" not in path.parts and "console_dist" not in path.parts
)
LINES_MAX = 400
MEDIAN_LINES_MAX = 180
FUNCTION_LINES_MAX = 60
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
PRODUCT_NAMES = re.compile(r"\b(xllamacpp|llama[._]?cpp|vllm|sglang|mindie|nvidia|ascend)\b", re.IGNORECASE)


def line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def is_migration(path: Path) -> bool:
    return "migrations" in path.parts


def test_no_file_is_longer_than_the_house_allows() -> None:
    long = {str(p.relative_to(ROOT)): n for p in SOURCES if not is_migration(p) and (n := line_count(p)) > LINES_MAX}
    assert long == {}


def test_the_median_source_file_is_short() -> None:
    lengths = [line_count(p) for p in SOURCES if (ROOT / "src") in p.parents and p.name != "__init__.py"]
    assert statistics.median(lengths) <= MEDIAN_LINES_MAX


def test_no_function_is_longer_than_the_house_allows() -> None:
    long = []
    for path in SOURCES:
        if is_migration(path):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                size = node.end_lineno - node.lineno + 1
                if size > FUNCTION_LINES_MAX:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {size}")
    assert long == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = [str(p.relative_to(ROOT)) for p in SOURCES if {p.stem, *p.parent.parts[-1:]} & FORBIDDEN_NAMES]
    assert vague == []


@pytest.mark.parametrize(
    "room", ["accounts", "ledger", "pool", "catalogue", "broker", "serve", "control", "gateway", "agent", "adapt"]
)
def test_product_names_live_only_in_drivers(room: str) -> None:
    named = []
    for path in sorted((ROOT / "src/yunhe" / room).rglob("*.py")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if PRODUCT_NAMES.search(line):
                named.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert named == []


def test_every_room_says_what_it_knows() -> None:
    silent = []
    for init in sorted((ROOT / "src/yunhe").glob("*/__init__.py")):
        doc = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
        if len(doc) < 40:
            silent.append(init.parent.name)
    assert silent == []
