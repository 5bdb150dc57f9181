"""The whole measurement with the real default engine and the real default weights. Run with -s to see the figures."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from yunhe.adapt.recipe_evidence import FidelityPart, FidelityReference
from yunhe.agent.tuning.fidelity import dequantise
from yunhe.agent.tuning.fidelity.evidence import gather, measure, record_reference
from yunhe.agent.tuning.fidelity.reference import reference_weights
from yunhe.agent.tuning.fidelity.server import Server
from yunhe.agent.weights import locate
from yunhe.catalogue.builtin import default_model
from yunhe.catalogue.model import Recipe
from yunhe.catalogue.ports import ENGINE_KEY
from yunhe.drivers.engines.xllamacpp import XllamacppEngine
from yunhe.pool.model import Card
from yunhe.testing.waiting import eventually

MODEL = default_model("model_1", 0.0)
CARD = Card("cpu-1", "cpu-sample", "sample", "cpu", "Sample", 64 * 1024**3, os.cpu_count(), ("avx2",), "healthy")
CONTEXT = 256
KEY = "sk-test"


@contextmanager
def running(weights: Path, folder: Path, slots: int) -> Iterator[Server]:
    """The engine as its driver starts it, with these weights."""
    settings = {"slots": slots, "context_length": CONTEXT}
    recipe = Recipe("recipe_1", "default", MODEL.name, "any", "xllamacpp", settings)
    plan = XllamacppEngine().launch(MODEL, recipe, [CARD], weights, None)
    folder.mkdir()
    for name, content in plan.files.items():
        (folder / name).write_text(content.replace(ENGINE_KEY, KEY))
    assert plan.port_file is not None
    port_file = folder / plan.port_file
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(plan.argv, cwd=folder, env={**os.environ, **plan.env}, stdout=log, stderr=log)
    try:
        eventually("the engine's port", lambda: port_file.exists() or child.poll() is not None)
        assert child.poll() is None, (folder / "log").read_text()[-2000:]
        url = plan.base_url.replace(":0", f":{port_file.read_text()}")
        with httpx.Client(base_url=url, trust_env=False) as client:
            eventually("the engine's health", lambda: client.get(plan.health_path).status_code == 200)
        yield Server(url, KEY, plan.upstream_model, slots, CONTEXT)
    finally:
        child.kill()
        child.wait()


def line(name: str, part: FidelityPart, seconds: float) -> str:
    assert part.kl_nats.interval is not None and part.top1_share.interval is not None
    kl, top1 = part.kl_nats.interval, part.top1_share.interval
    return (
        f"{name}: {part.verdict}, {part.positions} positions, KL {part.kl_nats.value:.4f} "
        f"[{kl.low:.4f}, {kl.high:.4f}], top-1 {part.top1_share.value:.3f} [{top1.low:.3f}, {top1.high:.3f}], "
        f"perplexity x {part.perplexity_ratio.value:.3f}, {seconds:.1f} s"
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_default_weights_pass_and_a_faulty_requantisation_is_refused(tmp_path: Path) -> None:
    source, slots = locate(MODEL.weights.location), 18
    assert MODEL.weights.sha256 is not None
    began = time.monotonic()
    wide = await reference_weights(source, MODEL.weights.sha256, tmp_path / "cache")
    print(f"\n{wide.precision}: {wide.path.stat().st_size:,} bytes, {time.monotonic() - began:.1f} s")
    faulty = tmp_path / "faulty.gguf"
    # Q4_0 has no offset: rounding what was made with one to it again loses much.
    await asyncio.to_thread(dequantise.rewrite, source, faulty, "Q4_0", keep=dequantise.WIDE | {"Q8_0"})

    began = time.monotonic()
    reference = FidelityReference(name=MODEL.name, digest=wide.digest, precision=wide.precision)
    with running(wide.path, tmp_path / "reference", slots) as server:
        records = await record_reference(server, tmp_path / "records", reference, "xllamacpp", parts=())
    print(f"reference: {time.monotonic() - began:.1f} s")
    assert sum(record.missing for record in records.texts) == 0
    parts = {}
    for name, weights in (("own", source), ("faulty", faulty)):
        began = time.monotonic()
        with running(weights, tmp_path / name, slots) as server:
            parts[name] = await measure(server, records, "chat")
        print(line(name, parts[name], time.monotonic() - began))

    own, bad = parts["own"], parts["faulty"]
    assert own.verdict == "passed", own.reasons
    assert own.positions == bad.positions == 2_052
    assert 0.001 < own.kl_nats.value < 0.01
    assert own.top1_share.value > 0.93
    assert bad.verdict == "failed"
    assert bad.kl_nats.value > 0.15
    assert bad.top1_share.value < 0.8
    assert any(reason.startswith("KL may be") for reason in bad.reasons)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_same_weights_answer_alike_alone_in_batches_and_at_the_edges(tmp_path: Path) -> None:
    reference = FidelityReference(name=MODEL.name, digest="0" * 64, precision="Q4_1")
    with running(locate(MODEL.weights.location), tmp_path / "engine", 4) as server:
        records = await record_reference(
            server, tmp_path / "records", reference, "xllamacpp", parts=("sequences",), places_per_text=2
        )
        found = (await gather(server, records)).evidence
    assert found.greedy is not None
    assert found.greedy.identical == found.greedy.answers > 6
    shares = {comparison.kind: comparison.agreeing_share(8) for comparison in found.sequences}
    print(f"\n{shares}")
    assert shares.keys() == {"batch", "short_prompt", "long_prompt"}
    assert shares["batch"] >= 0.75
    assert shares["short_prompt"] == shares["long_prompt"] == 1.0
