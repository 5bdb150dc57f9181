"""The client: one object with one attribute per noun."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from yunhe.sdk.adaptations import Adaptations
from yunhe.sdk.chat import Chat
from yunhe.sdk.deployments import Deployments, Events, Replicas
from yunhe.sdk.keys import Keys
from yunhe.sdk.ledger import Ledger
from yunhe.sdk.models import Models
from yunhe.sdk.pool import Centres, Pool
from yunhe.sdk.prices import Prices
from yunhe.sdk.projects import Organisations, Projects
from yunhe.sdk.recipes import RecipeKeys, Recipes
from yunhe.sdk.rollouts import Rollouts
from yunhe.sdk.sessions import Sessions
from yunhe.sdk.status import Instance
from yunhe.sdk.transport import Transport
from yunhe.sdk.users import Users


class Client:
    """Talks to one instance; every method raises ``ApiError`` or a subclass of it.

    ``base_url`` with or without ``/v1``; ``key`` is an API key or a session's token. ``retries`` bounds how often a
    reading call is repeated where repeating can help.
    """

    def __init__(self, base_url: str, key: str | None = None, *, timeout_s: float = 30.0, retries: int = 2) -> None:
        self._transport = Transport(base_url, key, timeout_s=timeout_s, retries=retries)
        self.sessions = Sessions(self._transport)
        self.instance = Instance(self._transport)
        self.organisations = Organisations(self._transport)
        self.projects = Projects(self._transport)
        self.users = Users(self._transport)
        self.keys = Keys(self._transport)
        self.models = Models(self._transport)
        self.deployments = Deployments(self._transport)
        self.rollouts = Rollouts(self._transport)
        self.adaptations = Adaptations(self._transport)
        self.recipes = Recipes(self._transport)
        self.recipe_keys = RecipeKeys(self._transport)
        self.replicas = Replicas(self._transport)
        self.events = Events(self._transport)
        self.centres = Centres(self._transport)
        self.pool = Pool(self._transport)
        self.prices = Prices(self._transport)
        self.ledger = Ledger(self._transport)
        self.chat = Chat(self._transport)

    @property
    def root(self) -> str:
        """The instance's address, without /v1."""
        return self._transport.root

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
