"""Engine driver for SGLang: safetensors weights on the GPUs and NPUs that it knows by itself.

Flags are those of SGLang 0.5.23's parser. The key lies in a file of arguments, which SGLang reads with ``--config``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import ENGINE_KEY, LaunchPlan, SettingsSpace, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines import server_plan
from yunhe.drivers.engines.server_plan import PARALLEL_RULES, PORT, SERVER_RULES, Layout, Product, Server
from yunhe.drivers.engines.settings import Choice, Rule, Whole
from yunhe.pool.model import Card

MAX_NUM_SEQS_DEFAULT: Final = 256
CHUNK_DEFAULT: Final = 8192
#: Our word -> SGLang's algorithm.
SPECULATIVE: Final = {"none": "", "ngram": "NGRAM", "mtp": "NEXTN", "eagle": "EAGLE", "eagle3": "EAGLE3"}
_WITH_MODEL: Final = ("eagle", "eagle3")
_ARGUMENTS_FILE: Final = "engine.yaml"


@dataclass(frozen=True, slots=True)
class Device:
    """One maker's cards under SGLang."""

    makers: tuple[str, ...]
    kinds: tuple[str, ...]
    #: Value of ``--device``.
    device: str
    visible_devices: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    uuid_prefixes: tuple[str, ...] = ()
    #: First is the default.
    kv_cache_dtypes: tuple[str, ...] = ("auto", "bf16")


#: By SGLang 0.5.23 (device.py, choices.py); the variables of visible devices by the makers' runtimes.
DEVICES: Final = (
    Device(
        ("nvidia",),
        ("gpu",),
        "cuda",
        ("CUDA_VISIBLE_DEVICES",),
        uuid_prefixes=("GPU-", "MIG-"),
        kv_cache_dtypes=("auto", "bf16", "fp8_e4m3", "fp8_e5m2"),
    ),
    Device(("amd",), ("gpu",), "cuda", ("HIP_VISIBLE_DEVICES",), kv_cache_dtypes=("auto", "bf16", "fp8_e4m3")),
    Device(("huawei", "ascend"), ("npu",), "npu", ("ASCEND_RT_VISIBLE_DEVICES",), ("--attention-backend", "ascend")),
    Device(("moore-threads", "mthreads", "musa"), ("gpu",), "musa", ("MUSA_VISIBLE_DEVICES",)),
    Device(("intel",), ("gpu",), "xpu", ("ZE_AFFINITY_MASK",), ("--attention-backend", "intel_xpu")),
    Device(("intel",), ("cpu",), "cpu", ()),
)
RULES: Final[dict[str, Rule]] = {
    **SERVER_RULES,
    **PARALLEL_RULES,
    "attention_data_parallel": Whole(1, 1024),
    "max_batched_tokens": Whole(64, 1_048_576),
    "memory_percent": Whole(10, 99),
    "chunked_prefill": Choice((True, False)),
    "prefix_cache": Choice((True, False)),
    "kv_cache_dtype": Choice(tuple(dict.fromkeys(dtype for device in DEVICES for dtype in device.kv_cache_dtypes))),
    "speculative": Choice(tuple(SPECULATIVE)),
    "speculative_tokens": Whole(1, 64),
}


def device_for(card: Card | None) -> Device | None:
    """What SGLang calls this card; without a card its usual device."""
    if card is None:
        return DEVICES[0]
    return next((known for known in DEVICES if card.maker in known.makers and card.kind in known.kinds), None)


