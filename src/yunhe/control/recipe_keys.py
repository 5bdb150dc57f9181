"""The trust list: whose recipes are believed here. This instance's own key is in it from the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from yunhe.adapt.signing import Revocation, Trust, TrustedKey, key_id
from yunhe.control.effects import Effects
from yunhe.control.state import ControlState
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.store import recipes
from yunhe.store.database import Tx
from yunhe.store.recipes import KeptKey

OWN_NAME: Final = "this instance"
_LIST: Final = "List the keys: yunhe recipe trust list."


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key of the trust list."""

    key: KeptKey
    #: Whether this instance signs with it.
    own: bool


class RecipeKeys:
    """The trust list; who may change it is the caller's to check."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def list(self) -> tuple[KeyView, ...]:
        """The own key first, then by name."""
        async with self._state.db.read() as tx:
            found = await trusted_keys(tx, self._state)
        own_id = self._state.secrets.signing_key.id
        views = [KeyView(key, key.key_id == own_id) for key in found]
        return tuple(sorted(views, key=lambda view: (not view.own, view.key.name, view.key.key_id)))

    async def add(self, name: str, public_key: str, valid_from: float | None, valid_until: float | None) -> KeyView:
        """Believe what this key signs; ``public_key`` is 64 hexadecimal digits. Raises Conflict, InvalidRequest."""
        now = self._state.clock.unix_s()
        begins = now if valid_from is None else valid_from
        if valid_until is not None and valid_until <= begins:
            rule = "must be later than valid_from"
            raise InvalidRequest(f"valid_until {rule}", fields=[f"body.valid_until: {rule}"])
        made = KeptKey(key_id(bytes.fromhex(public_key)), name, public_key, begins, valid_until, now)
        effects = Effects(now)
        async with self._state.db.write() as tx:
            if made.key_id == self._state.secrets.signing_key.id:
                raise Conflict("This is the key of this instance, which is trusted already.", next_step=_LIST)
            await recipes.add_key(tx, made)
            effects.event("recipe", made.key_id, "recipe_key_trusted", f"recipes of {name} are believed")
            await effects.write(tx)
        return KeyView(made, own=False)

    async def remove(self, identifier: str) -> None:
        """Believe it no longer, as if it had never been in the list. Raises NotFound, Conflict for the own key."""
        if identifier == self._state.secrets.signing_key.id:
            raise Conflict(
                "The key of this instance cannot be removed, only revoked.",
                next_step="Revoke it if it was stolen: yunhe recipe trust revoke.",
            )
        effects = Effects(self._state.clock.unix_s())
        async with self._state.db.write() as tx:
            if not await recipes.remove_key(tx, identifier):
                raise _no_key(identifier)
            effects.event("recipe", identifier, "recipe_key_removed", "recipes of this key are believed no longer")
            await effects.write(tx)

    async def revoke(self, identifier: str, why: str) -> KeyView:
        """Refuse whatever it signed, also before. Raises NotFound, Conflict when it was revoked before."""
        now = self._state.clock.unix_s()
        own = identifier == self._state.secrets.signing_key.id
        effects = Effects(now)
        async with self._state.db.write() as tx:
            if own:
                await recipes.ensure_key(tx, own_key(self._state))
            before = {key.key_id: key for key in await recipes.trusted(tx)}
            if identifier not in before:
                raise _no_key(identifier)
            if not await recipes.revoke_key(tx, identifier, now, why):
                raise Conflict(f"The key was revoked before: {before[identifier].revoked_why}", next_step=_LIST)
            effects.event("recipe", identifier, "recipe_key_revoked", why, "warning")
            await effects.write(tx)
            after = next(key for key in await recipes.trusted(tx) if key.key_id == identifier)
        return KeyView(after, own)


def own_key(state: ControlState) -> KeptKey:
    """This instance's key, as the list shows it."""
    key = state.secrets.signing_key
    return KeptKey(key.id, OWN_NAME, key.public_key.hex(), 0.0, None, 0.0)


async def trusted_keys(tx: Tx, state: ControlState) -> list[KeptKey]:
    """The list with the own key, whether that was written down yet or not."""
    found = await recipes.trusted(tx)
    own = own_key(state)
    return found if any(key.key_id == own.key_id for key in found) else [own, *found]


async def trust_list(tx: Tx, state: ControlState) -> Trust:
    """As signatures are checked against it."""
    return Trust(
        keys={key.key_id: _trusted(key) for key in await trusted_keys(tx, state)},
        revoked_recipes={
            one.id: Revocation(at_unix_s=one.revoked_at or 0.0, why=one.revoked_why or "no reason given")
            for one in await recipes.revoked_recipes(tx)
        },
    )


def _trusted(key: KeptKey) -> TrustedKey:
    revoked = None
    if key.revoked_at is not None:
        revoked = Revocation(at_unix_s=key.revoked_at, why=key.revoked_why or "no reason given")
    return TrustedKey(
        name=key.name,
        public_key=key.public_key,
        valid_from_unix_s=key.valid_from,
        valid_until_unix_s=key.valid_until,
        revoked=revoked,
    )


def _no_key(identifier: str) -> NotFound:
    return NotFound(f"There is no key {identifier} in the trust list.", next_step=_LIST)
