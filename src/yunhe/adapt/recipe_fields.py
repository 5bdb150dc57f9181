"""What all parts of a recipe are made of: bounded values, estimates with intervals, and the guard against secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Annotated, Final

from msgspec import Meta, Struct

from yunhe.catalogue.model import SettingValue
from yunhe.catalogue.ports import ENGINE_KEY

# Lengths are checked beside the patterns because ``$`` also matches before a last line break.
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", min_length=64, max_length=64)]
RecipeId = Annotated[str, Meta(pattern="^rcp_[0-9a-f]{64}$", min_length=68, max_length=68)]
#: On one line and without control characters, because recipes of strangers are printed on terminals.
Name = Annotated[str, Meta(pattern="^[^\\x00-\\x1f\\x7f]+$", min_length=1, max_length=200)]
Sentence = Annotated[str, Meta(pattern="^[^\\x00-\\x1f\\x7f]+$", min_length=1, max_length=2000)]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
#: Seconds since 1970, up to the end of the year 9999, where calendars end.
UnixTime = Annotated[float, Meta(ge=0, lt=253_402_300_800)]
Settings = dict[Name, SettingValue]

_WORDS: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")
_SECRET_WORDS: Final = frozenset({"secret", "password", "passwd", "passphrase", "credential", "credentials", "apikey"})
_SECRET_KEYS: Final = frozenset({"api", "access", "secret", "private", "auth", "account", "encryption"})
#: Tokens of a vocabulary, not of a login.
_PLAIN_TOKENS: Final = frozenset({"eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop", "image", "per", "max"})
_SECRET_VALUE: Final = re.compile(r"://[^/@\s]*:[^/@\s]+@|\bBearer\s+\S|-----BEGIN [A-Z ]*PRIVATE KEY")


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """What all parts of a recipe share."""


class Interval(Part, frozen=True, kw_only=True):
    """Where the value lies with this confidence; both ends in the unit of the value."""

    low: float
    high: float
    confidence: Annotated[float, Meta(gt=0, lt=1)]

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"the interval from {self.low} to {self.high} is empty")


class Estimate(Part, frozen=True, kw_only=True):
    """A number and its interval; null where there were too few repeats for one."""

    value: float
    interval: Interval | None


class EngineBuild(Part, frozen=True, kw_only=True):
    """Which build of an inference program."""

    name: Name
    version: Name
    #: Of the wheel, container or binary.
    build_digest: Digest


def secrets_in(argv: Sequence[str], env: Mapping[str, str]) -> tuple[str, ...]:
    """Names of options and variables whose value looks like a secret; the agent's placeholder for a key is none.

    A guess by names (``API_KEY``, ``--auth-token`` ...) and by shapes of values (a URL with a password, a bearer
    credential, a private key): it protects from slips, not from intent.
    """
    found = [name for name, value in env.items() if _is_secret(name, value)]
    for word, following in zip_longest(argv, argv[1:], fillvalue=""):
        option, equals, value = word.partition("=")
        if not option.startswith("-"):
            option, value = "an argument", word
        elif not equals:
            value = "" if following.startswith("-") else following
        if _is_secret(option, value):
            found.append(option)
    return tuple(dict.fromkeys(found))


def refuse_secrets(settings: Settings) -> None:
    """Raises ValueError with the names of settings that hold a secret."""
    if held := secrets_in((), {name: str(value) for name, value in settings.items()}):
        raise ValueError(f"{', '.join(held)} would publish a secret")


def _is_secret(name: str, value: str) -> bool:
    if not value or value == ENGINE_KEY:
        return False
    words = [word.lower() for word in _WORDS.findall(name)] or [""]
    before = words[-2] if len(words) > 1 else ""
    named = (
        not _SECRET_WORDS.isdisjoint(words)
        or (words[-1] == "key" and before in _SECRET_KEYS)
        or (words[-1] == "token" and before not in _PLAIN_TOKENS)
    )
    return named or _SECRET_VALUE.search(value) is not None
