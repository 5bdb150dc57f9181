"""Engine driver for LMDeploy: its TurboMind backend on NVIDIA cards, its PyTorch backend with dlinfer on others.

Flags are those of LMDeploy 0.18's ``serve api_server``. It takes keys as arguments only, which other users of the
host can read; so it gets none, and listens on the loopback address only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import LaunchPlan, SettingsSpace, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines import server_plan
from yunhe.drivers.engines.server_plan import PARALLEL_RULES, PORT, SERVER_RULES, Layout, Product, Server
from yunhe.drivers.engines.settings import Choice, Rule, Whole
from yunhe.pool.model import Card

MAX_NUM_SEQS_DEFAULT: Final = 128
MEMORY_PERCENT_DEFAULT: Final = 80
#: Our word -> value of ``--quant-policy``.
KV_CACHE_DTYPES: Final = {"auto": "none", "int8": "int8", "int4": "int4", "fp8": "fp8"}
SPECULATIVE: Final = {"none": "", "mtp": "deepseek_mtp", "eagle": "eagle", "eagle3": "eagle3"}
_WITH_MODEL: Final = ("eagle", "eagle3")
#: Precision of the weights -> value of ``--model-format`` where LMDeploy asks for it.
_MODEL_FORMATS: Final = {"awq": "awq", "gptq": "gptq", "fp8": "fp8", "mxfp4": "mxfp4"}


@dataclass(frozen=True, slots=True)
class Device:
    """One maker's cards under LMDeploy."""

    makers: tuple[str, ...]
    kinds: tuple[str, ...]
    #: Value of ``--device``.
    device: str
    #: First is the default.
    backends: tuple[str, ...]
    visible_devices: str
    package: str = ""
    uuid_prefixes: tuple[str, ...] = ()


#: By LMDeploy 0.18 (choices of ``--device``); the variables of visible devices by the makers' runtimes.
DEVICES: Final = (
    Device(
        ("nvidia",),
        ("gpu",),
        "cuda",
        ("turbomind", "pytorch"),
        "CUDA_VISIBLE_DEVICES",
        uuid_prefixes=("GPU-", "MIG-"),
    ),
    Device(("huawei", "ascend"), ("npu",), "ascend", ("pytorch",), "ASCEND_RT_VISIBLE_DEVICES", "dlinfer-ascend"),
    Device(("metax", "maca", "muxi"), ("gpu",), "maca", ("pytorch",), "CUDA_VISIBLE_DEVICES", "dlinfer"),
    Device(("cambricon", "mlu"), ("mlu", "npu", "gpu"), "camb", ("pytorch",), "MLU_VISIBLE_DEVICES", "dlinfer"),
)
RULES: Final[dict[str, Rule]] = {
    **SERVER_RULES,
    **{name: rule for name, rule in PARALLEL_RULES.items() if name != "pipeline_parallel"},
    "backend": Choice(("turbomind", "pytorch")),
    "max_batched_tokens": Whole(64, 1_048_576),
    "memory_percent": Whole(10, 99),
    "prefix_cache": Choice((False, True)),
    "kv_cache_dtype": Choice(tuple(KV_CACHE_DTYPES)),
    "speculative": Choice(tuple(SPECULATIVE)),
    "speculative_tokens": Whole(1, 64),
    "eager": Choice((False, True)),
}


def device_for(card: Card | None) -> Device | None:
    """What LMDeploy calls this card; without a card its usual device."""
    if card is None:
        return DEVICES[0]
    return next((known for known in DEVICES if card.maker in known.makers and card.kind in known.kinds), None)