class SglangEngine:
    """SGLang's server."""

    name = "sglang"

    def __init__(self, product: Product | None = None) -> None:
        self._product = product or server_plan.find_product(self.name, "sglang", "sglang")
        self.version = self._product.shown_version

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """Safetensors weights on a card that SGLang knows, and no published table that says no."""
        if model.weights.format != "safetensors":
            return Verdict(False, f"it reads safetensors weights, these are {model.weights.format}")
        if card is None:
            return Verdict(False, "it needs a card")
        if device_for(card) is None:
            return Verdict(False, f"it has no device for a {card.kind} by {card.maker}")
        return server_plan.judge(self.name, self._product, model, card, "install sglang")

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first. Parallel sizes follow the number of cards that are placed."""
        device = device_for(card) or DEVICES[0]
        return SettingsSpace(
            {
                "max_num_seqs": (MAX_NUM_SEQS_DEFAULT, 32, 64, 128, 512),
                "max_batched_tokens": (CHUNK_DEFAULT, 2048, 4096, 16_384),
                "chunked_prefill": (True, False),
                "prefix_cache": (True, False),
                "kv_cache_dtype": device.kv_cache_dtypes,
                "speculative": ("none", "ngram"),
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
        """``sglang serve`` under the port keeper."""
        settings = server_plan.read_settings(self.name, recipe, RULES)
        folder = server_plan.weights_folder(self.name, weights, external)
        device = device_for(server_plan.one_maker(self.name, cards))
        if device is None:
            raise InvalidRequest("SGLang has no device for these cards.", fields=["cards: of an unknown maker"])
        problems: list[str] = []
        placed = server_plan.layout(settings, cards, problems)
        context = server_plan.context_length(model, settings, problems)
        problems += _problems(settings, placed, device)
        server_plan.refuse(self.name, problems)
        command = [server_plan.command(self._product, settings), "serve", "--model-path", str(folder)]
        command += ["--host", "127.0.0.1", "--port", PORT, "--config", _ARGUMENTS_FILE, "--device", device.device]
        command += [*device.arguments, *_arguments(model, settings, placed, context), *_speculative(settings)]
        server = Server(
            command=tuple(command),
            env=server_plan.visible_devices(device.visible_devices, settings, cards, device.uuid_prefixes),
            files={_ARGUMENTS_FILE: json.dumps({"api-key": ENGINE_KEY})},
            upstream_model=model.name,
            slots=int(settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT)) * placed.data,
            api_key=ENGINE_KEY,
            prompt_counter="sglang:prompt_tokens_total",
            completion_counter="sglang:generation_tokens_total",
        )
        return server_plan.plan(server, settings)


def _problems(settings: Mapping[str, SettingValue], placed: Layout, device: Device) -> list[str]:
    problems = []
    if settings.get("kv_cache_dtype", "auto") not in device.kv_cache_dtypes:
        problems.append(f"settings.kv_cache_dtype: on {device.device} one of {', '.join(device.kv_cache_dtypes)}")
    if placed.tensor % placed.expert:
        problems.append(f"settings.expert_parallel: must divide tensor_parallel, which is {placed.tensor}")
    if placed.tensor % int(settings.get("attention_data_parallel", 1)):
        problems.append(f"settings.attention_data_parallel: must divide tensor_parallel, which is {placed.tensor}")
    method = settings.get("speculative", "none")
    if method in _WITH_MODEL and "speculative_model" not in settings:
        problems.append(f"settings.speculative_model: {method} needs the path of its weights")
    return problems


def _arguments(model: Model, settings: Mapping[str, SettingValue], placed: Layout, context: int) -> list[str]:
    chunk = int(settings.get("max_batched_tokens", CHUNK_DEFAULT)) if settings.get("chunked_prefill", True) else -1
    memory_percent = settings.get("memory_percent")
    attention = int(settings.get("attention_data_parallel", 1))
    found = server_plan.flags(
        {
            "--served-model-name": model.name,
            "--tp-size": placed.tensor,
            "--pp-size": placed.pipeline,
            "--dp-size": placed.data if placed.data > 1 else None,
            "--ep-size": placed.expert if placed.expert > 1 else None,
            "--attn-dp-size": attention if attention > 1 else None,
            "--context-length": context,
            "--max-running-requests": settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT),
            "--chunked-prefill-size": chunk,
            "--mem-fraction-static": None if memory_percent is None else int(memory_percent) / 100,
            "--kv-cache-dtype": settings.get("kv_cache_dtype", "auto"),
        }
    )
    found.append("--enable-metrics")
    if not settings.get("prefix_cache", True):
        found.append("--disable-radix-cache")
    if "embeddings" in model.capabilities and "chat" not in model.capabilities:
        found.append("--is-embedding")
    return found


def _speculative(settings: Mapping[str, SettingValue]) -> list[str]:
    method = str(settings.get("speculative", "none"))
    if method == "none":
        return []
    tokens = int(settings.get("speculative_tokens", 4))
    chained = method != "ngram"
    return server_plan.flags(
        {
            "--speculative-algorithm": SPECULATIVE[method],
            "--speculative-num-draft-tokens": tokens,
            # A chain of drafts, not a tree: one step less than the tokens that are verified.
            "--speculative-num-steps": max(1, tokens - 1) if chained else None,
            "--speculative-eagle-topk": 1 if chained else None,
            "--speculative-draft-model-path": settings["speculative_model"] if method in _WITH_MODEL else None,
        }
    )
