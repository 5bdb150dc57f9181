"""Ed25519 signatures of recipes, and why one is refused.

A signed recipe is an envelope: canonical JSON with the recipe, its content id, the id of the key and the signature over
the recipe's canonical bytes. The envelope holds no public key: who is believed stands in the reader's own trust list.
Nothing here reads a file, the clock or the system's randomness.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from yunhe.adapt.canonical import Json, NotCanonical, canonical_bytes, content_id, read_canonical
from yunhe.adapt.recipe_document import SCHEMA, Recipe, recipe_json
from yunhe.adapt.recipe_fields import Digest, Name, RecipeId, Sentence, UnixTime
from yunhe.core.clock import utc

ENVELOPE_SCHEMA: Final = "yunhe.signed-recipe/1"
SEED_BYTES: Final = 32
#: How far the maker's clock may be ahead of the reader's.
CLOCK_SKEW_S: Final = 300.0

Signature = Annotated[str, Meta(pattern="^[0-9a-f]{128}$", min_length=128, max_length=128)]
Refusal = Literal[
    "malformed",
    "wrong_schema",
    "altered",
    "unknown_key",
    "revoked_key",
    "expired",
    "not_yet_valid",
    "revoked_recipe",
]

NEXT_STEPS: Final[Mapping[Refusal, str]] = {
    "malformed": "Take the file again from where it was exported, byte for byte.",
    "wrong_schema": "Bring this side and the maker's side to the same release, then export again.",
    "altered": "Do not use it. Take the recipe again from its maker.",
    "unknown_key": "Ask the maker for the public key by another way, compare its id, then add it to the trust list.",
    "revoked_key": "Ask the maker for the recipe signed with a key that holds.",
    "expired": "Ask the maker for the recipe signed with the present key.",
    "not_yet_valid": "Check this machine's clock and the maker's.",
    "revoked_recipe": "Ask the maker for the recipe that took its place, or adapt the model again.",
}


class Envelope(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A signed recipe as it travels. Hexadecimal is lower-case, so that each value has one form."""

    schema: Literal["yunhe.signed-recipe/1"]
    recipe_id: RecipeId
    recipe: Recipe
    key_id: Digest
    #: Over the canonical bytes of ``recipe``.
    signature: Signature


class Revocation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From when on something no longer counts, and why."""

    at_unix_s: UnixTime
    why: Sentence


class TrustedKey(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key that is believed for a time."""

    #: Whose it is, as this side knows them.
    name: Name
    #: The 32 raw bytes (RFC 8032), hexadecimal.
    public_key: Digest
    valid_from_unix_s: UnixTime
    #: The first second in which it no longer holds; None: until revoked.
    valid_until_unix_s: UnixTime | None = None
    revoked: Revocation | None = None


