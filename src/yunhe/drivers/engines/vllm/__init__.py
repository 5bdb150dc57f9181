"""Engine driver for vLLM and its hardware plug-ins (``plugins.json``): safetensors weights on GPUs, NPUs and CPUs.

Flags are those of vLLM 0.33's parser; the plug-ins follow older releases and know them too. The key lies in a file
of arguments, so that no other user reads it from the list of processes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import ENGINE_KEY, LaunchPlan, SettingsSpace, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines import server_plan
from yunhe.drivers.engines.server_plan import PARALLEL_RULES, PORT, SERVER_RULES, Layout, Product, Server
from yunhe.drivers.engines.settings import Choice, Rule, Whole
from yunhe.drivers.engines.vllm.plugins import Plugin, load, plugin_for
from yunhe.pool.model import Card

MAX_NUM_SEQS_DEFAULT: Final = 256
MEMORY_PERCENT_DEFAULT: Final = 90
SPECULATIVE: Final = ("none", "ngram", "mtp", "eagle3", "draft_model")
#: Need the weights of a second model.
_WITH_MODEL: Final = ("eagle3", "draft_model")
_ARGUMENTS_FILE: Final = "engine.yaml"
_KV_CACHE_DTYPES: Final = tuple(dict.fromkeys(dtype for plugin in load().plugins for dtype in plugin.kv_cache_dtypes))
RULES: Final[dict[str, Rule]] = {
    **SERVER_RULES,
    **PARALLEL_RULES,
    "max_batched_tokens": Whole(64, 1_048_576),
    "memory_percent": Whole(10, 99),
    "chunked_prefill": Choice((True, False)),
    "prefix_cache": Choice((True, False)),
    "kv_cache_dtype": Choice(_KV_CACHE_DTYPES),
    "speculative": Choice(SPECULATIVE),
    "speculative_tokens": Whole(1, 64),
    "eager": Choice((False, True)),
    #: Runs code that lies beside the weights.
    "trust_remote_code": Choice((False, True)),
}


class VllmEngine:
    """vLLM on every maker's cards for which it or a plug-in is made."""

    name = "vllm"

    def __init__(self, product: Product | None = None) -> None:
        self._product = product or server_plan.find_product(self.name, "vllm", "vllm")
        self.version = self._product.shown_version

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """Safetensors weights on a card that vLLM or a plug-in knows, and no published table that says no."""
        if model.weights.format != "safetensors":
            return Verdict(False, f"it reads safetensors weights, these are {model.weights.format}")
        if card is None:
            return Verdict(False, "it needs a card")
        plugin = plugin_for(card)
        if plugin is None:
            return Verdict(False, f"no plug-in is known for a {card.kind} by {card.maker}")
        packages = "install vllm" + (f" and {plugin.package}" if plugin.package else "")
        return server_plan.judge(self.name, self._product, model, card, packages)

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first. Parallel sizes follow the number of cards that are placed."""
        plugin = plugin_for(card) or load().plugins[0]
        return SettingsSpace(
            {
                "max_num_seqs": (MAX_NUM_SEQS_DEFAULT, 32, 64, 128, 512),
                "memory_percent": (MEMORY_PERCENT_DEFAULT, 85, 95),
                "chunked_prefill": _default_first(plugin, "chunked_prefill"),
                "prefix_cache": _default_first(plugin, "prefix_cache"),
                "kv_cache_dtype": plugin.kv_cache_dtypes,
                "speculative": ("none", "ngram"),
                "eager": (False, True),
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
        """``vllm serve`` under the port keeper."""
        settings = server_plan.read_settings(self.name, recipe, RULES)
        folder = server_plan.weights_folder(self.name, weights, external)
        card = server_plan.one_maker(self.name, cards)
        plugin = plugin_for(card)
        if plugin is None:
            raise InvalidRequest("No plug-in of vLLM is known for these cards.", fields=["cards: of an unknown maker"])
        problems: list[str] = []
        placed = server_plan.layout(settings, cards, problems)
        context = server_plan.context_length(model, settings, problems)
        problems += _problems(settings, placed, plugin)
        server_plan.refuse(self.name, problems)
        slots = int(settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT))
        command = [server_plan.command(self._product, settings), "serve", str(folder)]
        command += ["--host", "127.0.0.1", "--port", PORT, "--config", _ARGUMENTS_FILE]
        command += _arguments(model, settings, plugin, placed, context)
        server = Server(
            command=tuple(command),
            env={
                "VLLM_NO_USAGE_STATS": "1",
                **plugin.env,
                **server_plan.visible_devices(plugin.visible_devices, settings, cards, plugin.uuid_prefixes),
            },
            # JSON is YAML; a list, because the flag takes several keys.
            files={_ARGUMENTS_FILE: json.dumps({"api-key": [ENGINE_KEY]})},
            upstream_model=model.name,
            slots=slots * placed.data,
            api_key=ENGINE_KEY,
            prompt_counter="vllm:prompt_tokens_total",
            completion_counter="vllm:generation_tokens_total",
        )
        return server_plan.plan(server, settings)


def _default_first(plugin: Plugin, name: str) -> tuple[bool, bool]:
    default = plugin.defaults.get(name, True)
    return (default, not default)


def _problems(settings: Mapping[str, SettingValue], placed: Layout, plugin: Plugin) -> list[str]:
    problems = []
    if settings.get("kv_cache_dtype", "auto") not in plugin.kv_cache_dtypes:
        known = ", ".join(plugin.kv_cache_dtypes)
        problems.append(f"settings.kv_cache_dtype: on these cards ({plugin.name}) one of {known}")
    if placed.expert not in (1, placed.tensor * placed.data):
        ranks = placed.tensor * placed.data
        problems.append(f"settings.expert_parallel: is 1 or all {ranks} tensor and data ranks")
    method = settings.get("speculative", "none")
    if method in _WITH_MODEL and "speculative_model" not in settings:
        problems.append(f"settings.speculative_model: {method} needs the path of its weights")
    return problems


def _arguments(
    model: Model, settings: Mapping[str, SettingValue], plugin: Plugin, placed: Layout, context: int
) -> list[str]:
    found = server_plan.flags(
        {
            "--served-model-name": model.name,
            "--tensor-parallel-size": placed.tensor,
            "--pipeline-parallel-size": placed.pipeline,
            "--data-parallel-size": placed.data if placed.data > 1 else None,
            "--max-model-len": context,
            "--max-num-seqs": settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT),
            "--max-num-batched-tokens": settings.get("max_batched_tokens"),
            "--gpu-memory-utilization": int(settings.get("memory_percent", MEMORY_PERCENT_DEFAULT)) / 100,
            "--kv-cache-dtype": settings.get("kv_cache_dtype", plugin.kv_cache_dtypes[0]),
            "--quantization": plugin.quantisation.get(model.quantisation or ""),
        }
    )
    for name, flag in (("chunked_prefill", "enable-chunked-prefill"), ("prefix_cache", "enable-prefix-caching")):
        wanted = settings.get(name, plugin.defaults.get(name, True))
        found.append(f"--{flag}" if wanted else f"--no-{flag}")
    if placed.expert > 1:
        found.append("--enable-expert-parallel")
    for name, flag in (("eager", "--enforce-eager"), ("trust_remote_code", "--trust-remote-code")):
        if settings.get(name):
            found.append(flag)
    if "embeddings" in model.capabilities and "chat" not in model.capabilities:
        found += ["--runner", "pooling"]
    speculative = _speculative(settings)
    if speculative:
        found += ["--speculative-config", json.dumps(speculative)]
    return [*found, *plugin.arguments]


def _speculative(settings: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    method = str(settings.get("speculative", "none"))
    if method == "none":
        return {}
    found: dict[str, SettingValue] = {
        "method": method,
        "num_speculative_tokens": settings.get("speculative_tokens", 1 if method == "mtp" else 4),
    }
    if method == "ngram":
        found["prompt_lookup_max"] = 4
    if method in _WITH_MODEL:
        found["model"] = settings["speculative_model"]
    return found
