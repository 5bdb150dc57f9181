"""What the drivers of servers that are started by a command share: finding the product, reading settings, the plan."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.catalogue.ports import NOT_INSTALLED, LaunchPlan, UsageProbe, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines import installed
from yunhe.drivers.engines.compatibility import Answer, verdict
from yunhe.drivers.engines.settings import Rule, Whole, checked
from yunhe.pool.model import Card

#: Where the port stands in a command and in files, until ``port_keeper`` has chosen it.
PORT: Final = "@PORT@"
PORT_FILE: Final = "port"
#: Settings that are texts, and so have no rule of numbers or choices. Every driver knows the first.
TEXTS: Final = ("executable", "devices", "speculative_model")
_TEXT_CHARS_MAX: Final = 4096
#: A model's name may hold a dot too, so other ends are no files.
_FILES_OF_FOLDERS: Final = (".safetensors", ".json", ".xml")
_DEVICES: Final = re.compile(r"[A-Za-z0-9-]+(,[A-Za-z0-9-]+)*")
PARALLEL_RULES: Final[dict[str, Rule]] = {
    "tensor_parallel": Whole(1, 1024),
    "pipeline_parallel": Whole(1, 1024),
    "data_parallel": Whole(1, 1024),
    "expert_parallel": Whole(1, 1024),
}
SERVER_RULES: Final[dict[str, Rule]] = {
    "port": Whole(0, 65_535),
    "max_num_seqs": Whole(1, 65_536),
    "context_length": Whole(256, 16_777_216),
}


@dataclass(frozen=True, slots=True)
class Product:
    """An engine as it is, or is not, on this host."""

    #: "" when it is not here.
    version: str
    command: str

    @property
    def shown_version(self) -> str:
        """For tables."""
        return self.version or NOT_INSTALLED


def find_product(name: str, command: str, package: str | None = None) -> Product:
    """Look for an engine: the command that ``YUNHE_ENGINE_NAME`` names, what the installer put here, the package beside
    us, the command on PATH."""
    named = os.environ.get(command_variable(name), "")
    if named:
        return Product("named by the environment", named)
    here = installed.find(name)
    if here is not None:
        return Product(here.version, here.command[0])
    if package is not None:
        try:
            return Product(metadata.version(package), command)
        except metadata.PackageNotFoundError:
            pass
    return Product("on the path" if shutil.which(command) else "", command)


def command_variable(name: str) -> str:
    """The environment variable of the agent that names an engine's command."""
    return f"YUNHE_ENGINE_{name.upper()}"


def judge(name: str, product: Product, model: Model, card: Card, remedy: str) -> Verdict:
    """By the published tables and by what is installed. What the tables do not speak of is left to a trial."""
    answer = published(name, product.version, model, card)
    if answer.status == "not":
        return Verdict(False, f"{answer.reason} ({', '.join(answer.sources)})")
    if not product.version:
        needs = f", with {answer.plugin}" if answer.plugin else ""
        return Verdict(
            False,
            f"{name} is not installed here; {remedy}{needs}, or name its command in {command_variable(name)} "
            "in the environment of the agent",
        )
    if answer.status == "unknown" or answer.experimental:
        return Verdict(True, f"{answer.reason}; a trial decides")
    return Verdict(True)


def published(name: str, version: str, model: Model, card: Card) -> Answer:
    """What the tables say of this model on this card."""
    number = version if version[:1].isdigit() else ""
    return verdict(card.maker, name, number, model.architecture, model.quantisation or "unstated", card.chip)


def read_settings(
    name: str, recipe: Recipe, rules: Mapping[str, Rule], text_names: Sequence[str] = TEXTS
) -> dict[str, SettingValue]:
    """The recipe's settings, checked. Raises InvalidRequest that names every problem."""
    texts = {key: value for key, value in recipe.settings.items() if key in text_names}
    problems = [
        f"settings.{key}: must be a text of at most {_TEXT_CHARS_MAX} characters that does not begin with a dash"
        for key, value in texts.items()
        if not isinstance(value, str) or not _sound(value)
    ]
    devices = texts.get("devices")
    if isinstance(devices, str) and not _DEVICES.fullmatch(devices):
        problems.append("settings.devices: must be numbers or identifiers with commas between")
    if problems:
        raise InvalidRequest(f"The settings do not suit the engine {name}.", fields=problems)
    others = {key: value for key, value in recipe.settings.items() if key not in texts}
    return {**texts, **checked(name, others, rules)}


def _sound(text: str) -> bool:
    return 0 < len(text) <= _TEXT_CHARS_MAX and not text.startswith("-") and text.isprintable()


def refuse(name: str, problems: Sequence[str]) -> None:
    """Raises InvalidRequest when there are problems."""
    if problems:
        raise InvalidRequest(f"The settings of {name} do not go together.", fields=list(problems))


