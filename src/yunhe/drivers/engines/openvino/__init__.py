"""Engine driver for OpenVINO Model Server: weights in OpenVINO's format on CPUs, and on GPUs and NPUs by Intel.

Parameters are those of its documentation (2026.3). ``/v1`` paths and a key file exist; booleans are texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import ENGINE_KEY, LaunchPlan, SettingsSpace, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines import server_plan
from yunhe.drivers.engines.server_plan import PORT, SERVER_RULES, Product, Server
from yunhe.drivers.engines.settings import Choice, Rule, Whole
from yunhe.pool.model import Card

MAX_NUM_SEQS_DEFAULT: Final = 256
#: Kind of card -> OpenVINO's device.
DEVICES: Final = {"cpu": "CPU", "gpu": "GPU", "npu": "NPU"}
_KEY_FILE: Final = "key"
RULES: Final[dict[str, Rule]] = {
    **{name: rule for name, rule in SERVER_RULES.items() if name != "context_length"},
    "max_batched_tokens": Whole(64, 1_048_576),
    "chunked_prefill": Choice((True, False)),
    "prefix_cache": Choice((True, False)),
    "kv_cache_dtype": Choice(("auto", "u8")),
    "kv_memory_gb": Whole(0, 4096),
    "distribution": Choice(("none", "tensor_parallel", "pipeline_parallel")),
}


class OpenvinoEngine:
    """``ovms``, OpenVINO Model Server."""

    name = "openvino"

    def __init__(self, product: Product | None = None) -> None:
        self._product = product or server_plan.find_product(self.name, "ovms")
        self.version = self._product.shown_version

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """OpenVINO weights on a CPU or on a card by Intel."""
        if model.weights.format != "openvino":
            return Verdict(False, f"it serves weights in OpenVINO's format, these are {model.weights.format}")
        if card is None:
            return Verdict(False, "it needs a card")
        if card.kind not in DEVICES or (card.kind != "cpu" and card.maker != "intel"):
            return Verdict(False, f"it has no device for a {card.kind} by {card.maker}")
        return server_plan.judge(self.name, self._product, model, card, "install OpenVINO Model Server")

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first."""
        return SettingsSpace(
            {
                "max_num_seqs": (MAX_NUM_SEQS_DEFAULT, 16, 64),
                "chunked_prefill": (True, False),
                "prefix_cache": (True, False),
                "kv_cache_dtype": ("auto", "u8"),
                "distribution": ("none", "tensor_parallel"),
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
        """``ovms`` under the port keeper, with its key in a file."""
        settings = server_plan.read_settings(self.name, recipe, RULES)
        folder = server_plan.weights_folder(self.name, weights, external)
        card = server_plan.one_maker(self.name, cards)
        kind = card.kind if card is not None else "cpu"
        if kind not in DEVICES:
            raise InvalidRequest("OpenVINO has no device for these cards.", fields=[f"cards: are of the kind {kind}"])
        slots = int(settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT))
        embeds = "embeddings" in model.capabilities and "chat" not in model.capabilities
        command = [server_plan.command(self._product, settings), "--rest_port", PORT]
        command += ["--rest_bind_address", "127.0.0.1", "--api_key_file", _KEY_FILE, "--metrics_enable"]
        command += [
            "--model_name",
            model.name,
            "--model_path",
            str(folder),
            "--target_device",
            DEVICES[kind],
        ]
        command += ["--task", "embeddings" if embeds else "text_generation"]
        command += [] if embeds else _generation(settings, slots)
        server = Server(
            command=tuple(command),
            env={},
            files={_KEY_FILE: ENGINE_KEY},
            upstream_model=model.name,
            slots=slots,
            health_path="/v2/health/ready",
            api_key=ENGINE_KEY,
            cpu_cores=card.cores if card is not None and kind == "cpu" else None,
        )
        return server_plan.plan(server, settings)


def _generation(settings: Mapping[str, SettingValue], slots: int) -> list[str]:
    cache = str(settings.get("kv_cache_dtype", "auto"))
    distribution = str(settings.get("distribution", "none"))
    return server_plan.flags(
        {
            "--max_num_seqs": slots,
            "--max_num_batched_tokens": settings.get("max_batched_tokens"),
            "--dynamic_split_fuse": "true" if settings.get("chunked_prefill", True) else "false",
            "--enable_prefix_caching": "true" if settings.get("prefix_cache", True) else "false",
            "--kv_cache_precision": None if cache == "auto" else cache,
            "--cache_size": settings.get("kv_memory_gb"),
            "--draft_source_model": settings.get("speculative_model"),
            "--model_distribution_policy": None if distribution == "none" else distribution.upper(),
        }
    )
