"""Where an adaptation runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from yunhe.adapt.samples import SampleRules
from yunhe.agent.drivers import Engines
from yunhe.pool.model import Card, Node


@dataclass(frozen=True, slots=True)
class Place:
    """This centre, as one adaptation needs it."""

    engines: Engines
    cards: tuple[Card, ...]
    node: Node | None
    made_by: str
    directory: Path
    rules: SampleRules = field(default_factory=SampleRules)
