"""Engine driver for servers that already run: what speaks OpenAI's API becomes a replica, nothing is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yunhe.catalogue.model import ExternalServer, Model, Recipe
from yunhe.catalogue.ports import LaunchPlan, SettingsSpace, UsageProbe, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines.settings import checked
from yunhe.pool.model import Card


class ExternalEngine:
    """An OpenAI-compatible server that somebody else keeps running."""

    name = "external"
    version = "external"

    def supports(self, model: Model, card: Card | None) -> Verdict:
        """Any model, where a server is named; it needs no card of ours."""
        if card is not None:
            return Verdict(False, "it attaches to a server that already runs, and takes no card")
        return Verdict(True)

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        """Nothing: the server's owner sets it up."""
        return SettingsSpace({})

    def launch(
        self,
        model: Model,
        recipe: Recipe,
        cards: Sequence[Card],
        weights: Path | None,
        external: ExternalServer | None,
    ) -> LaunchPlan:
        """Attach to the server; its health is its list of models."""
        checked(self.name, recipe.settings, {})
        if external is None:
            raise InvalidRequest("An external deployment names its server.", fields=["external.base_url: is missing"])
        return LaunchPlan(
            argv=(),
            env={},
            files={},
            base_url=external.base_url.rstrip("/").removesuffix("/v1"),
            port_file=None,
            health_path="/v1/models",
            metrics_path=None,
            upstream_model=external.upstream_model,
            slots=external.slots,
            usage_probe=UsageProbe(),
            memory_bytes=None,
            cpu_cores=None,
            attached=True,
            api_key=external.api_key,
        )