def weights_folder(name: str, weights: Path | None, external: ExternalServer | None) -> Path:
    """The folder with configuration and weights. Raises InvalidRequest without one."""
    if weights is None or external is not None:
        raise InvalidRequest(f"{name} starts from a folder of weights.", fields=["external: not for this engine"])
    return weights.parent if weights.suffix in _FILES_OF_FOLDERS else weights


def context_length(model: Model, settings: Mapping[str, SettingValue], problems: list[str]) -> int:
    """Tokens of a sequence at most; a problem when that is more than the model has."""
    wanted = int(settings.get("context_length", model.context_length))
    if wanted > model.context_length:
        problems.append(f"settings.context_length: {model.name} has at most {model.context_length}")
    return wanted


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model is spread over cards."""

    tensor: int
    pipeline: int
    data: int
    #: Ranks that share the experts; 1 leaves them with the tensor-parallel ranks.
    expert: int

    @property
    def cards(self) -> int:
        """Cards that it takes."""
        return self.tensor * self.pipeline * self.data


def layout(settings: Mapping[str, SettingValue], cards: Sequence[Card], problems: list[str]) -> Layout:
    """As the settings say; what they leave open is tensor parallelism over all cards."""
    pipeline = int(settings.get("pipeline_parallel", 1))
    data = int(settings.get("data_parallel", 1))
    tensor = int(settings.get("tensor_parallel", max(1, len(cards) // (pipeline * data))))
    made = Layout(tensor, pipeline, data, int(settings.get("expert_parallel", 1)))
    if cards and made.cards != len(cards):
        problems.append(
            f"settings.tensor_parallel: {tensor} x pipeline {pipeline} x data {data} is {made.cards} cards, "
            f"placed are {len(cards)}"
        )
    return made


def one_maker(name: str, cards: Sequence[Card]) -> Card | None:
    """The first card. Raises InvalidRequest when cards of several makers are mixed."""
    if len({(card.maker, card.kind) for card in cards}) > 1:
        raise InvalidRequest(f"{name} runs on cards of one maker.", fields=["cards: are of several makers"])
    return cards[0] if cards else None


def visible_devices(
    names: Iterable[str], settings: Mapping[str, SettingValue], cards: Sequence[Card], uuid_prefixes: tuple[str, ...]
) -> dict[str, str]:
    """Variables that show the engine its cards: the given numbers, else identities where the runtime takes them."""
    chosen = str(settings.get("devices", ""))
    if not chosen and uuid_prefixes and cards and all(card.uid.startswith(uuid_prefixes) for card in cards):
        chosen = ",".join(card.uid for card in cards)
    return dict.fromkeys(names, chosen) if chosen else {}


def command(product: Product, settings: Mapping[str, SettingValue]) -> str:
    """The engine's own command: the recipe's, else the one that was found."""
    return str(settings.get("executable", product.command))


@dataclass(frozen=True, slots=True)
class Server:
    """What differs between engines in a plan."""

    command: tuple[str, ...]
    env: dict[str, str]
    files: dict[str, str]
    upstream_model: str
    slots: int
    health_path: str = "/health"
    metrics_path: str | None = "/metrics"
    api_key: str | None = None
    #: Files that hold the port: template -> file that is made of it.
    fill: tuple[tuple[str, str], ...] = ()
    #: Variables that take the absolute path of a file in the working directory.
    path_env: tuple[tuple[str, str], ...] = ()
    usage_probe: UsageProbe = field(default_factory=UsageProbe)
    cpu_cores: int | None = None
    prompt_counter: str = ""
    cached_counter: str = ""
    completion_counter: str = ""
    logprobs: str = ""


def plan(server: Server, settings: Mapping[str, SettingValue]) -> LaunchPlan:
    """The whole plan: the command under ``port_keeper``, on this host's loopback address only."""
    keeper = [sys.executable, "-m", "yunhe.drivers.engines.port_keeper"]
    keeper += ["--port", str(settings.get("port", 0)), "--port-file", PORT_FILE]
    for source, target in server.fill:
        keeper += ["--fill", f"{source}={target}"]
    for name, target in server.path_env:
        keeper += ["--path-env", f"{name}={target}"]
    return LaunchPlan(
        argv=(*keeper, "--", *server.command),
        env=server.env,
        files=server.files,
        base_url="http://127.0.0.1:0",
        port_file=PORT_FILE,
        health_path=server.health_path,
        metrics_path=server.metrics_path,
        upstream_model=server.upstream_model,
        slots=server.slots,
        usage_probe=server.usage_probe,
        memory_bytes=None,
        cpu_cores=server.cpu_cores,
        api_key=server.api_key,
        prompt_counter=server.prompt_counter,
        cached_counter=server.cached_counter,
        completion_counter=server.completion_counter,
        logprobs=server.logprobs,
    )


def flags(values: Mapping[str, SettingValue | None]) -> list[str]:
    """Name and value of each, those without a value left out."""
    found: list[str] = []
    for name, value in values.items():
        if value is not None:
            found += [name, str(value)]
    return found
