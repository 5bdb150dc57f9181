"""Canonical JSON: one value, one row of bytes, so that a digest or a signature of it means something.

The form is that of RFC 8785 (JSON Canonicalization Scheme): no white space, members sorted by the UTF-16 code units of
their names, numbers as ECMAScript writes them (the shortest digits that read back as the same double), strings in
UTF-8 with the least escapes. A program in another language therefore writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NoReturn

from yunhe.core.errors import InvalidRequest

Json = None | bool | int | float | str | list["Json"] | tuple["Json", ...] | Mapping[str, "Json"]

#: Documents beyond this are refused unread; a recipe with dozens of measurements takes some 100 kB.
DOCUMENT_BYTES_MAX: Final = 1024 * 1024
DEPTH_MAX: Final = 32
#: Beyond it doubles no longer tell neighbours apart, so programs would read different numbers (RFC 8785, 3.2.2.3).
INTEGER_MAX: Final = 2**53 - 1
#: ECMAScript writes no exponent for numbers of up to 21 digits, nor for up to six zeros after the point.
_PLAIN_DIGITS_MAX: Final = 21
_LEADING_ZEROS_MAX: Final = 6
#: Escapes just the quote, the backslash and control characters, the latter in the short form where one exists.
_QUOTED: Final = json.JSONEncoder(ensure_ascii=False).encode
_ID: Final = re.compile(r"rcp_[0-9a-f]{64}")


class NotCanonical(InvalidRequest):
    """The bytes are not canonical JSON, or the value has no canonical form."""

    code = "not_canonical"
    default_next_step = "Take the file again from where it was exported, byte for byte: editors and printers change it."


def canonical_bytes(value: Json) -> bytes:
    """The one row of bytes of a value. Minus zero becomes zero, as RFC 8785 asks.

    Raises NotCanonical for NaN and infinities, integers beyond 2**53 - 1, text with half a surrogate pair, members
    whose name is no text, other types, nesting deeper than ``DEPTH_MAX``, and results beyond ``DOCUMENT_BYTES_MAX``.
    """
    pieces: list[str] = []
    try:
        _write(value, 0, pieces)
        data = "".join(pieces).encode()
    except UnicodeEncodeError:
        raise NotCanonical("the text holds half a surrogate pair, which UTF-8 cannot write") from None
    if len(data) > DOCUMENT_BYTES_MAX:
        raise NotCanonical(f"the document takes {len(data):,} bytes, at most {DOCUMENT_BYTES_MAX:,} are read")
    return data


def read_json(data: bytes) -> Json:
    """The value of JSON in any layout, read strictly.

    Raises NotCanonical for what is no JSON in UTF-8, for a name that comes twice in one object (readers disagree on
    which counts), for NaN and infinities, and beyond ``DOCUMENT_BYTES_MAX`` or about a thousand levels.
    """
    if len(data) > DOCUMENT_BYTES_MAX:
        raise NotCanonical(f"the document takes {len(data):,} bytes, at most {DOCUMENT_BYTES_MAX:,} are read")
    try:
        value: Json = json.loads(
            data.decode(),
            object_pairs_hook=_members,
            parse_constant=_no_number,
            parse_int=_integer,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise NotCanonical(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise NotCanonical(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise NotCanonical(f"nested deeper than {DEPTH_MAX} levels") from None
    return value


def read_canonical(data: bytes) -> Json:
    """The value of bytes that are canonical to the last one.

    Raises NotCanonical where they are not, and as ``read_json`` does.
    """
    value = read_json(data)
    due = canonical_bytes(value)
    if due != data:
        pairs = enumerate(zip(due, data, strict=False))
        place = next((at for at, (left, right) in pairs if left != right), min(len(due), len(data)))
        raise NotCanonical(f"JSON, but not in canonical form from byte {place} on")
    return value


def content_id(data: bytes) -> str:
    """Name of a recipe by its content: ``rcp_`` and the sha256 of its canonical bytes, 64 lower-case hex digits."""
    return f"rcp_{hashlib.sha256(data).hexdigest()}"


def is_content_id(text: str) -> bool:
    """Whether ``text`` has the shape of a recipe's content id."""
    return _ID.fullmatch(text) is not None


def number_text(value: float) -> str:
    """A double as ECMAScript writes it (ECMA-262, Number::toString). Raises NotCanonical for NaN and infinities."""
    if not math.isfinite(value):
        raise NotCanonical(f"{value} is no number of JSON")
    if value == 0:
        return "0"
    # repr gives the shortest digits that read back as the same double; only their layout differs.
    sign, digit_tuple, exponent = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, digit_tuple))
    # The number is 0.DIGITS times ten to the power of ``point``.
    point = len(digits) + int(exponent)
    return ("-" if sign else "") + _laid_out(digits.rstrip("0"), point)


def _laid_out(digits: str, point: int) -> str:
    if len(digits) <= point <= _PLAIN_DIGITS_MAX:
        return digits.ljust(point, "0")
    if 0 < point <= _PLAIN_DIGITS_MAX:
        return f"{digits[:point]}.{digits[point:]}"
    if -_LEADING_ZEROS_MAX < point <= 0:
        return f"0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{point - 1:+d}"


def _write(value: Json, depth: int, pieces: list[str]) -> None:
    if depth > DEPTH_MAX:
        raise NotCanonical(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, Mapping):
        _write_object(value, depth, pieces)
    elif isinstance(value, list | tuple):
        pieces.append("[")
        for number, item in enumerate(value):
            if number:
                pieces.append(",")
            _write(item, depth + 1, pieces)
        pieces.append("]")
    else:
        pieces.append(_scalar(value))


def _write_object(value: Mapping[str, Json], depth: int, pieces: list[str]) -> None:
    if not all(isinstance(name, str) for name in value):
        raise NotCanonical("a member's name is not text")
    pieces.append("{")
    for number, name in enumerate(sorted(value, key=_utf16)):
        pieces.append(f"{',' if number else ''}{_QUOTED(name)}:")
        _write(value[name], depth + 1, pieces)
    pieces.append("}")


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be")


def _scalar(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _QUOTED(value)
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise NotCanonical(f"the integer {value} is beyond 2**53 - 1, where programs read different numbers")
        return str(int(value))
    if isinstance(value, float):
        return number_text(value)
    raise NotCanonical(f"{type(value).__name__} is no type of JSON")


def _members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members: dict[str, Json] = {}
    for name, value in pairs:
        if name in members:
            raise NotCanonical(f"the member {name!r} comes twice in one object")
        members[name] = value
    return members


def _no_number(text: str) -> NoReturn:
    raise NotCanonical(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotCanonical(f"the number {text[:40]} is beyond a double")
    return value


def _integer(text: str) -> int | float:
    """Integers that every program reads alike stay integers; a larger one is a double written without an exponent."""
    value = _finite(text)
    return int(text) if abs(value) <= INTEGER_MAX else value
