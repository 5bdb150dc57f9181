"""Engine driver for PyTorch on CPUs: transformers' models in bfloat16 behind a small server of ours (``served``).

What it is for: reading long prompts on processors with bfloat16 units, where weights of 16 bit need no unpacking. At
writing text it reads four times the bytes of 4-bit weights for every token, and is slower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import ENGINE_KEY, InstallPlan, LaunchPlan, SettingsSpace, UsageProbe, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines import server_plan
from yunhe.drivers.engines.pytorch import installation
from yunhe.drivers.engines.server_plan import PORT, SERVER_RULES, Product, Server
from yunhe.drivers.engines.settings import Choice, Rule, Whole
from yunhe.pool.model import Card

SLOTS_DEFAULT: Final = 8
PREFILL_CHUNK_DEFAULT: Final = 2048
#: Families whose layers all look at the whole context, as the server's cache wants it, each proven by a test against
#: transformers' own generation.
FAMILIES: Final = ("llama", "mistral", "qwen2", "qwen3", "qwen3moe", "qwen3_moe")
FORMATS: Final = ("gguf", "safetensors")
RULES: Final[dict[str, Rule]] = {
    "port": SERVER_RULES["port"],
    "context_length": SERVER_RULES["context_length"],
    "slots": Whole(1, 256),
    "threads": Whole(1, 1024),
    "dtype": Choice(("bf16", "f32")),
    "prefill_chunk": Whole(16, 65_536),
}
#: Threads wait briefly for each other, then sleep: hosts are shared. The names are those of the library's OpenMP.
_ENV: Final = {"GOMP_SPINCOUNT": "300"}
_KEY_FILE: Final = "key"
_PROBE: Final = UsageProbe(
    request_fields={"count_tokens": True},
    chunk_key="counts",
    prompt_fields=("prompt",),
    completion_field="completion",
)


class PytorchEngine:
    """transformers and torch in an environment of their own."""

    name = "pytorch"
    #: Behind what comes with the package: a recipe has to prove it first.
    rank = 1

    def __init__(self, product: Product | None = None) -> None:
        self._product = product or server_plan.find_product(self.name, installation.COMMAND)
        self.version = self._product.shown_version

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """Weights in GGUF or safetensors of a known family, on a CPU."""
        if model.weights.format not in FORMATS:
            return Verdict(False, f"it reads weights in {' and '.join(FORMATS)}, these are {model.weights.format}")
        if card is None:
            return Verdict(False, "it needs a card")
        if card.kind != "cpu":
            return Verdict(False, f"it runs on CPUs here, this is a {card.kind}")
        if model.architecture.lower() not in FAMILIES:
            return Verdict(False, f"its server knows {', '.join(FAMILIES)}, this is {model.architecture}")
        if "chat" not in model.capabilities and "completions" not in model.capabilities:
            return Verdict(False, "its server answers chat and completions only")
        return server_plan.judge(self.name, self._product, model, card, "run `yunhe engine install pytorch`")

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first."""
        cores = (card.cores if card else None) or 1
        return SettingsSpace(
            {
                "slots": (SLOTS_DEFAULT, 4, 16, 2, 1),
                "threads": tuple(sorted({cores, max(1, cores // 2)}, reverse=True)),
                "dtype": ("bf16", "f32"),
                "prefill_chunk": (PREFILL_CHUNK_DEFAULT, 512),
            }
        )

    def install_plan(self, directory: Path, instruction_sets: Sequence[str]) -> InstallPlan:
        """An environment with the libraries, and the server."""
        return installation.plan(directory)

    def launch(
        self,
        model: Model,
        recipe: Recipe,
        cards: Sequence[Card],
        weights: Path | None,
        external: ExternalServer | None,
    ) -> LaunchPlan:
        """The server under the port keeper, with its key in a file."""
        settings = server_plan.read_settings(self.name, recipe, RULES, ("executable",))
        if weights is None or external is not None:
            raise InvalidRequest("pytorch starts from weights.", fields=["external: not for this engine"])
        card = server_plan.one_maker(self.name, cards)
        if card is not None and card.kind != "cpu":
            raise InvalidRequest("pytorch runs on CPUs here.", fields=[f"cards: are of the kind {card.kind}"])
        problems: list[str] = []
        context = server_plan.context_length(model, settings, problems)
        server_plan.refuse(self.name, problems)
        slots = int(settings.get("slots", SLOTS_DEFAULT))
        if model.weights.format != "gguf":
            weights = server_plan.weights_folder(self.name, weights, external)
        command = [server_plan.command(self._product, settings), "--weights", str(weights), "--name", model.name]
        command += ["--port", PORT, "--key-file", _KEY_FILE]
        command += _arguments(settings, card, slots, context)
        server = Server(
            command=tuple(command),
            env=dict(_ENV),
            files={_KEY_FILE: ENGINE_KEY},
            upstream_model=model.name,
            slots=slots,
            api_key=ENGINE_KEY,
            usage_probe=_PROBE,
            cpu_cores=card.cores if card is not None else None,
            prompt_counter="prompt_tokens_total",
            completion_counter="completion_tokens_total",
            logprobs="whole_prompt",
        )
        return server_plan.plan(server, settings)


def _arguments(settings: Mapping[str, SettingValue], card: Card | None, slots: int, context: int) -> list[str]:
    return server_plan.flags(
        {
            "--slots": slots,
            "--context": context,
            "--threads": settings.get("threads", (card.cores if card else None) or 1),
            "--dtype": settings.get("dtype", "bf16"),
            "--prefill-chunk": settings.get("prefill_chunk", PREFILL_CHUNK_DEFAULT),
        }
    )
