"""Engine driver for MindIE LLM, the server of Ascend's maker: everything stands in its ``config.json``.

Fields are those of MindIE LLM 3.0's documentation. The server knows client certificates and no keys; it listens on
the loopback address only. Business, management and metrics share one port, which the documentation allows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import LaunchPlan, SettingsSpace, Verdict
from yunhe.drivers.engines import server_plan
from yunhe.drivers.engines.server_plan import PARALLEL_RULES, PORT, SERVER_RULES, Layout, Product, Server
from yunhe.drivers.engines.settings import Choice, Rule, Whole
from yunhe.pool.model import Card

MAX_NUM_SEQS_DEFAULT: Final = 200
_PREFILL_BATCH_MOST: Final = 50
_PREFILL_TOKENS_DEFAULT: Final = 8192
MAKERS: Final = ("huawei", "ascend")
#: Our word -> MindIE's plug-in.
SPECULATIVE: Final = {"none": "", "mtp": "mtp", "lookahead": "la", "memory": "memory_decoding"}
_TEMPLATE_FILE: Final = "config.template.json"
_CONFIG_FILE: Final = "config.json"
RULES: Final[dict[str, Rule]] = {
    **SERVER_RULES,
    **{name: rule for name, rule in PARALLEL_RULES.items() if name != "pipeline_parallel"},
    "max_batched_tokens": Whole(1, 4_194_304),
    "chunked_prefill": Choice((False, True)),
    "prefix_cache": Choice((False, True)),
    "speculative": Choice(tuple(SPECULATIVE)),
    "speculative_tokens": Whole(1, 16),
    "kv_memory_gb": Whole(1, 1024),
}


class MindieEngine:
    """MindIE LLM on Ascend NPUs."""

    name = "mindie"

    def __init__(self, product: Product | None = None) -> None:
        self._product = product or server_plan.find_product(self.name, "mindie_llm_server", "mindie_llm")
        self.version = self._product.shown_version

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """Safetensors weights on an Ascend NPU, and no published table that says no."""
        if model.weights.format != "safetensors":
            return Verdict(False, f"it reads safetensors weights, these are {model.weights.format}")
        if card is None:
            return Verdict(False, "it needs a card")
        if card.maker not in MAKERS or card.kind != "npu":
            return Verdict(False, f"it runs on Ascend NPUs, the card is a {card.kind} by {card.maker}")
        return server_plan.judge(self.name, self._product, model, card, "install MindIE LLM from its maker")

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first. The cache's number format comes with the weights."""
        return SettingsSpace(
            {
                "max_num_seqs": (MAX_NUM_SEQS_DEFAULT, 32, 64, 128, 256),
                "chunked_prefill": (False, True),
                "prefix_cache": (False, True),
                "speculative": ("none", "lookahead", "memory"),
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
        """``mindie_llm_server`` under the port keeper, which fills the port into its configuration."""
        settings = server_plan.read_settings(self.name, recipe, RULES, ("executable", "devices"))
        folder = server_plan.weights_folder(self.name, weights, external)
        server_plan.one_maker(self.name, cards)
        problems: list[str] = []
        placed = server_plan.layout(settings, cards, problems)
        context = server_plan.context_length(model, settings, problems)
        problems += _problems(settings, placed, context)
        server_plan.refuse(self.name, problems)
        name = _model_name(model.name)
        slots = int(settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT))
        config = {
            "Version": "1.0.0",
            "ServerConfig": _server(),
            "BackendConfig": {
                "backendName": "mindieservice_llm_engine",
                "modelInstanceNumber": 1,
                # Logical numbers: they count what ASCEND_RT_VISIBLE_DEVICES shows.
                "npuDeviceIds": [list(range(placed.cards))],
                "tokenizerProcessNumber": 8,
                "multiNodesInferEnabled": False,
                "ModelDeployConfig": _deployment(name, folder, settings, placed, context),
                "ScheduleConfig": _schedule(settings, slots, context),
            },
        }
        server = Server(
            command=(server_plan.command(self._product, settings),),
            env={
                "MIES_SERVICE_MONITOR_MODE": "1",
                "MINDIE_LOG_TO_STDOUT": "1",
                **server_plan.visible_devices(["ASCEND_RT_VISIBLE_DEVICES"], settings, cards, ()),
            },
            files={_TEMPLATE_FILE: json.dumps(config, indent=1)},
            upstream_model=name,
            slots=slots,
            health_path="/v2/health/ready",
            fill=((_TEMPLATE_FILE, _CONFIG_FILE),),
            path_env=(("MIES_CONFIG_JSON_PATH", _CONFIG_FILE),),
        )
        return server_plan.plan(server, settings)


def _model_name(name: str) -> str:
    """MindIE takes letters, digits, dashes, dots and underscores, with a letter or digit at both ends."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("-._")


def _problems(settings: Mapping[str, SettingValue], placed: Layout, context: int) -> list[str]:
    problems = []
    method = settings.get("speculative", "none")
    if method != "none" and settings.get("chunked_prefill"):
        problems.append("settings.chunked_prefill: goes with no speculative decoding")
    if method == "lookahead" and "speculative_tokens" in settings:
        problems.append("settings.speculative_tokens: lookahead has windows instead")
    if method == "mtp" and int(settings.get("speculative_tokens", 1)) > 2:
        problems.append("settings.speculative_tokens: mtp has at most 2")
    if int(settings.get("max_batched_tokens", context)) < context - 1:
        problems.append(f"settings.max_batched_tokens: must hold a whole prompt of {context - 1} tokens")
    if 0 < int(settings.get("port", 0)) < 1024:
        problems.append("settings.port: must be 0 or from 1024")
    if (placed.tensor * placed.data) % placed.expert:
        problems.append(f"settings.expert_parallel: must divide the {placed.tensor * placed.data} cards")
    return problems


def _server() -> dict[str, Any]:
    """Plain HTTP: it listens on the loopback address only."""
    return {
        "ipAddress": "127.0.0.1",
        "managementIpAddress": "127.0.0.1",
        "port": PORT,
        "managementPort": PORT,
        "metricsPort": PORT,
        "allowAllZeroIpListening": False,
        "maxLinkNum": 1000,
        "httpsEnabled": False,
        "fullTextEnabled": False,
        "inferMode": "standard",
        "interCommTLSEnabled": False,
        "openAiSupport": "vllm",
        "tokenTimeout": 600,
        "e2eTimeout": 3600,
    }


def _deployment(
    name: str, folder: Path, settings: Mapping[str, SettingValue], placed: Layout, context: int
) -> dict[str, Any]:
    model: dict[str, Any] = {
        "modelInstanceType": "Standard",
        "modelName": name,
        "modelWeightPath": str(folder),
        "worldSize": placed.cards,
        "cpuMemSize": 0,
        "npuMemSize": settings.get("kv_memory_gb", -1),
        "backendType": "atb",
        "trustRemoteCode": False,
        "tp": placed.tensor,
        "dp": placed.data,
    }
    if placed.expert > 1:
        model |= {"moe_ep": placed.expert, "moe_tp": placed.tensor * placed.data // placed.expert}
    plugins = _plugins(settings)
    if plugins:
        model["plugin_params"] = json.dumps(plugins)
    return {"maxSeqLen": context, "maxInputTokenLen": context - 1, "truncation": 0, "ModelConfig": [model]}


def _plugins(settings: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    method = str(settings.get("speculative", "none"))
    kinds = [SPECULATIVE[method]] if method != "none" else []
    kinds += ["splitfuse"] if settings.get("chunked_prefill") else []
    kinds += ["prefix_cache"] if settings.get("prefix_cache") else []
    if not kinds:
        return {}
    found: dict[str, SettingValue] = {"plugin_type": ",".join(kinds)}
    if method == "mtp":
        found["num_speculative_tokens"] = settings.get("speculative_tokens", 1)
    elif method == "lookahead":
        found |= {"level": 4, "window": 5, "guess_set_size": 5}
    elif method == "memory":
        found |= {"decoding_length": settings.get("speculative_tokens", 16), "dynamic_algo": True}
    return found


def _schedule(settings: Mapping[str, SettingValue], slots: int, context: int) -> dict[str, Any]:
    return {
        "templateType": "Mix" if settings.get("chunked_prefill") else "Standard",
        "templateName": "Standard_LLM",
        "cacheBlockSize": 128,
        "maxPrefillBatchSize": min(_PREFILL_BATCH_MOST, slots),
        "maxPrefillTokens": settings.get("max_batched_tokens", max(_PREFILL_TOKENS_DEFAULT, context - 1)),
        "prefillTimeMsPerReq": 150,
        "prefillPolicyType": 0,
        "decodeTimeMsPerReq": 50,
        "decodePolicyType": 0,
        "maxBatchSize": slots,
        "maxIterTimes": context,
        "maxPreemptCount": 0,
        "supportSelectBatch": False,
        "maxQueueDelayMicroseconds": 5000,
    }
