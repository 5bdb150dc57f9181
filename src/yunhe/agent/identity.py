"""Who this agent is: read from disk, or got from control by a join token."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from dataclasses import dataclass
from typing import Final, Protocol

from yunhe.agent import files
from yunhe.agent.control_client import Refused, Unanswered
from yunhe.agent.files import Identity, Layout
from yunhe.serve.sync import JoinAnswer, JoinRequest

_LOG = logging.getLogger(__name__)
RETRY_S: Final = 0.5
#: After a refusal; only a person can help then.
REFUSED_RETRY_S: Final = 10.0


class Joins(Protocol):
    """What joining needs of control."""

    async def join(self, request: JoinRequest) -> JoinAnswer:
        """As in Control."""
        ...


@dataclass(frozen=True, slots=True)
class Joiner:
    """Gets this agent its identity."""

    control: Joins
    layout: Layout
    driver: str
    #: Given by hand; empty when the token comes in the file ``join_token``.
    token: str = ""

    async def obtain(self) -> tuple[Identity, bool]:
        """The identity, and whether it is a new one. Waits for a token and for control.

        Raises Refused when control does not accept the token of an agent that never was one.
        """
        known = files.load(self.layout.identity, Identity)
        if known is not None:
            return known, False
        said = False
        while True:
            token = files.text(self.layout.join_token) or self.token
            try:
                if token:
                    return self._keep(await self.control.join(self._request(token))), True
            except Unanswered as error:
                if not said:
                    _LOG.warning("cannot join yet: %s", error)
            if not token and not said:
                _LOG.warning("no join token yet; it is looked for in %s", self.layout.join_token)
            said = True
            await asyncio.sleep(RETRY_S)

    async def renew(self) -> Identity | None:
        """Join again after control refused the identity; None while there is no token that it accepts."""
        token = files.text(self.layout.join_token)
        if not token:
            return None
        try:
            return self._keep(await self.control.join(self._request(token)))
        except (Refused, Unanswered) as error:
            _LOG.error("cannot join again: %s", error)
            return None

    def _request(self, token: str) -> JoinRequest:
        """The nonce is written down before it is used, so that repeating a lost joining is the same joining."""
        nonce = files.text(self.layout.nonce)
        if not nonce:
            nonce = secrets.token_hex(16)
            self.layout.nonce.write_text(nonce, encoding="ascii")
        return JoinRequest(token, self.driver, socket.gethostname(), nonce=nonce)

    def _keep(self, answer: JoinAnswer) -> Identity:
        identity = Identity(answer.centre_id, answer.centre_name, answer.agent_id, answer.agent_token)
        files.save(self.layout.identity, identity)
        self.layout.join_token.unlink(missing_ok=True)
        self.layout.nonce.unlink(missing_ok=True)
        _LOG.info("joined the centre %s as %s", identity.centre_name, identity.agent_id)
        return identity
