"""Engine driver for xllamacpp: llama.cpp's server from a wheel, for GGUF weights on the CPU.

Facts (2026.10.11549, measured): the server listens on a port of its own choice when given 0; ``n_ctx`` is the sum over
all slots; with ``timings_per_token`` in a request each event carries a flat ``timings`` object with cumulative counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import ENGINE_KEY, LaunchPlan, SettingsSpace, UsageProbe, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines.settings import Choice, Rule, Whole, checked
from yunhe.pool.model import Card

SLOTS_DEFAULT: Final = 4
KV_BYTES_OF: Final = {"f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32}
RULES: Final[dict[str, Rule]] = {
    "slots": Whole(1, 256),
    "context_length": Whole(256, 4_194_304),
    "threads": Whole(1, 1024),
    "batch": Whole(32, 65_536),
    "ubatch": Whole(32, 65_536),
    "flash_attention": Choice(("auto", "on", "off")),
    "kv_type": Choice(("f16", "bf16", "q8_0")),
}
PROBE: Final = UsageProbe(
    request_fields={"timings_per_token": True},
    chunk_key="timings",
    prompt_fields=("prompt_n", "cache_n"),
    cached_field="cache_n",
    completion_field="predicted_n",
)
#: Weights are mapped, the engine's own buffers are small beside them; measured about 300 MB with SmolLM2.
_ENGINE_RESERVE_BYTES: Final = 512 * 1024**2


class XllamacppEngine:
    """GGUF models on a CPU card."""

    name = "xllamacpp"

    def __init__(self) -> None:
        self.version = metadata.version("xllamacpp")

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """GGUF weights on a CPU with AVX2 and room for them."""
        if model.weights.format != "gguf":
            return Verdict(False, f"it reads GGUF weights, these are {model.weights.format}")
        if card is None:
            return Verdict(False, "it needs a card")
        if card.kind != "cpu":
            return Verdict(False, f"this build runs on CPUs, the card is a {card.kind}")
        if card.features and not {"avx2", "asimd"} & set(card.features):
            return Verdict(False, "this build needs AVX2 (or ARM's Advanced SIMD)")
        needed = _memory_bytes(model, 1, min(model.context_length, 2048), "f16")
        if card.memory_bytes is not None and needed > card.memory_bytes:
            return Verdict(False, f"it needs {needed} bytes, the card has {card.memory_bytes}")
        return Verdict(True)

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first."""
        cores = (card.cores if card else None) or 1
        threads = sorted({cores, max(1, cores // 2)}, reverse=True)
        return SettingsSpace(
            {
                "slots": (SLOTS_DEFAULT, 1, 2, 8, 16),
                "threads": tuple(threads),
                "ubatch": (512, 128, 256, 1024),
                "batch": (2048, 512),
                "flash_attention": ("auto", "on", "off"),
                "kv_type": ("f16", "q8_0"),
            }
        )

    def launch(
        self,
        model: Model,
        recipe: Recipe,
        cards: Sequence[Card],
        weights: Path | None,
        external: ExternalServer | None,
    ) -> LaunchPlan:
        """Start the host module, which writes the port that the server took into ``port``."""
        settings = checked(self.name, recipe.settings, RULES)
        if weights is None or external is not None:
            raise InvalidRequest("xllamacpp starts from a file of weights.", fields=["external: not for this engine"])
        card = cards[0] if cards else None
        cores = (card.cores if card else None) or 1
        context = int(settings.get("context_length", model.context_length))
        kv_type = str(settings.get("kv_type", "f16"))
        slots = int(settings.get("slots", _slots_that_fit(model, card, context, kv_type)))
        config: dict[str, SettingValue] = {
            **settings,
            "weights": str(weights),
            "alias": model.name,
            "api_key": ENGINE_KEY,
            "slots": slots,
            "context_length": context,
            "threads": int(settings.get("threads", cores)),
            "embeddings": "embeddings" in model.capabilities,
            "port_file": "port",
        }
        return LaunchPlan(
            argv=(sys.executable, "-m", "yunhe.drivers.engines.xllamacpp.host", "--config", "engine.json"),
            env={},
            files={"engine.json": json.dumps(config, indent=1)},
            base_url="http://127.0.0.1:0",
            port_file="port",
            health_path="/health",
            metrics_path="/metrics",
            upstream_model=model.name,
            slots=slots,
            usage_probe=PROBE,
            memory_bytes=None,
            cpu_cores=cores,
            api_key=ENGINE_KEY,
            prompt_counter="llamacpp:prompt_tokens_total",
            cached_counter="llamacpp:prompt_tokens_cached_total",
            completion_counter="llamacpp:tokens_predicted_total",
        )


def _memory_bytes(model: Model, slots: int, context: int, kv_type: str) -> int:
    """Weights, KV cache over all slots, and the engine's own buffers."""
    shape = model.shape
    kv_width = shape.get("layers", 0) * shape.get("kv_heads", 0) * shape.get("head_size", 0)
    kv = 2 * kv_width * KV_BYTES_OF[kv_type] * slots * context
    return (model.weights.size_bytes or 0) + int(kv) + _ENGINE_RESERVE_BYTES


def _slots_that_fit(model: Model, card: Card | None, context: int, kv_type: str) -> int:
    """The default number of slots, fewer where the card's memory would be more than half full."""
    if card is None or card.memory_bytes is None:
        return SLOTS_DEFAULT
    slots = SLOTS_DEFAULT
    while slots > 1 and _memory_bytes(model, slots, context, kv_type) > card.memory_bytes // 2:
        slots //= 2
    return slots
