"""The rule of credentials: their text, their public part and their digest.

``yh_<12 base32 characters>_<43 base64url characters>``: the first part is public and finds the key, the second is 256
random bits. Only HMAC-SHA256 of the whole text under the instance's pepper is stored. Session (``ys``), agent
(``ya``) and join (``yj``) tokens follow the same rule. Randomness is passed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

PREFIX_RANDOM_BYTES: Final = 8
SECRET_RANDOM_BYTES: Final = 32
PREFIX_CHARS: Final = 12
_SHAPE: Final = re.compile(r"(yh|ys|ya|yj)_([a-z2-7]{12})_([A-Za-z0-9_-]{43})")


def make_text(kind: str, random_bytes: bytes) -> tuple[str, str]:
    """``(whole text, public prefix)`` of a new credential from 40 random bytes; ``kind`` is yh, ys, ya or yj."""
    if len(random_bytes) < PREFIX_RANDOM_BYTES + SECRET_RANDOM_BYTES:
        raise ValueError("a credential needs 40 random bytes")
    prefix = base64.b32encode(random_bytes[:PREFIX_RANDOM_BYTES]).decode().lower()[:PREFIX_CHARS]
    secret_bytes = random_bytes[PREFIX_RANDOM_BYTES : PREFIX_RANDOM_BYTES + SECRET_RANDOM_BYTES]
    secret = base64.urlsafe_b64encode(secret_bytes).decode().rstrip("=")
    return f"{kind}_{prefix}_{secret}", prefix


def prefix_of(text: str, kind: str = "yh") -> str | None:
    """The public part of a well-formed credential of that kind, else None."""
    match = _SHAPE.fullmatch(text)
    return match[2] if match is not None and match[1] == kind else None


class Digester:
    """The same digest as bytes, with the pepper's part of the work done once: for checking keys by the thousand."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, pepper: bytes) -> None:
        # HMAC (RFC 2104) with the key block's two hashes kept; the pepper is shorter than a block of 64 bytes.
        block = pepper.ljust(64, b"\0")
        if len(block) != 64:
            raise ValueError("the pepper is longer than 64 bytes")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def digest(self, text: bytes) -> bytes:
        """HMAC-SHA256 of a credential's text."""
        inner = self._inner.copy()
        inner.update(text)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


def digest(pepper: bytes, text: str) -> str:
    """What is stored of a credential: HMAC-SHA256 of the whole text, hexadecimal."""
    return hmac.digest(pepper, text.encode(), "sha256").hex()


def matches(pepper: bytes, text: str, stored_digest: str) -> bool:
    """Whether the stored digest is this credential's, in constant time."""
    return hmac.compare_digest(digest(pepper, text), stored_digest)
