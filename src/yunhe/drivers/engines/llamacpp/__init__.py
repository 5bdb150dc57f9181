"""Engine driver for llama.cpp's own server, a build that the site brings: GGUF weights on CPUs and GPUs.

Which instructions and cards it uses was decided when it was built; ``executable`` names the build. Facts (measured
2026): the context size is the sum over all slots; AMX is used only through repacked weights; a build with GCC 12 and
AMX crashes unless it was made with ``-fno-tree-dse -fno-dse``, so a trial in a process of its own comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import ENGINE_KEY, InstallPlan, LaunchPlan, SettingsSpace, UsageProbe, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines import server_plan
from yunhe.drivers.engines.llamacpp import installation
from yunhe.drivers.engines.server_plan import PORT, SERVER_RULES, Product, Server
from yunhe.drivers.engines.settings import Choice, Rule, Whole
from yunhe.pool.model import Card

MAX_NUM_SEQS_DEFAULT: Final = 4
PROMPT_CACHE_MIB_DEFAULT: Final = 256
CACHE_TYPES: Final = ("f16", "bf16", "q8_0", "q4_0")
#: How the engine's threads wait for each other between operations; ``steady`` spins for some milliseconds. Measured on
#: two cores with huge pages, eight requests and one, tokens/s: alone brief 496 and 206, steady 598 and 209; beside a
#: program that kept one core busy brief 241 and 73, steady 62 and 22. So it is searched nowhere: hosts are shared.
THREAD_WAIT_ENV: Final = {
    "brief": ("GOMP_SPINCOUNT", "300"),
    "steady": ("GOMP_SPINCOUNT", "100000"),
    "active": ("OMP_WAIT_POLICY", "active"),
    "passive": ("OMP_WAIT_POLICY", "passive"),
}
#: Asks the C library for huge pages below the weights; fewer misses when every weight is read for every token.
HUGE_PAGES_ENV: Final = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
SPECULATIVE: Final = {"none": "", "ngram": "ngram-simple", "mtp": "draft-mtp", "draft_model": "draft-simple"}
#: Maker -> variable that shows a process its cards.
VISIBLE_DEVICES: Final = {
    "nvidia": "CUDA_VISIBLE_DEVICES",
    "amd": "HIP_VISIBLE_DEVICES",
    "huawei": "ASCEND_RT_VISIBLE_DEVICES",
    "moore-threads": "MUSA_VISIBLE_DEVICES",
    "intel": "ZE_AFFINITY_MASK",
}
RULES: Final[dict[str, Rule]] = {
    **SERVER_RULES,
    "threads": Whole(1, 1024),
    "max_batched_tokens": Whole(32, 65_536),
    "ubatch": Whole(32, 65_536),
    "flash_attention": Choice(("auto", "on", "off")),
    "kv_cache_dtype": Choice(CACHE_TYPES),
    "prefix_cache": Choice((True, False)),
    "prompt_cache_mib": Whole(0, 1_048_576),
    "repack": Choice((True, False)),
    "split": Choice(("layer", "row")),
    "gpu_layers": Whole(0, 10_000),
    "thread_wait": Choice(tuple(THREAD_WAIT_ENV)),
    "huge_pages": Choice((True, False)),
    "speculative": Choice(tuple(SPECULATIVE)),
    "speculative_tokens": Whole(1, 64),
}
_KEY_FILE: Final = "key"
_PROBE: Final = UsageProbe(
    request_fields={"timings_per_token": True},
    chunk_key="timings",
    prompt_fields=("prompt_n", "cache_n"),
    cached_field="cache_n",
    completion_field="predicted_n",
)


class LlamacppEngine:
    """``llama-server`` of a build that the site brings."""

    name = "llamacpp"
    #: Behind what comes with the package: a recipe has to prove a build first.
    rank = 1

    def __init__(self, product: Product | None = None) -> None:
        self._product = product or server_plan.find_product(self.name, "llama-server")
        self.version = self._product.shown_version

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """GGUF weights on a card that has a backend."""
        if model.weights.format != "gguf":
            return Verdict(False, f"it reads GGUF weights, these are {model.weights.format}")
        if card is None:
            return Verdict(False, "it needs a card")
        if card.kind != "cpu" and card.maker not in VISIBLE_DEVICES:
            return Verdict(False, f"it has no backend for a {card.kind} by {card.maker}")
        return server_plan.judge(self.name, self._product, model, card, "put a build's llama-server on the path")

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first."""
        cores = (card.cores if card else None) or 1
        return SettingsSpace(
            {
                "max_num_seqs": (MAX_NUM_SEQS_DEFAULT, 8, 16, 2, 1),
                "huge_pages": (False, True),
                "threads": tuple(sorted({cores, max(1, cores // 2)}, reverse=True)),
                "kv_cache_dtype": ("f16", "q8_0"),
                "ubatch": (512, 128, 256),
                "flash_attention": ("auto", "off"),
                "max_batched_tokens": (2048, 512),
                "repack": (True, False),
                "speculative": ("none", "ngram"),
            }
        )

    def install_plan(self, directory: Path, instruction_sets: Sequence[str]) -> InstallPlan:
        """A build for this host's instructions."""
        return installation.plan(directory, instruction_sets)

    def launch(
        self,
        model: Model,
        recipe: Recipe,
        cards: Sequence[Card],
        weights: Path | None,
        external: ExternalServer | None,
    ) -> LaunchPlan:
        """``llama-server`` under the port keeper, with its key in a file."""
        settings = server_plan.read_settings(self.name, recipe, RULES)
        if weights is None or external is not None:
            raise InvalidRequest("llamacpp starts from a file of weights.", fields=["external: not for this engine"])
        card = server_plan.one_maker(self.name, cards)
        problems: list[str] = []
        context = server_plan.context_length(model, settings, problems)
        problems += _problems(settings)
        server_plan.refuse(self.name, problems)
        slots = int(settings.get("max_num_seqs", MAX_NUM_SEQS_DEFAULT))
        command = [server_plan.command(self._product, settings), "--model", str(weights), "--alias", model.name]
        command += ["--host", "127.0.0.1", "--port", PORT, "--api-key-file", _KEY_FILE]
        command += ["--metrics", "--no-webui", "--fit", "off"]
        command += [*_arguments(settings, card, slots, context), *_placement(settings, cards), *_speculative(settings)]
        if "embeddings" in model.capabilities and "chat" not in model.capabilities:
            command.append("--embeddings")
        variable = VISIBLE_DEVICES.get(card.maker) if card is not None and card.kind != "cpu" else None
        server = Server(
            command=tuple(command),
            env={
                **server_plan.visible_devices([variable] if variable else [], settings, cards, ("GPU-",)),
                **_thread_env(settings),
            },
            files={_KEY_FILE: ENGINE_KEY},
            upstream_model=model.name,
            slots=slots,
            api_key=ENGINE_KEY,
            usage_probe=_PROBE,
            cpu_cores=card.cores if card is not None and card.kind == "cpu" else None,
            prompt_counter="llamacpp:prompt_tokens_total",
            cached_counter="llamacpp:prompt_tokens_cached_total",
            completion_counter="llamacpp:tokens_predicted_total",
            logprobs="stepwise",
        )
        return server_plan.plan(server, settings)


def _thread_env(settings: Mapping[str, SettingValue]) -> dict[str, str]:
    wait = [THREAD_WAIT_ENV[str(settings.get("thread_wait", "brief"))]]
    return dict([*wait, *([HUGE_PAGES_ENV] if settings.get("huge_pages", False) else [])])


def _problems(settings: Mapping[str, SettingValue]) -> list[str]:
    problems = []
    if int(settings.get("ubatch", 512)) > int(settings.get("max_batched_tokens", 2048)):
        problems.append("settings.ubatch: must not be larger than max_batched_tokens")
    if settings.get("kv_cache_dtype") in ("q8_0", "q4_0") and settings.get("flash_attention") == "off":
        problems.append("settings.kv_cache_dtype: a quantised cache needs flash_attention")
    if settings.get("speculative") == "draft_model" and "speculative_model" not in settings:
        problems.append("settings.speculative_model: draft_model needs the path of its weights")
    return problems


def _arguments(settings: Mapping[str, SettingValue], card: Card | None, slots: int, context: int) -> list[str]:
    threads = settings.get("threads", (card.cores if card else None) or 1)
    cache_type = settings.get("kv_cache_dtype", "f16")
    found = server_plan.flags(
        {
            "--ctx-size": slots * context,
            "--parallel": slots,
            "--threads": threads,
            "--threads-batch": threads,
            "--batch-size": settings.get("max_batched_tokens", 2048),
            "--ubatch-size": settings.get("ubatch", 512),
            "--flash-attn": settings.get("flash_attention", "auto"),
            "--cache-type-k": cache_type,
            "--cache-type-v": cache_type,
            "--cache-ram": settings.get("prompt_cache_mib", PROMPT_CACHE_MIB_DEFAULT),
        }
    )
    found.append("--cache-prompt" if settings.get("prefix_cache", True) else "--no-cache-prompt")
    return found if settings.get("repack", True) else [*found, "--no-repack"]


def _placement(settings: Mapping[str, SettingValue], cards: Sequence[Card]) -> list[str]:
    if not cards or cards[0].kind == "cpu":
        return ["--gpu-layers", "0"]
    found = ["--gpu-layers", str(settings.get("gpu_layers", "all"))]
    return [*found, "--split-mode", str(settings.get("split", "layer"))] if len(cards) > 1 else found


def _speculative(settings: Mapping[str, SettingValue]) -> list[str]:
    method = str(settings.get("speculative", "none"))
    if method == "none":
        return []
    drafted = method != "ngram"
    return server_plan.flags(
        {
            "--spec-type": SPECULATIVE[method],
            "--spec-draft-n-max": settings.get("speculative_tokens", 3) if drafted else None,
            "--spec-ngram-simple-size-m": None if drafted else settings.get("speculative_tokens", 16),
            "--spec-draft-model": settings["speculative_model"] if method == "draft_model" else None,
        }
    )
