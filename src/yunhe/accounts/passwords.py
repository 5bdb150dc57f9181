"""Passwords: argon2id (RFC 9106), never stored or compared in the clear."""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from yunhe.core.errors import InvalidRequest

PASSWORD_CHARS_MIN: Final = 10
PASSWORD_CHARS_MAX: Final = 256
#: RFC 9106's second recommended setting (64 MiB, 3 passes), on one lane: about 0.1 s of one core by design.
_HASHER: Final = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=1)


def hash_password(password: str) -> str:
    """The encoded argon2id hash. Raises InvalidRequest for a password that is too short or too long."""
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        rule = f"must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters"
        raise InvalidRequest(f"A password {rule}.", fields=[f"password: {rule}"])
    return _HASHER.hash(password)


def verify_password(encoded: str, password: str) -> bool:
    """Whether this is the password; takes as long as hashing."""
    try:
        return _HASHER.verify(encoded, password)
    except (VerificationError, InvalidHashError):
        return False