class Trust(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The trust list: keys by their ids, and single recipes that were taken back, by theirs.

    Raises ValueError for a key that is not the one of its id.
    """

    keys: dict[Digest, TrustedKey]
    revoked_recipes: dict[RecipeId, Revocation] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, key in self.keys.items():
            if key_id(bytes.fromhex(key.public_key)) != name:
                raise ValueError(f"the public key of {key.name} is not the one of the id {name}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found. Only ``accepted`` gives a recipe to use."""

    refusal: Refusal | None
    #: In one sentence: who signed it when it is accepted, else exactly what is wrong.
    reason: str
    next_step: str
    #: Content id of the recipe in the envelope, once that is known to be right.
    recipe_id: str | None = None
    #: Name of the signer in the trust list, once the signature is known to be theirs.
    signed_by: str | None = None
    recipe: Recipe | None = None

    @property
    def accepted(self) -> bool:
        """Whether the recipe is what a trusted key signed, and both still hold."""
        return self.refusal is None


class SigningKey:
    """A private key. Never shown: not by repr, not by pickling."""

    __slots__ = ("_private",)

    def __init__(self, seed: bytes) -> None:
        """From 32 random bytes of the caller, which are the secret to keep. Raises ValueError for another length."""
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 key is made of {SEED_BYTES} random bytes, not of {len(seed)}")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)

    @property
    def public_key(self) -> bytes:
        """The 32 raw bytes of the public key (RFC 8032)."""
        return self._private.public_key().public_bytes_raw()

    @property
    def id(self) -> str:
        """Id of the key: sha256 of the public key, hexadecimal."""
        return key_id(self.public_key)

    def signature(self, data: bytes) -> bytes:
        """64 bytes; the same for the same data and key."""
        return self._private.sign(data)

    def __reduce__(self) -> str:
        raise TypeError("a signing key is not copied or written")


def key_id(public_key: bytes) -> str:
    """Id of a public key: sha256 of its 32 raw bytes, 64 lower-case hex digits."""
    return hashlib.sha256(public_key).hexdigest()


def sign(recipe: Recipe, key: SigningKey) -> bytes:
    """The envelope as bytes, ready to be kept or sent as they are.

    Raises BadRecipe or NotCanonical for a recipe that cannot be written.
    """
    document = recipe_json(recipe)
    data = canonical_bytes(document)
    return canonical_bytes(
        {
            "schema": ENVELOPE_SCHEMA,
            "recipe_id": content_id(data),
            "recipe": document,
            "key_id": key.id,
            "signature": key.signature(data).hex(),
        }
    )


def check(envelope: bytes, trust: Trust, now_unix_s: float) -> Verdict:
    """Whether a signed recipe may be believed now; never raises for what the envelope holds.

    In this order, and the first fault decides: form, schema, content id, key known, signature, key revoked, key's
    time, recipe revoked. A revoked or expired key refuses whatever it signed, also before: the date in a recipe is the
    signer's own claim, and who steals a key can write an earlier one.
    """
    try:
        document = read_canonical(envelope)
        if unread := _unknown_schema(document):
            return _refused("wrong_schema", unread)
        found = msgspec.convert(document, Envelope)
    except NotCanonical as error:
        return _refused("malformed", error.message)
    except msgspec.ValidationError as error:
        return _refused("malformed", str(error))
    assert isinstance(document, Mapping)
    return _believed(found, canonical_bytes(document["recipe"]), trust, now_unix_s)


def _unknown_schema(document: Json) -> str:
    """What schema an envelope or its recipe says to be of, when it is not the one read here; empty when it is."""
    recipe = document.get("recipe") if isinstance(document, Mapping) else None
    for part, due in ((document, ENVELOPE_SCHEMA), (recipe, SCHEMA)):
        said = part.get("schema") if isinstance(part, Mapping) else None
        if isinstance(said, str) and said != due:
            return f"the schema is {said[:80]!r}, this release reads {due!r}"
    return ""


def _believed(found: Envelope, data: bytes, trust: Trust, now_unix_s: float) -> Verdict:
    name = content_id(data)
    if name != found.recipe_id:
        return _refused("altered", f"the content makes the id {name}, the envelope says {found.recipe_id}")
    key = trust.keys.get(found.key_id)
    if key is None:
        return _refused("unknown_key", f"the key {found.key_id} is not in the trust list", name)
    if not _verifies(key, found.signature, data):
        return _refused("altered", f"the signature is not one of {key.name} over this content", name)
    refusal, reason = _time_fault(key, found.recipe, now_unix_s)
    taken_back = trust.revoked_recipes.get(name)
    if refusal is None and taken_back is not None and now_unix_s >= taken_back.at_unix_s:
        refusal, reason = "revoked_recipe", f"the recipe was revoked on {_day(taken_back.at_unix_s)}: {taken_back.why}"
    if refusal is not None:
        return _refused(refusal, reason, name, key.name)
    return Verdict(None, f"signed by {key.name}, unaltered", "", name, key.name, found.recipe)


def _verifies(key: TrustedKey, signature: str, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public_key)).verify(bytes.fromhex(signature), data)
    except InvalidSignature:
        return False
    return True


def _time_fault(key: TrustedKey, recipe: Recipe, now_unix_s: float) -> tuple[Refusal | None, str]:
    until, revoked = key.valid_until_unix_s, key.revoked
    if revoked is not None and now_unix_s >= revoked.at_unix_s:
        return "revoked_key", f"the key of {key.name} was revoked on {_day(revoked.at_unix_s)}: {revoked.why}"
    if until is not None and now_unix_s >= until:
        return "expired", f"the key of {key.name} held until {_day(until)}"
    if now_unix_s < key.valid_from_unix_s:
        return "not_yet_valid", f"the key of {key.name} holds from {_day(key.valid_from_unix_s)} on"
    if recipe.made_at_unix_s > now_unix_s + CLOCK_SKEW_S:
        return "not_yet_valid", f"the recipe says to be made on {_day(recipe.made_at_unix_s)}, which is yet to come"
    return None, ""


def _refused(refusal: Refusal, reason: str, name: str | None = None, signed_by: str | None = None) -> Verdict:
    return Verdict(refusal, reason, NEXT_STEPS[refusal], name, signed_by)


def _day(unix_s: float) -> str:
    return utc(unix_s).strftime("%Y-%m-%d %H:%M UTC")