class LmdeployEngine:
    """LMDeploy's server."""

    name = "lmdeploy"

    def __init__(self, product: Product | None = None) -> None:
        self._product = product or server_plan.find_product(self.name, "lmdeploy", "lmdeploy")
        self.version = self._product.shown_version

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """Safetensors weights on a card that LMDeploy knows, and no published table that says no."""
        if model.weights.format != "safetensors":
            return Verdict(False, f"it reads safetensors weights, these are {model.weights.format}")
        if card is None:
            return Verdict(False, "it needs a card")
        device = device_for(card)
        if device is None:
            return Verdict(False, f"it has no device for a {card.kind} by {card.maker}")
        packages = "install lmdeploy" + (f" and {device.package}" if device.package else "")
        return server_plan.judge(self.name, self._product, model, card, packages)

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first. Parallel sizes follow the number of cards that are placed."""
        device = device_for(card) or DEVICES[0]
        return SettingsSpace(
            {
                "backend": device.backends,
                "max_num_seqs": (MAX_NUM_SEQS_DEFAULT, 32, 64, 256),
                "memory_percent": (MEMORY_PERCENT_DEFAULT, 70, 90),
                "prefix_cache": (False, True),
                "kv_cache_dtype": ("auto", "int8") if device.device == "cuda" else ("auto",),
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
        """``lmdeploy serve api_server`` under the port keeper."""
        settings = server_plan.read_settings(self.name, recipe, RULES)
        folder = server_plan.weights_folder(self.name, weights, external)
        device = device_for(server_plan.one_maker(self.name, cards))
        if device is None:
            raise InvalidRequest("LMDeploy has no device for these cards.", fields=["cards: of an unknown maker"])
        problems: list[str] = []
        placed = server_plan.layout(settings, cards, problems)
        context = server_plan.context_length(model, settings, problems)
        backend = str(settings.get("backend", device.backends[0]))
        problems += _problems(settings, placed, device, backend)
        server_plan.refuse(self.name, problems)
        command = [server_plan.command(self._product, settings), "serve", "api_server", str(folder)]
        command += ["--server-name", "127.0.0.1", "--server-port", PORT, "--backend", backend]
        command += _arguments(model, settings, placed, context)
        if backend == "pytorch":
            command += ["--device", device.device, *(["--eager-mode"] if settings.get("eager") else [])]
        server = Server(
            command=tuple(command),
            env=server_plan.visible_devices([device.visible_devices], settings, cards, device.uuid_prefixes),
            files={},
            upstream_model=model.name,
            slots=int(settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT)) * placed.data,
            prompt_counter="lmdeploy:prompt_tokens_total",
            completion_counter="lmdeploy:generation_tokens_total",
        )
        return server_plan.plan(server, settings)


def _problems(settings: Mapping[str, SettingValue], placed: Layout, device: Device, backend: str) -> list[str]:
    problems = []
    if backend not in device.backends:
        problems.append(f"settings.backend: on {device.device} it is {' or '.join(device.backends)}")
    if settings.get("kv_cache_dtype", "auto") != "auto" and device.device != "cuda":
        problems.append(f"settings.kv_cache_dtype: on {device.device} the tables name no quantised cache")
    if settings.get("eager") and backend != "pytorch":
        problems.append("settings.eager: is of the backend pytorch")
    if placed.expert > placed.tensor * placed.data:
        problems.append(f"settings.expert_parallel: at most the {placed.tensor * placed.data} ranks")
    method = settings.get("speculative", "none")
    if method in _WITH_MODEL and "speculative_model" not in settings:
        problems.append(f"settings.speculative_model: {method} needs the path of its weights")
    return problems


def _arguments(model: Model, settings: Mapping[str, SettingValue], placed: Layout, context: int) -> list[str]:
    method = str(settings.get("speculative", "none"))
    speculating = method != "none"
    found = server_plan.flags(
        {
            "--model-name": model.name,
            "--tp": placed.tensor,
            "--dp": placed.data if placed.data > 1 else None,
            "--ep": placed.expert if placed.expert > 1 else None,
            "--session-len": context,
            "--max-batch-size": settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT),
            "--max-prefill-token-num": settings.get("max_batched_tokens"),
            "--cache-max-entry-count": int(settings.get("memory_percent", MEMORY_PERCENT_DEFAULT)) / 100,
            "--quant-policy": KV_CACHE_DTYPES[str(settings.get("kv_cache_dtype", "auto"))],
            "--model-format": _MODEL_FORMATS.get(model.quantisation or ""),
            "--speculative-algorithm": SPECULATIVE[method] if speculating else None,
            "--speculative-num-draft-tokens": settings.get("speculative_tokens", 1) if speculating else None,
            "--speculative-draft-model": settings["speculative_model"] if method in _WITH_MODEL else None,
        }
    )
    return [*found, "--enable-prefix-caching"] if settings.get("prefix_cache") else found
