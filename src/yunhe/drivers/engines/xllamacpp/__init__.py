"""Engine driver for xllamacpp: llama.cpp's server from a wheel, for GGUF weights on the CPU.

Facts (2026.10.11549, measured): the server listens on a port of its own choice when given 0; ``n_ctx`` is the sum over
all slots; with ``timings_per_token`` in a request each event carries a flat ``timings`` object with cumulative counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import ENGINE_KEY, LaunchPlan, SettingsSpace, UsageProbe, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.core.units import MIB, bytes_text
from yunhe.drivers.engines.settings import Choice, Rule, Whole, checked
from yunhe.pool.model import Card

SLOTS_DEFAULT: Final = 4
#: Prompts of conversations that lost their slot. The engine's own default of 8 GiB would crowd out other replicas.
PROMPT_CACHE_MIB_DEFAULT: Final = 256
#: Types of tensors that this build copies into another order for AVX2, seen in its report of buffers.
_REPACKED: Final = ("q4_0", "q4_k", "iq4_nl")
#: The engine rounds a slot's positions up to a multiple of this.
_CONTEXT_STEP: Final = 256
KV_BYTES_OF: Final = {"f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32}
#: The engine's threads meet many times a token: how they wait for the last. Tokens/s at one request, measured on two
#: cores when others used them too, and when hardly: spinning on 1 to 10, 110; asleep at once 20 to 45, 50; spinning
#: about ten microseconds before they sleep 20 to 45, 75.
THREAD_WAIT_ENV: Final = {
    "brief": ("GOMP_SPINCOUNT", "300"),
    "steady": ("GOMP_SPINCOUNT", "100000"),
    "active": ("OMP_WAIT_POLICY", "active"),
    "passive": ("OMP_WAIT_POLICY", "passive"),
}
RULES: Final[dict[str, Rule]] = {
    "slots": Whole(1, 256),
    "context_length": Whole(256, 4_194_304),
    "threads": Whole(1, 1024),
    "batch": Whole(32, 65_536),
    "ubatch": Whole(32, 65_536),
    "flash_attention": Choice(("auto", "on", "off")),
    "kv_type": Choice(("f16", "bf16", "q8_0")),
    "prompt_cache_mib": Whole(0, 1_048_576),
    "thread_wait": Choice(tuple(THREAD_WAIT_ENV)),
}
PROBE: Final = UsageProbe(
    request_fields={"timings_per_token": True},
    chunk_key="timings",
    prompt_fields=("prompt_n", "cache_n"),
    cached_field="cache_n",
    completion_field="predicted_n",
)
#: Weights are mapped, the engine's own buffers are small beside them; measured about 300 MB with SmolLM2.
_ENGINE_RESERVE_BYTES: Final = 512 * MIB


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
        least: dict[str, SettingValue] = {
            "slots": 1,
            "context_length": min(model.context_length, 2048),
            "kv_type": "f16",
            "prompt_cache_mib": 0,
        }
        needed = _memory_bytes(model, least)
        if card.memory_bytes is not None and needed > card.memory_bytes:
            return Verdict(False, f"it needs {bytes_text(needed)}, the card has {bytes_text(card.memory_bytes)}")
        return Verdict(True)

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first."""
        cores = (card.cores if card else None) or 1
        threads = sorted({cores, max(1, cores // 2)}, reverse=True)
        return SettingsSpace(
            {
                "slots": (SLOTS_DEFAULT, 8, 16, 2, 1),
                "threads": tuple(threads),
                "kv_type": ("f16", "q8_0"),
                "ubatch": (512, 128, 256, 1024),
                "flash_attention": ("auto", "off"),
                "batch": (2048, 512),
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
        config = _configuration(model, card, settings)
        need = _memory_bytes(model, config)
        if card is not None and card.memory_bytes is not None and need > card.memory_bytes:
            raise InvalidRequest(
                f"With these settings it needs {bytes_text(need)}, the card has {bytes_text(card.memory_bytes)}.",
                next_step="Lower settings.slots or settings.context_length.",
                fields=["settings.slots: times context_length is too much"],
            )
        config |= {"weights": str(weights), "alias": model.name, "api_key": ENGINE_KEY, "port_file": "port"}
        return LaunchPlan(
            argv=(sys.executable, "-m", "yunhe.drivers.engines.xllamacpp.host", "--config", "engine.json"),
            env=dict([THREAD_WAIT_ENV[str(config["thread_wait"])]]),
            files={"engine.json": json.dumps(config, indent=1)},
            base_url="http://127.0.0.1:0",
            port_file="port",
            health_path="/health",
            metrics_path="/metrics",
            upstream_model=model.name,
            slots=int(config["slots"]),
            usage_probe=PROBE,
            memory_bytes=_limit_bytes(model, card, need),
            cpu_cores=_cores(card),
            api_key=ENGINE_KEY,
            prompt_counter="llamacpp:prompt_tokens_total",
            cached_counter="llamacpp:prompt_tokens_cached_total",
            completion_counter="llamacpp:tokens_predicted_total",
            logprobs="stepwise",
        )


def _cores(card: Card | None) -> int:
    return (card.cores if card else None) or 1


def _configuration(model: Model, card: Card | None, settings: dict[str, SettingValue]) -> dict[str, SettingValue]:
    """The settings, completed by defaults. Raises InvalidRequest where they do not go together."""
    config: dict[str, SettingValue] = {
        "context_length": model.context_length,
        "threads": _cores(card),
        "batch": 2048,
        "ubatch": 512,
        "flash_attention": "auto",
        "kv_type": "f16",
        "prompt_cache_mib": PROMPT_CACHE_MIB_DEFAULT,
        "thread_wait": "brief",
        "embeddings": "embeddings" in model.capabilities,
        **settings,
    }
    problems = []
    if int(config["context_length"]) > model.context_length:
        problems.append(f"settings.context_length: {model.name} has at most {model.context_length}")
    if int(config["ubatch"]) > int(config["batch"]):
        problems.append("settings.ubatch: must not be larger than batch")
    if config["kv_type"] == "q8_0" and config["flash_attention"] == "off":
        problems.append("settings.kv_type: q8_0 needs flash_attention")
    if problems:
        raise InvalidRequest("The settings do not go together.", fields=problems)
    config.setdefault("slots", _slots_that_fit(model, card, config))
    return config


def weights_bytes(model: Model) -> int:
    """The file as it is mapped, and the tensors that the engine holds a second time, in another order."""
    size = model.weights.size_bytes or 0
    counted = [model.shape[f"{kind}_bytes"] for kind in _REPACKED if f"{kind}_bytes" in model.shape]
    if counted or model.quantisation not in _REPACKED:
        return size + sum(counted)
    # The header's bytes by type are not known: all but the embedding, which such files keep in eight bits.
    head = model.shape.get("vocabulary", 0) * model.shape.get("hidden_size", 0) * KV_BYTES_OF["q8_0"]
    return size + max(0, size - int(head))


def cache_bytes(model: Model, config: Mapping[str, SettingValue]) -> int:
    """Keys and values of all slots: 2 x layers x kv_heads x head_size x positions, as wide as ``kv_type``."""
    shape = model.shape
    width = shape.get("layers", 0) * shape.get("kv_heads", 0) * shape.get("head_size", 0)
    each = -(-int(config["context_length"]) // _CONTEXT_STEP) * _CONTEXT_STEP
    return int(2 * width * KV_BYTES_OF[str(config["kv_type"])] * int(config["slots"]) * each)


def _memory_bytes(model: Model, config: Mapping[str, SettingValue]) -> int:
    """Weights, KV cache over all slots, prompt cache, and the engine's own buffers."""
    prompts = int(config["prompt_cache_mib"]) * MIB
    return weights_bytes(model) + cache_bytes(model, config) + prompts + _ENGINE_RESERVE_BYTES


def _limit_bytes(model: Model, card: Card | None, need: int) -> int | None:
    """Twice the estimate stops a leak, and no replica that only needs more than was thought; None without a shape."""
    if not model.shape.get("layers"):
        return None
    return min(2 * need, (card.memory_bytes if card else None) or 2 * need)


def _slots_that_fit(model: Model, card: Card | None, config: Mapping[str, SettingValue]) -> int:
    """The default number of slots, fewer where the card's memory would be more than half full."""
    slots = SLOTS_DEFAULT
    if card is not None and card.memory_bytes is not None:
        while slots > 1 and _memory_bytes(model, {**config, "slots": slots}) > card.memory_bytes // 2:
            slots //= 2
    return slots
