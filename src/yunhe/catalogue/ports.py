"""The Protocol of inference engines (entry point group ``yunhe.engines``) and what it speaks in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from yunhe.catalogue.model import ExternalServer, Model, Recipe, SettingValue
from yunhe.pool.model import Card

#: Placeholder that the agent replaces by a key of the replica's own.
ENGINE_KEY: Final = "@ENGINE_KEY@"
#: ``Engine.version`` of a driver whose product is not here: it can plan a launch, and start none.
NOT_INSTALLED: Final = "not installed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an engine can run a model on a chip, with the reason when not."""

    supported: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class UsageProbe:
    """How to read cumulative token counts from a running stream, so that an interrupted one is billed exactly.

    The gateway adds ``request_fields`` to the request, keeps the last event that holds ``chunk_key``, removes that
    member from what the client sees, and parses it only when the stream ends early. With ``chunk_key`` empty the
    engine offers nothing and delivered events are counted instead.
    """

    request_fields: dict[str, SettingValue] = field(default_factory=dict)
    #: Top-level member of each event, an object without nested objects.
    chunk_key: str = ""
    #: Members of that object whose sum is the prompt's tokens, of which ``cached_field`` came from the cache.
    prompt_fields: tuple[str, ...] = ()
    cached_field: str = ""
    completion_field: str = ""


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """How to start one replica. Pure data, so that it can be tested for chips that are not here.

    ``{port}`` does not occur: the plan is made for a port that is already chosen. With ``port`` 0 the engine chooses
    and writes the number as text into ``port_file`` below its working directory.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    files: dict[str, str]
    #: Base URL before ``/v1``; holds ``:0`` while the engine has yet to choose the port.
    base_url: str
    port_file: str | None
    health_path: str
    metrics_path: str | None
    #: Name by which the server knows the model.
    upstream_model: str
    #: Requests that it serves at once.
    slots: int
    usage_probe: UsageProbe
    memory_bytes: int | None
    cpu_cores: int | None
    #: True when a server that already runs is attached to and nothing is started (argv is empty).
    attached: bool = False
    #: Key that callers must send; ``ENGINE_KEY`` here and in ``files`` stands for a fresh one that the agent makes.
    api_key: str | None = None
    #: Names of cumulative counters on the metrics page, "" where the engine has none. Where ``cached_counter`` is
    #: named, the prompt's tokens are the sum of both.
    prompt_counter: str = ""
    cached_counter: str = ""
    completion_counter: str = ""
    #: How it tells log-probabilities of a given text: ``stepwise`` (``/completion`` with ``n_probs``, a token at each
    #: request) or ``whole_prompt`` (``/v1/completions`` with ``prompt_logprobs``); "" where it cannot.
    logprobs: str = ""


@dataclass(frozen=True, slots=True)
class SettingsSpace:
    """The settings that adaptation may search: name -> values to try, first is the default."""

    choices: Mapping[str, Sequence[SettingValue]]


@dataclass(frozen=True, slots=True)
class InstallStep:
    """One command of an installation. Paths in it are absolute: the plan is made for a directory."""

    #: For the progress bar: "Compile the server".
    title: str
    argv: tuple[str, ...]
    cwd: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    #: On two quiet cores, for the progress bar's proportions; measured where the plan says so.
    expected_s: float = 1.0
    #: Regular expression with groups ``done`` and ``total``, searched in each line of output; "": it says nothing.
    progress: str = ""


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """How to install an engine into a directory of its own. Pure data; the installer carries it out."""

    engine: str
    #: What is installed, in the product's own numbering.
    version: str
    #: One sentence: what it is, its licence, what it needs on disk.
    summary: str
    steps: tuple[InstallStep, ...]
    #: How the engine is started, absolute. The digest of its first word, a file, names the build.
    command: tuple[str, ...]
    #: Must exit with 0 in a process of its own before the engine counts as installed: a build may crash on this host.
    smoke: tuple[str, ...]
    #: Programs that must be on the path -> the package that brings them (Debian's name).
    needs: dict[str, str] = field(default_factory=dict)
    disk_bytes: int = 0
    #: What only the installation needed; removed at its end.
    discard: tuple[Path, ...] = ()


class Installs(Protocol):
    """Optional capability of an engine's driver: it can be installed here from package registries."""

    def install_plan(self, directory: Path, instruction_sets: Sequence[str]) -> InstallPlan:
        """How to install it below ``directory`` on a host with these instruction sets (as a CPU card's features).

        Raises InvalidRequest where no build of it can run here, with the reason.
        """
        ...


class Ranked(Protocol):
    """Optional capability of an engine's driver: not to be the first choice."""

    #: A deployment that leaves the engine open gets one of the lowest; 0 is that of a driver which says nothing. Above
    #: are builds of a site's own, which a recipe has to prove first.
    rank: int


class Engine(Protocol):
    """An inference engine's driver. Made without arguments; all methods are pure."""

    #: Entry-point name, shown to users.
    name: str
    #: Version of the installed product, or "external".
    version: str

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """Whether it can run this model on this card (None: an attached server needs no card)."""
        ...

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """What may be searched, defaults first."""
        ...

    def launch(
        self,
        model: Model,
        recipe: Recipe,
        cards: Sequence[Card],
        weights: Path | None,
        external: ExternalServer | None,
    ) -> LaunchPlan:
        """How to start it. Raises InvalidRequest for settings that it does not know or values out of range."""
        ...
